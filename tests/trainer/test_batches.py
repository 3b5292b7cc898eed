from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training.batches import Batches

CONFIG = Pix2pixConfig(size=64, ngf=2, ndf=2, condition="labels")
CPU = torch.device("cpu")


def batches(data: Path, config: Pix2pixConfig = CONFIG) -> Batches:
    kind = PIX2PIX.data(config, config.size)
    split = kind.load(data, "train")
    recipe = PIX2PIX.recipe(config, kind.facts(data, split))
    return Batches(kind.source(split, seed=config.seed, device=CPU), recipe)


def test_a_label_map_reaches_the_networks_in_its_own_colours(labelled: Path) -> None:
    batch = batches(labelled).batch(0, 8)
    assert set(batch["condition"].flatten().tolist()) == {-1.0, 1.0}  # black, red and green have no other values
    blended = batches(labelled, replace(CONFIG, condition="rgb")).batch(0, 8)
    assert len(set(blended["condition"].flatten().tolist())) > 100
    assert torch.equal(blended["target"], batch["target"])


def test_an_image_is_the_same_in_whatever_batch(labelled: Path) -> None:
    source = batches(labelled)
    together = source.batch(10, 15)  # over the end of the first epoch of 12
    assert len(together.tensors) == 2 + 3  # and a mask per dropout site
    for row, position in enumerate(together.positions):
        alone = source.batch(position, position + 1)
        for name, value in together.tensors.items():
            assert torch.equal(alone[name][0], value[row]), name


def test_b_to_a_turns_the_sides_round(labelled: Path) -> None:
    plain = replace(CONFIG, jitter=False, mirror=False, condition="rgb")
    there = batches(labelled, plain).batch(0, 2)
    back = batches(labelled, replace(plain, direction="BtoA")).batch(0, 2)
    assert torch.equal(there["condition"], back["target"])
    assert torch.equal(there["target"], back["condition"])


@pytest.mark.parametrize("batch", [1, 3])
def test_tensors_lie_in_the_layout_of_the_networks(labelled: Path, batch: int) -> None:
    given = batches(labelled, replace(CONFIG, channels_last=True))
    given.recipe.layout = torch.channels_last
    for name, value in given.batch(0, batch).tensors.items():
        assert value.is_contiguous(memory_format=torch.channels_last), name
