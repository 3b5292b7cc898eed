"""The loop of cgan-train, opened as the command opens it: same allocator settings, same feed, same step.

What is left out is left out of the plain loop too: validating, saving, drawing, the progress line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds.paired import PairedData
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training.loop import Data, TrainingRun
from cgan_trainer.training.run_folder import RunFolder
from cgan_trainer.training.start import make_recipe

from cgan_bench.train.loops import Loop, Setup

__all__ = ["open_run"]

_IMAGES = 1_000_000_000  # more than any measurement sees, so the learning rate stays at its first value


def open_run(loop: Loop, setup: Setup, batch: int) -> TrainingRun:
    """A run whose images are in memory; nothing is written."""
    config = Pix2pixConfig(
        size=setup.size,
        ngf=setup.ngf,
        ndf=setup.ndf,
        lambda_l1=loop.lambda_l1,
        batch=batch,
        images=_IMAGES,
        precision=loop.precision,
        torch_compile=loop.compiled,
    )
    kind = PIX2PIX.data(config, setup.size)
    assert isinstance(kind, PairedData)  # noqa: S101 - it is pix2pix
    kind = replace(kind, cache=setup.cache)
    images = kind.load(setup.data, "train")
    recipe = make_recipe(PIX2PIX, config, kind.facts(setup.data, images))
    data = Data(train=images, held_out=images)
    return TrainingRun(PIX2PIX, recipe, data, folder=RunFolder(path=Path("unused")), device=loop.device)
