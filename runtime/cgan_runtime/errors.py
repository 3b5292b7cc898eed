"""What can go wrong at run time, and the exit code each case ends a command with.

    CganError               1  the work failed (disk full, a server that would not start, ...)
    ├── UsageError          2  options or arguments that do not fit
    ├── BadInputError       3  a file that cannot be used
    │   ├── ImageError      3  not an image we read, or outside the caps
    │   └── BundleError     3  a bundle that is damaged, incomplete or not a bundle
    ├── ServerError         4  a server that cannot be reached, or that refused
    └── CheckFailedError    5  a gate or a comparison did not hold

A message is one sentence or two: what was given, what is needed, what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BadInputError",
    "BundleError",
    "CganError",
    "CheckFailedError",
    "ImageError",
    "ServerError",
    "UsageError",
]


class CganError(Exception):
    """The work failed for a reason the user can act on."""

    exit_code: ClassVar[int] = 1


class UsageError(CganError, ValueError):
    """An option, an argument or a tensor that does not fit."""

    exit_code: ClassVar[int] = 2


class BadInputError(CganError):
    """A file given cannot be used."""

    exit_code: ClassVar[int] = 3


class ImageError(BadInputError):
    """Not an image we read, or one outside the size caps."""


class BundleError(BadInputError):
    """Not a bundle, or one that is damaged, incomplete or unsafe."""


class ServerError(CganError):
    """A server cannot be reached in time, or refused the request."""

    exit_code: ClassVar[int] = 4


class CheckFailedError(CganError):
    """A fidelity gate or a comparison did not hold."""

    exit_code: ClassVar[int] = 5
