"""What a value should have been, in words, from what pydantic says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["MAX_SENTENCE", "first_problem", "printable"]

MAX_SENTENCE: Final = 4000  # letters of a message

# pydantic's name of a problem -> what is needed, with the limit it tells.
_WORDS: Final = {
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "a number above {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "a number below {lt:g}",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
}


def first_problem(error: ValidationError) -> tuple[str, object, str]:
    """Where the first problem is ("" for the value itself), what was given, and what is needed: "1 or more"."""
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return where, found["input"], _needed(found["type"], found.get("ctx", {}), found["msg"])


def printable(text: object, most: int = 200) -> str:
    """What a file says, fit for a message: one short line that gives the terminal no orders."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
    return plain if len(plain) <= most else f"{plain[:most]}..."


def _needed(kind: str, limits: Mapping[str, Any], message: str) -> str:
    wording = _WORDS.get(kind)
    return (
        message.removeprefix("Input should be ").removesuffix(".") if wording is None else wording.format(**limits)
    )
