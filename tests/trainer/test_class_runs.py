"""Whole runs of the families that draw an image of a named class."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgan_runtime.contract import LabelEncoding
from cgan_runtime.errors import UsageError
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs import TrainConfig
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.families import build_graph
from cgan_trainer.families.base import Progress
from cgan_trainer.families.cgan import CGAN
from cgan_trainer.families.class_conditional import ClassRecipe
from cgan_trainer.training.start import make_recipe, train
from cgan_trainer.training.trainer import Trainer, Turn
from PIL import Image
from torch import nn

from tests.trainer.classes import FACTS, NAMES, batch_of

CDCGAN = CdcganConfig(width=2, latent=4, images=14, batch=4, save_images=7, lr=1e-3)
PAPER = CganConfig(size=8, images=14, batch=4, save_images=7)
PORT = replace(PAPER, variant="port", ema=0.9)
ALL = pytest.mark.parametrize("config", [CDCGAN, PAPER, PORT], ids=["cdcgan", "paper", "port"])


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: 4 training and 2 held-out images of each class."""
    root = tmp_path_factory.mktemp("animals")
    draws = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for number, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = draws.integers(60 * number, 60 * number + 60, (12, 12), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


def options(animals: Path, out: Path, **changes: Any) -> RunOptions:
    return replace(RunOptions(data=animals, out=out, threads=1, evaluate=False), **changes)


@ALL
def test_a_run_leaves_a_checkpoint_that_draws_each_class(
    animals: Path, tmp_path: Path, config: TrainConfig
) -> None:
    assert train(config, options(animals, tmp_path / "run")) == 0
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    assert [row["images"] for row in rows] == ["8", "14"]
    assert {"G_GAN", "D_real", "D_fake", "val_energy", "val_class"} < rows[0].keys()
    checkpoint = read_checkpoint(tmp_path / "run" / "best.pt")
    assert checkpoint.provenance["images"] == 14  # no figure decides: the newest
    assert float(rows[1]["val_energy"]) == pytest.approx(checkpoint.provenance["val_energy"], abs=1e-6)
    generator = build_graph(checkpoint, "main")
    (label,) = generator.contract.conditions
    assert label.encoding == LabelEncoding(names=NAMES)
    assert checkpoint.examples["main"]["label"].tolist() == [0, 1, 2]
    (image,) = generator.live([torch.tensor([0, 1, 2])], 3)
    assert image.shape == (3, 1, config.size, config.size)
    with Image.open(sorted((tmp_path / "run" / "samples").glob("*.png"))[-1]) as grid:
        assert grid.size == (8 * config.size, 3 * config.size)
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert said["family"] == config.family


@ALL
@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_weights_of_an_unbroken_one(
    animals: Path, tmp_path: Path, config: TrainConfig
) -> None:
    assert train(config, options(animals, tmp_path / "whole")) == 0
    broken = options(animals, tmp_path / "broken", max_minutes=1e-9)
    assert train(config, broken) == 0
    while read_checkpoint(tmp_path / "broken" / "last.pt").provenance["images"] < 14:
        assert train(config, replace(broken, resume=True)) == 0
    whole, parts = (read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "broken"))
    for name, value in whole.graphs["main"].state.items():
        assert torch.equal(value, parts.graphs["main"].state[name]), name


def test_the_last_batch_may_be_a_single_image(animals: Path, tmp_path: Path) -> None:
    config = replace(PORT, images=5)
    assert train(config, options(animals, tmp_path / "whole")) == 0
    broken = options(animals, tmp_path / "broken", max_minutes=1e-9)
    for resume in (False, True):
        assert train(config, replace(broken, resume=resume)) == 0
    states = [read_checkpoint(tmp_path / name / "last.pt").graphs["main"].state for name in ("whole", "broken")]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_batches_that_are_added_up_train_as_one_of_all() -> None:
    # Of the paper's network alone: the others have statistics over a batch.
    weights = []
    for sizes in ((8,), (4, 4), (4,)):
        recipe = make_recipe(CGAN, PAPER, FACTS)
        assert isinstance(recipe, ClassRecipe)
        (stage,) = recipe.plan(8)
        trainer, begin, batches = Trainer(recipe, (stage,)), 0, []
        for size in sizes:
            batches.append(batch_of(recipe, range(begin, begin + size), shape=(1, 8, 8)))
            begin += size
        turns = [Turn(phase=phase, batches=tuple(batches)) for phase in stage.phases]
        for _ in range(3):
            trainer.step(turns, Progress(images=0, total=8, epochs=1, steps=0))
        weights.append(torch.cat([p.detach().flatten() for n in recipe.networks.values() for p in n.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-6)
    assert (weights[0] - weights[2]).abs().max() > 1e-4


def test_the_port_goes_on_from_a_file_of_its_source(animals: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    widths, state = (103, 128, 256, 512, 1024, 64), {"label_emb.weight": torch.randn(3, 3)}
    for at, (ins, outs) in zip((0, 2, 5, 8, 11), pairwise(widths), strict=True):
        layer = nn.Linear(ins, outs)
        state |= {f"model.{at}.weight": layer.weight.data, f"model.{at}.bias": layer.bias.data}
    for at, width in zip((3, 6, 9), widths[2:5], strict=True):
        norm = nn.BatchNorm1d(width, 0.8)
        norm.running_mean = torch.randn(width)
        state |= {f"model.{at}.{name}": value for name, value in norm.state_dict().items()}
    torch.save(state, tmp_path / "generator.pth")
    run = options(animals, tmp_path / "run", init_from=tmp_path / "generator.pth")
    # A single image, at a rate that moves nothing: what is saved is what was brought.
    assert train(replace(PORT, images=2, batch=2, lr=1e-12, ema=0.0), run) == 0
    saved = read_checkpoint(tmp_path / "run" / "last.pt").graphs["main"].state
    for name, source in (("embedding", "label_emb"), ("hidden.2", "model.5"), ("last", "model.11")):
        torch.testing.assert_close(saved[f"{name}.weight"], state[f"{source}.weight"], rtol=0, atol=1e-6)
    # One of another shape is refused in words of this family.
    with pytest.raises(UsageError, match=r"does not fit this run .*; give the options that it was trained with"):
        train(replace(PORT, images=2, batch=2, latent=50), replace(run, out=tmp_path / "other"))
