"""What `cgan-data verify` says of a dataset before hours are spent on it; one file per kind of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cgan_runtime.errors import UsageError
from cgan_runtime.image_values import AUTO, parse_range

from cgan_trainer.data.layouts.recognise import look_at, refuse_untrained
from cgan_trainer.data.verify.base import TRAINED_AT, Check, Verdict
from cgan_trainer.data.verify.labelled import verify_labelled
from cgan_trainer.data.verify.paired import verify_paired
from cgan_trainer.data.verify.unpaired import verify_unpaired

__all__ = ["Check", "Verdict", "verify"]

OnFile = Callable[[int, int], None]
VERIFY: dict[str, Callable[[Path, int, OnFile | None, str], Verdict]] = {
    "paired": verify_paired,
    "labelled": verify_labelled,
    "unpaired": verify_unpaired,
}


def verify(
    root: Path,
    size: int | None = None,
    on_file: OnFile | None = None,
    *,
    kind: str | None = None,
    value_range: str = AUTO,
) -> Verdict:
    """Look at every image of a dataset.

    Args:
        root: the dataset folder, or a list.
        size: side in pixels that training would use; None: what the kind is trained at when nothing is said.
        on_file: told (pairs or images done, in all) after each.
        kind: "paired", "labelled" or "unpaired"; None: what the names in the folder tell.
        value_range: of values of more than 8 bits: "auto", "4095", "-1000,1000".

    Raises:
        UsageError: `value_range` is none.
        BadInputError: no training could start with it.
    """
    try:
        parse_range(value_range)
    except ValueError as error:
        raise UsageError(f"--range {error}.") from error
    if kind is None:
        seen = look_at(root)
        if seen is not None:
            refuse_untrained(root, seen)
        kind = "paired" if seen is None else seen.kind
    return VERIFY[kind](root, TRAINED_AT[kind] if size is None else size, on_file, value_range)
