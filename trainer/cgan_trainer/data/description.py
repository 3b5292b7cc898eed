"""`dataset.json`, what a dataset says of itself: name, kind, domains, palettes, classes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError
from cgan_runtime.limits import printable

from cgan_trainer.palette import Palette

__all__ = ["KINDS", "Description", "read_description"]

KINDS = ("paired", "labelled", "unpaired", "captioned", "super-resolution")  # no family trains on the last two yet
MAX_BYTES = 16 << 20
MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Description:
    """What the file says.

    Attributes:
        name: of the dataset; without a file, that of its folder or list.
        kind: one of KINDS; None where the file does not say.
        domains: what A and B show.
        palettes: the classes of a side that is a label map, by "A" or "B".
        classes: names of the classes of labelled images, in the order of their numbers; empty: not told.
    """

    name: str
    kind: str | None = None
    domains: Mapping[str, str] = field(default_factory=dict)
    palettes: Mapping[str, Palette] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def read_description(root: Path) -> Description:
    """From the folder's `dataset.json`; for a list, the one beside it.

    Raises:
        BadInputError: the file cannot be read, or does not say what it should.
    """
    path = (root.parent if root.is_file() else root) / "dataset.json"
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
        told = json.loads(data.decode("utf-8"))
        kind = told.get("kind")
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, not one of {', '.join(KINDS)}")
        return Description(
            name=_text(told["name"]),
            kind=kind,
            domains=_domains(told.get("domains")),
            palettes=_palettes(told.get("palettes", {})),
            classes=_classes(told.get("classes", [])),
        )
    except FileNotFoundError:
        return Description(name=root.resolve().stem if root.is_file() else root.resolve().name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read ({printable(error)}): repair or remove it.") from error


def _text(told: Any) -> str:
    """A name as it goes into checkpoints, bundles and tables.

    Raises:
        ValueError: it is no text, or has control characters or halves of characters in it.
    """
    if not isinstance(told, str | int | float):
        raise ValueError(f"{told!r} is no name")
    text = str(told)
    if len(text) > MAX_NAME or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError(f"{text!r} is no name: at most {MAX_NAME} letters on one line")
    return text


def _domains(told: Any) -> dict[str, str]:
    return {} if told is None else {side: _text(told[side]) for side in ("A", "B")}


def _palettes(told: Mapping[str, Any]) -> dict[str, Palette]:
    palettes = {}
    for side in ("A", "B"):
        described = told.get(side)
        if described is not None:
            colors = []
            for color in described["colors"]:
                red, green, blue = (int(value) for value in color)
                colors.append((red, green, blue))
            names = tuple(_text(name) for name in described["names"])
            palettes[side] = Palette(names=names, colors=tuple(colors))
    return palettes


def _classes(told: Any) -> tuple[str, ...]:
    if not isinstance(told, list) or len(set(map(str, told))) != len(told):
        raise ValueError("classes is no list of different names")
    return tuple(_text(name) for name in told)
