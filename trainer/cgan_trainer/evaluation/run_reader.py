"""A run folder as an evaluation needs it: the generator, where its pictures lie, which way it translates."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError, UsageError

from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.data.layouts import find_layout
from cgan_trainer.data.pairs import Modes, read_domains
from cgan_trainer.data.pictures import Mode
from cgan_trainer.families import build_generator
from cgan_trainer.generator import Generator

__all__ = ["EvaluatedRun", "find_split", "read_run"]


@dataclass(frozen=True, kw_only=True)
class EvaluatedRun:
    """What was read of a run.

    Attributes:
        path: the run folder.
        checkpoint: the weights that are judged.
        generator: built from it, in `eval()`.
        data: the dataset folder.
        direction: "AtoB" or "BtoA".
        seed: of the run, and of the draws of its evaluation.
        size: side of the pictures in pixels.
        channels: of the pictures it makes, 1 or 3.
        modes: how A and B are decoded: the condition as the generator was given it, and label maps to compare with
            as they are, never blended by resizing.
    """

    path: Path
    checkpoint: Checkpoint
    generator: Generator
    data: Path
    direction: str
    seed: int
    size: int
    channels: int
    modes: Modes


def read_run(path: Path, *, checkpoint: str | Path = "last", data: Path | None = None) -> EvaluatedRun:
    """Read config.json and the weights.

    Args:
        path: the run folder.
        checkpoint: "last", "best", or a checkpoint file.
        data: another dataset folder than the one in config.json.

    Raises:
        BadInputError: the folder is no run, or something in it cannot be used.
    """
    config = _read_config(path)
    file = path / f"{checkpoint}.pt" if checkpoint in ("last", "best") else Path(checkpoint)
    if file.parent == path and not file.exists():
        raise BadInputError(f"{path} has no {file.name}: train it to its first save, or name a file by --weights.")
    read = read_checkpoint(file)
    generator = build_generator(read)
    condition, output = generator.contract.conditions[0].shape, generator.contract.outputs[0].shape
    if len(condition) != 3 or len(output) != 3 or condition[1:] != output[1:] or condition[1] != condition[2]:
        raise BadInputError(
            f"{file} does not turn a square picture into one of its size, and no other kind can be evaluated: name "
            "a run of `cgan-train pix2pix`."
        )
    where = Path(config["data"]) if data is None else data
    return EvaluatedRun(
        path=path,
        checkpoint=read,
        generator=generator,
        data=where,
        direction=config["direction"],
        seed=config["seed"],
        size=int(condition[1]),
        channels=int(output[0]),
        modes=_modes(read, where, config["direction"]),
    )


def find_split(data: Path, wanted: str | None) -> str:
    """`wanted`, or test where it has pictures, else val.

    Raises:
        BadInputError: the folder is absent or has no held-out pictures.
        UsageError: the split that was asked for has none.
    """
    if not data.exists():
        raise BadInputError(f"the data of this run, {data}, is not here: name its folder by --data.")
    layout = find_layout(data)
    for split in (wanted,) if wanted is not None else ("test", "val"):
        with contextlib.suppress(BadInputError):  # an empty folder
            if layout.has(split) and layout.listing(split).pairs:
                return split
    if wanted is not None:
        raise UsageError(f"--split {wanted} cannot be used: {data} has no {wanted} pictures.")
    raise BadInputError(
        f"{data} has no pictures under test/ or val/: put some held-out pairs into {data / 'test'}."
    )


def _modes(read: Checkpoint, data: Path, direction: str) -> Modes:
    domains = read_domains(data)
    labelled = domains.palette_b if direction == "AtoB" else domains.palette_a
    condition: Mode = "labels" if read.options.get("palette") is not None else "rgb"
    target: Mode = "rgb" if labelled is None else "labels"
    return (condition, target) if direction == "AtoB" else (target, condition)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BadInputError(f"{path} {what}: name a run folder, the --out of a `cgan-train` command.")
    file = path / "config.json"
    if not file.is_file():
        raise BadInputError(f"{path} is no run folder, for it has no config.json: name the --out of a training.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        sound = (
            isinstance(config["data"], str)
            and config["direction"] in ("AtoB", "BtoA")
            and isinstance(config["seed"], int)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{file} cannot be read ({error}): copy it again, or train again.") from error
    if not sound:
        raise BadInputError(f"{file} does not say data, direction and seed: copy it again, or train again.")
    return dict(config)
