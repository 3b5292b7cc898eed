"""What the tests of class-conditional families share: a labelled split, a batch of it, and a phase by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from cgan_trainer.data.kinds import Split
from cgan_trainer.data.kinds.labelled import LabelledFacts
from cgan_trainer.families.base import Batch, Phase
from cgan_trainer.families.class_conditional import ClassRecipe
from torch import Tensor, nn

NAMES = ("cat", "dog", "owl")
FACTS = LabelledFacts(name="animals", classes=NAMES)


def labelled_split(*, per_class: int, size: int, channels: int = 1, classes: int = len(NAMES)) -> Split:
    """Every class is a grey level of its own, with noise around it."""
    labels = torch.arange(classes).repeat(per_class)
    noise = torch.randint(-20, 21, (len(labels), channels, size, size), generator=torch.Generator().manual_seed(0))
    images = (noise + 40 + labels[:, None, None, None] * 180 // classes).to(torch.uint8)
    return Split(
        name="val",
        arrays={"image": images, "label": labels},
        files={"image": tuple(f"{index}.png" for index in range(len(labels)))},
        count=len(labels),
        sha256="0",
    )


def batch_of(recipe: ClassRecipe[Any], positions: range, *, shape: tuple[int, int, int]) -> Batch:
    """Random images of the recipe's range with classes in turn, and the noise that the phases share."""
    low, high = recipe.values
    rows = [torch.rand(shape, generator=torch.Generator().manual_seed(n)) for n in positions]
    tensors = {
        "image": torch.stack(rows) * (high - low) + low,
        "label": torch.tensor([n % len(recipe.facts.classes) for n in positions]),
    }
    return Batch(positions=positions, tensors={**tensors, **recipe.noise(positions)})


def phase_of(recipe: ClassRecipe[Any], name: str) -> Phase:
    (stage,) = recipe.plan(1000)
    return next(phase for phase in stage.phases if phase.name == name)


def changed(batch: Batch, tensors: Mapping[str, Tensor]) -> Batch:
    return Batch(positions=batch.positions, tensors={**batch.tensors, **tensors})


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments of every call inside the block."""
    calls: list[tuple[Any, ...]] = []
    hook = module.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    try:
        yield calls
    finally:
        hook.remove()
