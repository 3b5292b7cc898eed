"""What was asked for is what the optimisers were given, with every option away from its default."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.families.base import OptimizerSpec, Progress, Recipe
from cgan_trainer.families.cdcgan import CDCGAN
from cgan_trainer.families.cgan import CGAN
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.training.optimizers import make_optimizer
from cgan_trainer.training.start import make_recipe
from cgan_trainer.training.trainer import Trainer, Turn
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.trainer import classes, cyclegans, test_steps
from tests.trainer.pix2pix_runs import LOSSES, SMALL, rows, train

BETA1 = 0.3


@pytest.mark.parametrize(("of_gan", "of_l1"), [(3.0, 7.0), (0.25, 100.0), (1.0, 0.0), (0.0, 10.0)])
def test_both_weights_are_in_the_losses_and_in_the_gradient(of_gan: float, of_l1: float) -> None:
    run = test_steps.trainer_of(norm="instance", lambda_gan=of_gan, lambda_l1=of_l1, beta1=BETA1)
    batch = test_steps.batch_of(run, range(2))
    before = copy.deepcopy(run.generator)
    losses = run.step([batch])
    assert run.discriminator is not None
    (image,) = before.train()(batch["condition"], *(batch[name] for name in run.masks))
    gan = gan_loss(run.discriminator(image, batch["condition"]), real=True)
    l1 = l1_loss(image, batch["target"])
    assert losses["G_GAN"] == pytest.approx(of_gan * gan.item(), rel=1e-4)
    assert losses["G_L1"] == pytest.approx(of_l1 * l1.item(), rel=1e-4)
    wanted = torch.autograd.grad(of_gan * gan + of_l1 * l1, list(before.parameters()))
    moments = run.trainer.optimizers["G"].state_dict()["state"].values()
    for moment, gradient in zip(moments, wanted, strict=True):
        given = moment["exp_avg"] / (1 - BETA1)
        torch.testing.assert_close(given, gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max().item() + 1e-7)


def recipes() -> dict[str, Recipe[Any, Any]]:
    """A recipe of every family that learns by Adam, with a rate and a beta1 of its own."""
    changes: dict[str, Any] = {"lr": 3e-3, "beta1": BETA1}
    port = replace(CganConfig(), variant="port", **changes)
    return {
        "pix2pix": test_steps.trainer_of(**changes).recipe,
        "cyclegan": cyclegans.recipe_of(**changes),
        "cdcgan": make_recipe(CDCGAN, replace(CdcganConfig(), **changes), classes.FACTS),
        "cgan": make_recipe(CGAN, port, classes.FACTS),
    }


@pytest.mark.parametrize("family", ["pix2pix", "cyclegan", "cdcgan", "cgan"])
def test_every_adam_has_the_papers_second_beta_and_the_users_first(family: str) -> None:
    """Radford et al. 2015 and all that follow them: 0.999 is Adam's own beta2."""
    recipe = recipes()[family]
    trainer = Trainer(recipe, recipe.plan(100))
    assert len(trainer.optimizers) == 2
    for optimizer in trainer.optimizers.values():
        (group,) = optimizer.param_groups
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((BETA1, 0.999), 1e-8, 0)
        assert group["lr"] == 3e-3


def test_the_cgan_of_the_paper_learns_by_sgd_with_half_of_the_momentum() -> None:
    """Mirza and Osindero 2014, section 4.1."""
    recipe = make_recipe(CGAN, replace(CganConfig(), variant="paper", sgd_lr=0.07), classes.FACTS)
    for optimizer in Trainer(recipe, recipe.plan(100)).optimizers.values():
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, torch.optim.SGD)
        assert (group["lr"], group["momentum"]) == (0.07, 0.5)


SPECS = {
    "adam": OptimizerSpec(kind="adam", lr=0.02, betas=(0.3, 0.9), eps=0.1, weight_decay=0.2),
    "sgd": OptimizerSpec(kind="sgd", lr=0.02, momentum=0.7, weight_decay=0.2),
    "rmsprop": OptimizerSpec(kind="rmsprop", lr=0.02, momentum=0.7, eps=0.1, weight_decay=0.2),
}


