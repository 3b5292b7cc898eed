"""CycleGAN's losses against the formulas of the paper in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from cgan_trainer.families.base import Batch, Losses, Phase, Progress
from cgan_trainer.families.cyclegan import (
    CycleganRecipe,
)
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.training.trainer import Trainer, Turn
from torch import Tensor

from tests.trainer.cyclegans import SMALL, batch_of, recipe_of


def phases_of(recipe: CycleganRecipe) -> tuple[Phase, Phase]:
    (stage,) = recipe.plan(100)
    generators, judges = stage.phases
    return generators, judges


def trainer_of(recipe: CycleganRecipe) -> Trainer:
    return Trainer(recipe, recipe.plan(100))  # draws the first weights


def turns_of(recipe: CycleganRecipe, batches: Sequence[Batch]) -> list[Turn]:
    shared = tuple(batches)
    return [Turn(phase=phase, batches=shared) for phase in phases_of(recipe)]


def step(trainer: Trainer, *batches: Batch) -> dict[str, float]:
    start = Progress(images=0, total=100, epochs=1, steps=0)
    return trainer.step(turns_of(trainer.recipe, batches), start)  # type: ignore[arg-type]  # a CycleganRecipe


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    """Of every weight in the one step taken: Adam's first moment is then half the gradient, beta1 being 0.5."""
    found: dict[str, Tensor] = {}
    for phase in phases_of(trainer.recipe):  # type: ignore[arg-type]  # as above
        names = [
            f"{net}.{key}" for net in phase.trains for key, _ in trainer.recipe.networks[net].named_parameters()
        ]
        moments = trainer.optimizers[phase.name].state_dict()["state"]
        found |= {name: 2 * moments[index]["exp_avg"] for index, name in enumerate(names)}
    return found


class Reference:
    """The objective written down from the paper, in float64, on copies of the recipe's networks."""

    def __init__(self, recipe: CycleganRecipe, batch: Batch) -> None:
        nets = {name: copy.deepcopy(network).double() for name, network in recipe.networks.items()}
        self.nets = nets
        self.a, self.b = batch["a"].double(), batch["b"].double()
        self.mode = recipe.config.gan_mode
        self.fake_b, self.fake_a = self.run("G_AB", self.a), self.run("G_BA", self.b)

    def run(self, name: str, images: Tensor) -> Tensor:
        result: Tensor = self.nets[name](images)[0]
        return result

    def gan(self, name: str, images: Tensor, real: bool) -> Tensor:
        logits: Tensor = self.nets[name](images)
        if self.mode == "lsgan":
            return ((logits - float(real)) ** 2).mean()
        share = torch.sigmoid(logits)
        return -(share if real else 1 - share).log().mean()

    def generators(self, cycle: float, identity: float) -> dict[str, Tensor]:
        back_a, back_b = self.run("G_BA", self.fake_b), self.run("G_AB", self.fake_a)
        return {
            "G_AB": self.gan("D_B", self.fake_b, real=True),
            "G_BA": self.gan("D_A", self.fake_a, real=True),
            "G_cycle_A": cycle * (back_a - self.a).abs().mean(),
            "G_cycle_B": cycle * (back_b - self.b).abs().mean(),
            "G_identity_A": cycle * identity * (self.run("G_BA", self.a) - self.a).abs().mean(),
            "G_identity_B": cycle * identity * (self.run("G_AB", self.b) - self.b).abs().mean(),
        }

    def judges(self) -> dict[str, Tensor]:
        return {
            name: (self.gan(name, real, real=True) + self.gan(name, fake.detach(), real=False)) / 2
            for name, real, fake in (("D_A", self.a, self.fake_a), ("D_B", self.b, self.fake_b))
        }

    def gradients(self, parts: Mapping[str, Tensor], trained: tuple[str, ...]) -> dict[str, Tensor]:
        weights = {f"{name}.{key}": w for name in trained for key, w in self.nets[name].named_parameters()}
        total = torch.stack([*parts.values()]).sum()
        return dict(zip(weights, torch.autograd.grad(total, [*weights.values()]), strict=True))


def assert_same_gradient(given: Tensor | None, wanted: Tensor) -> None:
    """Within 1e-4 of its largest value; 5e-6 is rounding, all that biases before an instance norm have."""
    assert given is not None
    tolerance = 5e-6 + 1e-4 * wanted.abs().max().item()
    torch.testing.assert_close(given.double(), wanted.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        ({"gan_mode": "lsgan", "lambda_cycle": 7.0, "lambda_identity": 0.3}, 0.3),
        ({"gan_mode": "vanilla"}, 0.5),
        ({"lambda_identity": 0.0}, None),
    ],
)
def test_a_step_follows_the_papers_objective(changes: dict[str, Any], identity: float | None) -> None:
    recipe = recipe_of(**changes)
    trainer, batch = trainer_of(recipe), batch_of()
    reference = Reference(recipe, batch)
    parts = reference.generators(recipe.config.lambda_cycle, identity or 0.0)
    if identity is None:
        parts = {name: part for name, part in parts.items() if "identity" not in name}
    judged = reference.judges()
    wanted = reference.gradients(parts, ("G_AB", "G_BA")) | reference.gradients(judged, ("D_A", "D_B"))
    losses = step(trainer, batch)
    assert tuple(losses) == (*parts, *judged) == recipe.loss_names
    for name, part in {**parts, **judged}.items():
        assert losses[name] == pytest.approx(part.item(), rel=1e-5), name
    given = gradients(trainer)
    assert given.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert_same_gradient(given[name], gradient)


