"""Our own checkpoints as one kind of file among the others: checkpoint.py reads and verifies them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from cgan_runtime.errors import UsageError

from cgan_trainer.checkpoint import FORMAT, Checkpoint, read_checkpoint
from cgan_trainer.readers.base import Choices

__all__ = ["HEAD_BYTES", "choose_graph", "is_own", "read_own"]

# The format's name is the first value of the file.
HEAD_BYTES: Final = 4096


def is_own(head: bytes) -> bool:
    """Whether a file begins like one of ours; a damaged one may still, and is then refused as one of ours."""
    return head.startswith(b"PK\x03\x04") and FORMAT.encode() in head[:HEAD_BYTES]


def read_own(path: Path, choices: Choices) -> Checkpoint:
    """The checkpoint, verified by its digest.

    Raises:
        BadInputError: it is damaged.
        UsageError: something is chosen that the file itself says.
    """
    given = [name for name in choices.given() if name not in ("size", "graph")]  # both are ours to judge
    if given:
        raise UsageError(f"--{given[0]} is for files from other code: {path} says it itself, so leave it out.")
    return read_checkpoint(path)


def choose_graph(checkpoint: Checkpoint, wanted: str | None) -> str:
    """The name of the graph that is wanted, or of the first.

    Raises:
        UsageError: the checkpoint has no graph of that name.
    """
    if wanted is None:
        return next(iter(checkpoint.graphs))
    if wanted not in checkpoint.graphs:
        names = {name.casefold(): name for name in checkpoint.graphs}
        near = difflib.get_close_matches(wanted.casefold(), names, n=1, cutoff=0.5)
        hint = f" Did you mean {names[near[0]]}?" if near else ""
        raise UsageError(
            f"--graph {wanted} is not in {checkpoint.path}, which holds {', '.join(checkpoint.graphs)}.{hint}"
        )
    return wanted
