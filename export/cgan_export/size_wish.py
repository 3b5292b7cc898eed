"""The image size that a user asks for, as a word on the command line. Needs no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cgan_runtime.errors import UsageError

__all__ = ["SizeWish", "parse_size"]


@dataclass(frozen=True, kw_only=True)
class SizeWish:
    """The image size asked for: `fixed` (height, width), or free."""

    fixed: tuple[int, int] | None = None


def parse_size(text: str | None, *, dynamic: bool = False) -> SizeWish | None:
    """``256`` or ``512x256`` (width x height); None where nothing is asked for.

    Raises:
        UsageError: neither form, or both a size and a free one.
    """
    if text is None:
        return SizeWish() if dynamic else None
    match = re.fullmatch(r"([1-9][0-9]{0,4})(?:[xX]([1-9][0-9]{0,4}))?", text.strip())
    if match is None:
        raise UsageError(f"--size {text} is not a size; give one number, or WIDTHxHEIGHT.")
    if dynamic:
        raise UsageError("--size and --dynamic-size exclude each other.")
    width, height = int(match[1]), int(match[2] or match[1])
    return SizeWish(fixed=(height, width))