def by_formula(spec: OptimizerSpec, weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """The rules of the papers in float64: Adam's algorithm 1, SGD with momentum, Hinton's RMSprop (0.99)."""
    w = weight.double()
    m = v = torch.zeros_like(w)
    for step, gradient in enumerate(gradients, 1):
        g = gradient.double() + spec.weight_decay * w
        match spec.kind:
            case "adam":
                m = spec.betas[0] * m + (1 - spec.betas[0]) * g
                v = spec.betas[1] * v + (1 - spec.betas[1]) * g**2
                m_hat, v_hat = m / (1 - spec.betas[0] ** step), v / (1 - spec.betas[1] ** step)
                w = w - spec.lr * m_hat / (v_hat.sqrt() + spec.eps)
            case "sgd":
                m = spec.momentum * m + g
                w = w - spec.lr * m
            case "rmsprop":
                v = 0.99 * v + 0.01 * g**2
                m = spec.momentum * m + g / (v.sqrt() + spec.eps)
                w = w - spec.lr * m
    return w


@pytest.mark.parametrize("kind", SPECS)
def test_an_optimiser_follows_its_formula_with_all_its_options(kind: str) -> None:
    draws = torch.Generator().manual_seed(5)
    weight, *gradients = torch.randn(4, 6, generator=draws)
    parameter = nn.Parameter(weight.clone())
    optimizer = make_optimizer(SPECS[kind], [parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    wanted = by_formula(SPECS[kind], weight, gradients)
    torch.testing.assert_close(parameter.detach().double(), wanted, rtol=1e-5, atol=1e-6)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a run did: the rate of every optimiser step; of every training step its images and its losses."""

    rates: list[float]
    steps: list[tuple[int, dict[str, float]]]
    rows: list[dict[str, str]]


@pytest.fixture(scope="module")
def watched(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """13 images in batches of 2 and one of 1; a row after 6, 10 and 13 images."""
    rates: list[float] = []
    steps: list[tuple[int, dict[str, float]]] = []
    real = Trainer.step

    def step(self: Trainer, turns: Sequence[Turn], progress: Progress) -> dict[str, float]:
        losses = real(self, turns, progress)
        steps.append((turns[0].images, losses))
        return losses

    handle = register_optimizer_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    out = tmp_path_factory.mktemp("watched") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        assert train(pairs, out, replace(SMALL, lr=1e-3, save_images=5)) == 0
    handle.remove()
    yield Watched(rates=rates, steps=steps, rows=rows(out))


@pytest.mark.slow
def test_every_step_has_the_rate_of_its_first_image(watched: Watched) -> None:
    """Constant for the first half, then in a line to 0 at the end; D and G alike."""
    begins = [0, 2, 4, 6, 8, 10, 12]
    wanted = [1e-3 * min(1.0, (13 - begin) / 6.5) for begin in begins for _ in ("D", "G")]
    assert watched.rates == pytest.approx(wanted, rel=1e-9)
    shown = [float(row["lr"]) for row in watched.rows]
    assert shown == pytest.approx([watched.rates[5], watched.rates[9], watched.rates[13]], rel=0.3)


@pytest.mark.slow
def test_a_row_holds_the_means_over_images_since_the_last_row(watched: Watched) -> None:
    assert [images for images, _ in watched.steps] == [2] * 6 + [1]
    assert [row["images"] for row in watched.rows] == ["6", "10", "13"]
    for row, part in zip(watched.rows, (slice(0, 3), slice(3, 5), slice(5, 7)), strict=True):
        steps = watched.steps[part]
        for name in LOSSES:
            mean = sum(images * losses[name] for images, losses in steps) / sum(images for images, _ in steps)
            assert float(row[name]) == pytest.approx(mean, abs=1e-6)
    (two, first), (one, second) = watched.steps[5:]
    assert two != one
    assert abs(first["G_L1"] - second["G_L1"]) > 1e-3, "else every mean is the same"
