"""What can go wrong in a training command, and the exit code each case ends with.

    TrainerError            1  the work failed (disk full, out of memory, ...)
    ├── UsageError          2  options that do not fit together
    └── BadInputError       3  a file or folder that cannot be used

A message is one sentence: what was given, what is needed, what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BadInputError", "TrainerError", "UsageError"]


class TrainerError(Exception):
    """The work failed for a reason the user can act on."""

    exit_code: ClassVar[int] = 1


class UsageError(TrainerError):
    """The options given do not fit together."""

    exit_code: ClassVar[int] = 2


class BadInputError(TrainerError):
    """A file or folder given cannot be used."""

    exit_code: ClassVar[int] = 3
