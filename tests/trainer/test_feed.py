from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgan_trainer.data.pairs import Pairs, load_pairs
from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.training.batches import Feed
from cgan_trainer.training.config import Pix2pixConfig

CONFIG = Pix2pixConfig(size=64, ngf=2, condition="labels")


@pytest.fixture(scope="module")
def pairs_of_labels(labelled: Path) -> Pairs:
    return load_pairs(labelled, "train", 64, modes=("labels", "rgb"))


def feed(pairs: Pairs, config: Pix2pixConfig = CONFIG) -> Feed:
    return Feed(config, pairs, Pix2pixGenerator(Pix2pixOptions(size=64, ngf=2)), "cpu")


def test_a_label_map_reaches_the_networks_in_its_own_colours(pairs_of_labels: Pairs) -> None:
    batch = feed(pairs_of_labels).batch(0, 8)
    assert set(batch.condition.flatten().tolist()) == {-1.0, 1.0}  # black, red and green have no other values
    blended = feed(pairs_of_labels, replace(CONFIG, condition="rgb")).batch(0, 8)
    assert len(set(blended.condition.flatten().tolist())) > 100
    assert torch.equal(blended.target, batch.target)


def test_an_image_is_the_same_in_whatever_batch(pairs_of_labels: Pairs) -> None:
    source = feed(pairs_of_labels)
    together = source.batch(10, 15)  # over the end of the first epoch of 12
    for row, position in enumerate(together.positions):
        alone = source.batch(position, position + 1)
        assert torch.equal(alone.condition[0], together.condition[row])
        assert torch.equal(alone.target[0], together.target[row])
        assert all(torch.equal(one[0], many[row]) for one, many in zip(alone.masks, together.masks, strict=True))


def test_b_to_a_turns_the_sides_round(pairs_of_labels: Pairs) -> None:
    plain = replace(CONFIG, jitter=False, mirror=False, condition="rgb")
    there = feed(pairs_of_labels, plain).batch(0, 2)
    back = feed(pairs_of_labels, replace(plain, direction="BtoA")).batch(0, 2)
    assert torch.equal(there.condition, back.target)
    assert torch.equal(there.target, back.condition)
