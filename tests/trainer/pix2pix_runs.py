"""Small runs of pix2pix: to train one, to compare two, to stop one at a step."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.training import start
from cgan_trainer.training.trainer import Trainer

# 13 images in batches of 2 over 7 pairs: batches cross epochs, the last one is short.
SMALL = Pix2pixConfig(size=64, ngf=4, ndf=4, images=13, batch=2, save_images=4, epochs=1, epochs_decay=1)
OLD = Path(__file__).with_name("old") / "run-v1"
TIMES = ("seconds", "images_per_s", "data_ms", "step_ms")
LOSSES = ("G_GAN", "G_L1", "D_real", "D_fake")


def train(pairs: Path, out: Path, config: Pix2pixConfig = SMALL, **options: Any) -> int:
    return start.train(config, RunOptions(data=pairs, out=out, threads=1, **{"evaluate": False, **options}))


def state_of(path: Path) -> Mapping[str, torch.Tensor]:
    return read_checkpoint(path).graphs["main"].state


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def everything(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that decides the future of a run, flat; not the seconds it took."""
    flat: dict[str, Any] = {}

    def walk(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{where}/{key}")
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                walk(item, f"{where}/{index}")
        elif not where.endswith("seconds"):
            flat[where] = value

    graphs = {name: graph.state for name, graph in checkpoint.graphs.items()}
    walk({"graphs": graphs, "training": checkpoint.training}, "")
    return flat


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        first, second = everything(read_checkpoint(one / name)), everything(read_checkpoint(other / name))
        assert first.keys() == second.keys()
        for key, value in first.items():
            same = torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
            assert same, key
    timeless = [[{**row, **dict.fromkeys(TIMES, "")} for row in rows(out)] for out in (one, other)]
    assert timeless[0] == timeless[1]
    assert sorted(path.name for path in (one / "samples").iterdir()) == sorted(
        path.name for path in (other / "samples").iterdir()
    )


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it runs."""


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Call `act` in place of the result of that step."""
    real, steps = Trainer.step, iter(range(1000))

    def counted(self: Trainer, *arguments: Any) -> dict[str, float]:
        losses = real(self, *arguments)
        if next(steps) == step:
            act()
        return losses

    monkeypatch.setattr(Trainer, "step", counted)


def kill() -> None:
    raise KilledError
