"""Writes a dataset of ours: side-by-side PNGs and `dataset.json`, complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgan_runtime.atomic import atomic_folder, write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SPLITS", "MadePair", "write_dataset"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class MadePair:
    """One pair to be written to `split/file`."""

    split: str
    file: str
    left: Image
    right: Image


def write_dataset(
    out: Path,
    pairs: Iterable[MadePair],
    *,
    total: int,
    described: dict[str, Any],
    on_pair: Callable[[int, int], None] | None = None,
) -> None:
    """Fill `out` with `{train,val,test}/*.png` and `dataset.json`; a dataset already there is replaced.

    Args:
        out: the folder to make.
        pairs: the pairs, both sides of one size.
        total: how many there are.
        described: name, domains, sources, split rule, licence, pairs; goes to `dataset.json`.
        on_pair: told (pairs written, pairs in all) after each pair.
    """
    with atomic_folder(out, replace=True) as partial:
        for split in SPLITS:
            (partial / split).mkdir()
        for done, pair in enumerate(pairs, start=1):
            _write_pair(partial / pair.split / pair.file, pair.left, pair.right)
            if on_pair is not None:
                on_pair(done, total)
        text = json.dumps({"format": "cgan-deploy-dataset", "version": 1, **described}, indent=1) + "\n"
        write_atomic(partial / "dataset.json", text)


def _write_pair(path: Path, left: Image, right: Image) -> None:
    import PIL.Image

    pair = PIL.Image.new("RGB", (left.width + right.width, left.height))
    pair.paste(left, (0, 0))
    pair.paste(right, (left.width, 0))
    write_atomic(path, lambda stream: pair.save(stream, format="PNG", compress_level=6))
