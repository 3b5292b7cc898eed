"""What a model is called where the user does not say: after its file, or after the project the file lies in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cgan_trainer.part_names import direction_of, kin

__all__ = ["model_name"]

# Words of file names that are the same in every project, beside those for a generator.
_SAYS_NOTHING: Final = frozenset(
    {"best", "last", "latest", "final", "epoch", "ep", "iter", "iteration", "step", "v", "checkpoint", "ckpt"}
    | {"pytorch", "torch", "save", "saved", "trained", "pretrained", "weight", "converted", "export"}
    | {"a", "b", "ab", "ba", "a2b", "b2a", "atob", "btoa"}
)
# Folders inside a project.
_INSIDE: Final = re.compile(
    r"(saved_?|trained_?)?(checkpoint|ckpt|model|weight|snapshot|save|output|result)s?|out|lightning_logs|version_\d+"
)
# Folders that are no project.
_NO_PROJECT: Final = re.compile(r"downloads?|desktop|documents|te?mp|home|root|mnt|media|data")
# What the end of a name says of the format.
_SUFFIXES: Final = re.compile(r"(\.(pth|pt|ckpt|bin|pkl|safetensors|npz|tar|tgz|gz|zip))+$", re.IGNORECASE)
LONGEST: Final = 64


def model_name(path: Path, graph: str | None = None) -> str:
    """Name for clients: facades for facades.pt, satellite for runs/satellite/last.pt, horse2zebra-BtoA.

    A file whose name is that of any project's (latest_net_G.pth, G_AB_9.pth) is called after the folder it lies in,
    with its direction where the name says one.

    Args:
        path: of the checkpoint.
        graph: name of the graph, if one was chosen.
    """
    stem = _SUFFIXES.sub("", path.name)
    name = stem
    if not [word for word in kin(stem).split() if word not in _SAYS_NOTHING and not word.isdigit()]:
        project = _project(path.resolve().parent)
        way = direction_of(stem) if graph is None else None
        name = stem if project is None else f"{project}-{way}" if way else project
    name = name if graph is None else f"{name}-{graph}"
    plain = (letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name)
    return "".join(plain)[:LONGEST] or "model"


def _project(folder: Path) -> str | None:
    """The name of the nearest folder that is a project; None where there is none."""
    for place in (folder, *folder.parents):
        name = place.name.lower()
        if _INSIDE.fullmatch(name):
            continue
        return None if not name or _NO_PROJECT.fullmatch(name) or place == Path.home() else place.name
    return None
