"""The checkpoint that a path means: the file itself, or the only one in a folder. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cgan_runtime.errors import BadInputError

from cgan_trainer.file_kind import foreign_kind, kind_of_file, may_be_weights

__all__ = ["HEAD_BYTES", "checkpoint_at", "files_in_words"]

HEAD_BYTES: Final = 512
MOST_NAMED: Final = 6
MAX_ENTRIES: Final = 10_000
_SUFFIXES: Final = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".npz", ".pkl", ".tar", ".gz", ".tgz", ".zip")
# Files that training scripts leave beside the generator.
_OTHERS: Final = re.compile(
    r"(^|[_.-])((net_?)?D(_?[AB])?|net_?F|dis(c\w*)?|optim\w*|opt(_[GD])?|sched\w*|scaler|training_args)"
    r"([_.-]|\d|$)",
    re.IGNORECASE,
)


def checkpoint_at(path: Path) -> Path:
    """The file that `path` means, or the only file of a generator in the folder that it is.

    Raises:
        BadInputError: nothing is there, a file of another program, or a folder without one file of a generator.
    """
    try:
        if path.is_dir():
            return checkpoint_at(_only_one_in(path))
        if not path.exists():
            raise BadInputError(f"{path} does not exist: name a checkpoint, such as last.pt or latest_net_G.pth.")
        if not path.is_file():
            raise BadInputError(f"{path} is no file: name a checkpoint, such as last.pt or latest_net_G.pth.")
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
    kind = foreign_kind(head, path.name)
    if kind is None and head and not may_be_weights(head):
        kind = kind_of_file(head, path.name)
    if kind is not None:
        raise BadInputError(f"{path} is {kind.what}, which is not read here: {kind.way}.")
    return path


def files_in_words(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _only_one_in(folder: Path) -> Path:
    names = []
    for entry in folder.iterdir():
        names.append(entry.name)
        if len(names) > MAX_ENTRIES:
            raise BadInputError(f"{folder} has more than {MAX_ENTRIES} files: name the checkpoint in it.")
    names.sort()
    if (what := _known_folder(set(names))) is not None:
        raise BadInputError(f"{folder} is {what}.")
    named = [name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")]
    weights = [name for name in named if (folder / name).is_file()]
    generators = [name for name in weights if not _OTHERS.search(name.partition(".")[0])]
    if len(generators) == 1:
        return folder / generators[0]
    if generators:
        newest = next((name for name in ("last.pt", *_latest(generators)) if name in generators), generators[0])
        raise BadInputError(
            f"{folder} is a folder with {len(generators)} checkpoints ({files_in_words(generators)}): name one, "
            f"for example {folder / newest}."
        )
    holds = f"it holds {files_in_words(weights or names)}" if names else "it is empty"
    raise BadInputError(f"{folder} is a folder without the checkpoint of a generator ({holds}): name the file.")


def _latest(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("latest")]


def _known_folder(names: set[str]) -> str | None:
    """What a folder with these files is, and the way out, where it is no folder of checkpoints."""
    if "bundle.json" in names:
        return "a bundle already: run it, or check it with cgan-export verify"
    if "model_index.json" in names:
        return "a diffusers pipeline, which is no conditional GAN: cgan-export reads generators only"
    if "saved_model.pb" in names:
        return (
            "a TensorFlow SavedModel: cgan-export reads the generator of pix2pix-tensorflow, saved as an .npz "
            '("TensorFlow" in docs/checkpoints.md says how)'
        )
    if any(name.endswith(".index") for name in names):
        return (
            "a TensorFlow checkpoint: save its variables as an .npz, and export that "
            '("TensorFlow" in docs/checkpoints.md says how)'
        )
    if {"data.pkl", "data"} <= names:
        return "an unpacked .pth: name the .pth itself, or zip the folder and name the zip"
    return None
