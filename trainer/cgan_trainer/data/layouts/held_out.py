"""Which split of a dataset is held out: the rule is the same for every layout."""

from __future__ import annotations

from typing import Any, Protocol

from cgan_runtime.errors import BadInputError
from cgan_runtime.progress import note

__all__ = ["held_out_split"]


class _HasSplits(Protocol):
    def has(self, split: str) -> bool: ...
    def listing(self, split: str) -> Any: ...


def held_out_split(layout: _HasSplits, missing: str) -> str:
    """`val`, or `test` where held-out images are called that; a note says why an empty `val` was passed over.

    Args:
        layout: a layout of any kind.
        missing: the sentence for a dataset with neither.

    Raises:
        BadInputError: there are none.
    """
    for split in ("val", "test"):
        if layout.has(split):
            try:
                layout.listing(split)
            except BadInputError as error:  # an empty folder: the other one may have images
                note(f"No validation with {split}: {error}")
                continue
            return split
    raise BadInputError(missing)
