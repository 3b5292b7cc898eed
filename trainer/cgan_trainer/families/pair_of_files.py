"""The two files in which other code keeps a pair of generators, one per direction."""

from __future__ import annotations

import re
from pathlib import Path

from cgan_runtime.errors import BadInputError

__all__ = ["find_pair"]

# latest_net_G_A.pth (junyanz), G_AB_120.pth (PyTorch-GAN): what stands before and after is the same for both.
_NAME = re.compile(r"(?P<begin>.*?)(?P<which>G_(?:AB|BA|A|B))(?P<end>(?:_\d+)?\.pth)")
_OTHER = {"G_A": "G_B", "G_B": "G_A", "G_AB": "G_BA", "G_BA": "G_AB"}


def find_pair(path: Path) -> tuple[Path, Path] | None:
    """The files of A to B and of B to A, where `path` is one of them, or a folder that holds a pair; else None.

    Of several pairs in a folder the one called "latest" is taken, otherwise the one of the highest number.

    Raises:
        BadInputError: one file of the pair is missing.
    """
    named = [path] if not path.is_dir() else sorted(path.iterdir())
    found = [(file, match) for file in named if (match := _NAME.fullmatch(file.name)) is not None]
    if not found:
        return None
    file, match = max(found, key=lambda pair: _age(pair[1]))
    other = file.with_name(match["begin"] + _OTHER[match["which"]] + match["end"])
    for needed, beside in ((file, other), (other, file)):
        if not needed.is_file():
            raise BadInputError(f"{needed} is missing: such a model is two generators, so copy it beside {beside}.")
    return (file, other) if match["which"] in ("G_A", "G_AB") else (other, file)


def _age(match: re.Match[str]) -> tuple[bool, int]:
    """The epoch stands at the end (PyTorch-GAN) or before G (junyanz); other numbers belong to the user's name."""
    number = re.search(r"\d+", match["end"]) or re.search(r"(?<!\d)\d+(?=_(net_)?$)", match["begin"])
    return match["begin"].startswith("latest"), int(number[0]) if number else 0
