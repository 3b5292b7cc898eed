"""A small CycleGAN, and batches for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from cgan_trainer.configs.cyclegan import CycleganConfig
from cgan_trainer.data.kinds.unpaired import UnpairedFacts
from cgan_trainer.families.base import Batch
from cgan_trainer.families.cyclegan import (
    CycleganRecipe,
)

SMALL = CycleganConfig(size=32, net="resnet-6", ngf=4, ndf=4, patch=34, pool=0)
FACTS = UnpairedFacts(name="x", a="map", b="satellite")


def recipe_of(**changes: Any) -> CycleganRecipe:
    torch.manual_seed(0)
    recipe = CycleganRecipe(replace(SMALL, **changes), FACTS)
    for network in recipe.networks.values():
        recipe.initialise(network)
    return recipe


def batch_of(positions: range = range(2), size: int = 32) -> Batch:
    draws = [torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in positions]
    both = torch.stack(draws)
    return Batch(positions=positions, tensors={"a": both[:, 0], "b": both[:, 1]})
