"""The loop of cgan-train, opened as the command opens it: same allocator settings, same feed, same step.

What is left out is left out of the plain loop too: validating, saving, drawing, the progress line.
"""

from __future__ import annotations

from pathlib import Path

from cgan_trainer.data.pairs import Domains, load_pairs
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.loop import TrainingRun
from cgan_trainer.training.run_folder import RunFolder

from cgan_bench.train.loops import Loop, Setup

__all__ = ["open_run"]

_IMAGES = 1_000_000_000  # more than any measurement sees, so the learning rate stays at its first value


def open_run(contender: Loop, setup: Setup, batch: int) -> TrainingRun:
    """A run whose pictures are in memory; nothing is written."""
    config = Pix2pixConfig(
        size=setup.size,
        ngf=setup.ngf,
        ndf=setup.ndf,
        lambda_l1=contender.lambda_l1,
        batch=batch,
        images=_IMAGES,
        precision=contender.precision,
        torch_compile=contender.compiled,
    )
    pairs = load_pairs(setup.data, "train", setup.size, cache=setup.cache)
    return TrainingRun(
        config,
        Domains(name=setup.data.name),
        train=pairs,
        held_out=pairs,
        held_out_split="train",
        folder=RunFolder(path=Path("unused")),
        device=contender.device,
    )
