"""Labels: a class by its number or by its name."""

from __future__ import annotations

import difflib
from typing import ClassVar, Final

import numpy as np

from cgan_runtime.contract import Condition, LabelEncoding, SizeRule
from cgan_runtime.encodings.base import Array, Encoder, Given, as_given
from cgan_runtime.errors import UsageError

__all__ = ["LabelEncoder"]

MAX_LISTED: Final = 12


class LabelEncoder(Encoder):
    """Takes a whole number, or text: a name of the encoding (upper and lower case alike), else digits.

    Text that is both a name and a number is the name: where the classes are called 1, 2 and 3, "3" is the third.
    """

    as_bytes: ClassVar[bool] = True

    def encode(
        self,
        given: Given,
        condition: Condition,
        *,
        sides: SizeRule | None = None,  # noqa: ARG002 - a number has no size
        name: str | None = None,
    ) -> Array:
        """int64 [], 0 .. number of classes - 1.

        Raises:
            UsageError: a number out of range, or a name that no class has; says what is close to it.
        """
        called, names = name or condition.name, _names(condition)
        if isinstance(given, bytes):
            given = given.decode("utf-8", errors="replace")
        if isinstance(given, np.ndarray) and given.ndim == 0:
            given = given.item()
        if isinstance(given, str):
            text = given.strip()
            found = [index for index, known in enumerate(names) if known == text]
            found = found or [i for i, known in enumerate(names) if known.casefold() == text.casefold()]
            if len(found) == 1:
                return np.array(found[0], dtype=np.int64)
            digits = text.removeprefix("-")
            if not (digits.isascii() and digits.isdigit()):
                raise UsageError(_unknown_name(called, text, condition))
            given = int(text) if len(text) < 19 else -1
        if isinstance(given, bool) or not isinstance(given, int | np.integer):
            raise UsageError(f"{called} {as_given(given)} is not a class; give {self.choices(condition)}.")
        top = condition.last_class
        if given < 0 or (top is not None and given > top):
            raise UsageError(f"{called} {given} is out of range; give {self.choices(condition)}.")
        return np.array(given, dtype=np.int64)

    def choices(self, condition: Condition) -> str:
        """The range of numbers and the names."""
        names, top = _names(condition), condition.last_class
        numbers = "a whole number from 0" if top is None else f"0 to {top}"
        if not names:
            return numbers
        more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
        return f"{numbers}, or a name ({', '.join(names[:MAX_LISTED])}{more})"


def _names(condition: Condition) -> tuple[str, ...]:
    return condition.encoding.names if isinstance(condition.encoding, LabelEncoding) else ()


def _unknown_name(called: str, text: str, condition: Condition) -> str:
    names = {name.casefold(): name for name in _names(condition)}
    close = difflib.get_close_matches(text.casefold(), names, n=1)
    hint = f" (did you mean {names[close[0]]}?)" if close else ""
    return f"{called} {as_given(text)!r} is not a class{hint}; give {LabelEncoder().choices(condition)}."