def test_in_its_phase_a_network_alone_has_gradients() -> None:
    recipe = recipe_of()
    trainer = trainer_of(recipe)
    losses, seen = recipe.losses, {}

    def watched(phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        needed = {name for name, net in recipe.networks.items() if next(net.parameters()).requires_grad}
        seen[phase.name] = (needed, made["fake_A"].requires_grad)
        return losses(phase, batch, made)

    recipe.losses = watched  # type: ignore[method-assign]  # only looks on
    step(trainer, batch_of())
    assert seen["G"] == ({"G_AB", "G_BA"}, True)
    assert seen["D"][1] is False
    assert {"D_A", "D_B"} <= seen["D"][0]


def test_the_discriminators_see_what_the_generators_made_before_their_step() -> None:
    recipe = recipe_of()
    trainer = trainer_of(recipe)
    runs = []
    recipe.networks["G_AB"].register_forward_hook(lambda *_: runs.append(1))
    step(trainer, batch_of(range(1)), batch_of(range(1, 2)))
    assert len(runs) == 6  # fake, way back and identity of each of two batches; none for the discriminators


def test_generators_step_first_and_discriminators_on_the_same_images() -> None:
    generators, judges = phases_of(recipe_of())
    assert (generators.name, judges.name) == ("G", "D")
    assert (generators.batches, judges.batches) == (1, 0)


def test_the_discriminators_are_shown_the_pool_of_their_own_domain() -> None:
    recipe = recipe_of(pool=3)
    _, judges = phases_of(recipe)
    pools = {name: ImagePool(3, SMALL.seed, f"pool {name}") for name in ("A", "B")}
    older = 0
    for n in range(24):
        batch = batch_of(range(n, n + 1))
        with torch.no_grad():
            made = recipe.make(judges, batch)
            shown = {f"fake_{name}": pools[name].exchange(made[f"fake_{name}"], batch.positions) for name in pools}
            older += sum(not torch.equal(shown[name], made[name]) for name in shown)
            given = recipe.losses(judges, batch, made).parts
            wanted = recipe_without_pool(recipe).losses(judges, batch, shown).parts
        for name, part in wanted.items():
            assert given[name].item() == pytest.approx(part.item(), rel=1e-6)
    assert 10 < older < 34  # of the 42 that came when a pool was full


def recipe_without_pool(recipe: CycleganRecipe) -> CycleganRecipe:
    same = copy.copy(recipe)
    same.pools = {name: ImagePool(0, 0) for name in recipe.pools}
    return same


@pytest.mark.parametrize(
    ("changes", "names", "runs"),
    [
        ({}, "G_AB G_BA G_cycle_A G_cycle_B G_identity_A G_identity_B D_A D_B", 6),
        ({"lambda_identity": 0.0}, "G_AB G_BA G_cycle_A G_cycle_B D_A D_B", 4),
        ({"lambda_cycle": 0.0}, "G_AB G_BA D_A D_B", 2),
    ],
)
def test_a_loss_without_weight_is_neither_computed_nor_reported(
    changes: dict[str, Any], names: str, runs: int
) -> None:
    recipe = recipe_of(**changes)
    trainer = trainer_of(recipe)
    ran = []
    for name in ("G_AB", "G_BA"):
        recipe.networks[name].register_forward_hook(lambda *_: ran.append(1))
    assert tuple(step(trainer, batch_of())) == recipe.loss_names == tuple(names.split())
    assert len(ran) == runs


@pytest.mark.slow
def test_batches_added_up_are_one_of_all_images() -> None:
    trainers = [trainer_of(recipe_of(pool=3)) for _ in range(2)]
    for begin in (0, 4, 8):
        whole = step(trainers[0], batch_of(range(begin, begin + 4)))
        halves = step(trainers[1], *(batch_of(range(at, at + 2)) for at in (begin, begin + 2)))
        if begin == 0:
            one, other = map(gradients, trainers)
            for name, gradient in one.items():
                assert_same_gradient(other[name], gradient)
        assert halves == pytest.approx(whole, rel=2e-3)
    for name, pool in trainers[0].recipe.pools.items():
        for mine, theirs in zip(pool.images, trainers[1].recipe.pools[name].images, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-2)
