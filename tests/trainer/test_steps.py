from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from cgan_runtime.errors import CganError, UsageError
from cgan_trainer.configs.base import RunOptions, check_config
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families.base import Batch, Progress
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.palette import Palette
from cgan_trainer.training.start import make_recipe
from cgan_trainer.training.trainer import Trainer, Turn
from torch import Tensor

SMALL = Pix2pixConfig(size=64, ngf=4, ndf=4)
NOW = Progress(images=0, total=10**6, epochs=200, steps=0)


class Run:
    """A trainer of pix2pix, and its networks."""

    def __init__(self, config: Pix2pixConfig, palette: Palette | None = None) -> None:
        facts = PairedFacts(
            name="x",
            source="A",
            target="B",
            palette=palette,
            source_palette=None,
            target_palette=None,
            direction="AtoB",
        )
        self.recipe = make_recipe(PIX2PIX, config, facts)
        (self.stage,) = self.recipe.plan(NOW.total)
        self.trainer = Trainer(self.recipe, (self.stage,))
        self.generator = self.recipe.networks["generator"]
        self.discriminator = self.recipe.networks.get("discriminator")

    def step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """One step of every phase on the same batches."""
        taken = tuple(batches)
        return self.trainer.step([Turn(phase=phase, batches=taken) for phase in self.stage.phases], NOW)

    @property
    def masks(self) -> list[str]:
        return [item.name for item in self.recipe.graphs(self.recipe.networks)["main"].contract.noise]

    def made_of(self, batch: Batch) -> Tensor:
        (image,) = self.generator.train()(batch["condition"], *(batch[name] for name in self.masks))
        return cast("Tensor", image)


def trainer_of(palette: Palette | None = None, **changes: Any) -> Run:
    return Run(replace(SMALL, **changes), palette)


def batch_of(run: Run, positions: range = range(1), **tensors: Tensor) -> Batch:
    rows = [torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in positions]
    pairs = torch.stack(rows)
    noise = run.recipe.noise(positions)
    return Batch(positions=positions, tensors={"condition": pairs[:, 0], "target": pairs[:, 1], **noise, **tensors})


def gradients(optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """Adam's first moment after one step is (1 - beta1) * gradient, and beta1 is 0.5."""
    assert optimizer is not None
    return [2 * state["exp_avg"] for state in optimizer.state_dict()["state"].values()]


def test_the_discriminator_objective_is_halved_and_the_l1_weighted() -> None:
    trainer = trainer_of()
    batch = batch_of(trainer)
    with torch.no_grad():
        image = trainer.made_of(batch)
    d = trainer.discriminator
    assert d is not None
    fake = gan_loss(d(image, batch["condition"]), real=False)
    real = gan_loss(d(batch["target"], batch["condition"]), real=True)
    expected = torch.autograd.grad((fake + real) / 2, list(d.parameters()))
    losses = trainer.step([batch])
    assert losses["G_L1"] == pytest.approx(100 * l1_loss(image, batch["target"]).item(), rel=1e-5)
    assert (losses["D_real"], losses["D_fake"]) == pytest.approx((real.item(), fake.item()), rel=1e-5)
    for given, wanted in zip(gradients(trainer.trainer.optimizers["D"]), expected, strict=True):
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-7)


def test_the_generator_follows_the_discriminator_as_it_is_after_its_step() -> None:
    trainer, batch = trainer_of(), batch_of(trainer_of())
    image = trainer.made_of(batch)
    losses = trainer.step([batch])
    d = trainer.discriminator
    assert d is not None
    with torch.no_grad():
        assert losses["G_GAN"] == pytest.approx(gan_loss(d(image, batch["condition"]), real=True).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("L1", ("G_L1",)),
        ("GAN", ("G_GAN", "D_real", "D_fake")),
        ("cGAN", ("G_GAN", "D_real", "D_fake")),
        ("L1+GAN", ("G_GAN", "G_L1", "D_real", "D_fake")),
        ("L1+cGAN", ("G_GAN", "G_L1", "D_real", "D_fake")),
    ],
)
def test_each_objective_has_its_losses_and_discriminator(objective: Any, names: tuple[str, ...]) -> None:
    trainer = trainer_of(objective=objective)
    losses = trainer.step([batch_of(trainer)])
    assert tuple(losses) == names == trainer.recipe.loss_names
    if objective == "L1":
        assert trainer.discriminator is None
    else:
        assert trainer.discriminator is not None
        first = next(trainer.discriminator.parameters())
        assert first.shape[1] == (6 if "cGAN" in objective else 3)


def test_without_l1_the_target_reaches_the_generator_only_through_the_discriminator() -> None:
    trainers = [trainer_of(objective="cGAN", lambda_l1=weight) for weight in (0.0, 100.0)]
    for trainer in trainers:
        trainer.step([batch_of(trainer)])
    for one, other in zip(trainers[0].generator.parameters(), trainers[1].generator.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["lsgan", "wgangp"])
def test_every_gan_mode_steps_both_networks(mode: Any) -> None:
    trainer = trainer_of(gan_mode=mode)
    before = [parameter.clone() for parameter in trainer.generator.parameters()]
    losses = trainer.step([batch_of(trainer, range(2))])
    assert ("D_GP" in losses) == (mode == "wgangp")
    assert all(math.isfinite(value) for value in losses.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.generator.parameters(), strict=True))


def test_the_gradient_penalty_reaches_the_critic() -> None:
    weights = [trainer_of(gan_mode="wgangp", lambda_gp=weight) for weight in (0.0, 10.0)]
    for trainer in weights:
        trainer.step([batch_of(trainer)])
    first, second = (gradients(trainer.trainer.optimizers["D"]) for trainer in weights)
    assert any(not torch.allclose(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("objective", ["L1+cGAN", "L1"])
def test_two_batches_added_up_are_one_of_both(objective: Any) -> None:
    # With statistics over a batch the two would differ, as they do everywhere: instance norm has none.
    trainers = [trainer_of(norm="instance", objective=objective, batch=size) for size in (4, 2, 2)]
    whole = batch_of(trainers[0], range(4))
    halves = [batch_of(trainers[1], positions) for positions in (range(2), range(2, 4))]
    losses = [trainers[0].step([whole]), trainers[1].step(halves)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for phase in trainers[0].stage.phases:
        one, other = (gradients(run.trainer.optimizers[phase.name]) for run in trainers[:2])
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 + 1e-3 * a.abs().max().item())
    trainers[2].step(halves[:1])
    assert any(
        not torch.allclose(a, b, rtol=1e-2)
        for a, b in zip(
            gradients(trainers[0].trainer.optimizers["G"]),
            gradients(trainers[2].trainer.optimizers["G"]),
            strict=True,
        )
    )


def test_a_label_map_reaches_both_networks_as_classes() -> None:
    palette = Palette(names=("a", "b"), colors=((0, 0, 0), (255, 255, 255)))
    trainer = trainer_of(palette)
    assert trainer.discriminator is not None
    assert next(trainer.discriminator.parameters()).shape[1] == 2 + 3
    batch = batch_of(trainer)
    exact = batch["condition"].mean(dim=1, keepdim=True).sign().expand(-1, 3, -1, -1)
    colours = (exact, exact * 0.9)  # nearest to the same colours
    first, second = (trainer_of(palette).step([batch_of(trainer, condition=shown)]) for shown in colours)
    assert first == second


def test_the_average_follows_its_formula() -> None:
    trainer = trainer_of(ema=0.5)
    expected = [parameter.detach().clone() for parameter in trainer.generator.parameters()]
    for step in (1, 2, 3):
        trainer.step([batch_of(trainer)])
        decay = min(0.5, (1 + step) / (10 + step))
        expected = [
            decay * old + (1 - decay) * new.detach()
            for old, new in zip(expected, trainer.generator.parameters(), strict=True)
        ]
    assert trainer.trainer.saved_networks["generator"] is not trainer.generator
    for given, wanted in zip(trainer.trainer.saved_networks["generator"].parameters(), expected, strict=True):
        torch.testing.assert_close(given.detach(), wanted)


def test_the_history_keeps_every_image_with_its_condition() -> None:
    trainer = trainer_of(buffer=2)
    for n in range(6):
        trainer.step([batch_of(trainer, range(n, n + 1))])
    known = [batch_of(trainer, range(n, n + 1))["condition"][0] for n in range(6)]
    assert len(trainer.recipe.pools["fakes"].images) == 2
    for kept in trainer.recipe.pools["fakes"].images:
        assert any(torch.equal(kept[3:], condition) for condition in known)


def test_bf16_and_channels_last_take_nearly_the_same_step() -> None:
    wanted = trainer_of().step([batch_of(trainer_of())])
    for changes, tolerance in (({"channels_last": True}, 1e-3), ({"precision": "bf16"}, 0.03)):
        trainer = trainer_of(**changes)
        assert trainer.step([batch_of(trainer)]) == pytest.approx(wanted, rel=tolerance)
        assert next(trainer.generator.parameters()).dtype == torch.float32


@pytest.mark.slow
def test_steps_bring_the_image_nearer_to_the_target() -> None:
    trainer = trainer_of(lr=2e-3)
    batch = batch_of(trainer)
    batch = batch_of(trainer, target=batch["condition"].flip(1))
    history = [trainer.step([batch])["G_L1"] for _ in range(60)]
    assert history[-1] < history[0] * 0.9


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    trainer = trainer_of()
    batch = batch_of(trainer)
    with pytest.raises(CganError, match="no longer a finite number"):
        trainer.step([batch_of(trainer, condition=batch["condition"] * math.nan)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch": 286, "size": 64}, "--patch 286 cannot be used with --size 64: it needs images of 128 pixels"),
        ({"gan_mode": "wgangp", "precision": "bf16"}, "--precision bf16 cannot be used with --gan-mode wgangp"),
        ({"ema": 1.0}, "--ema 1.0 cannot be used"),
        ({"accumulate": 0}, "--accumulate 0 cannot be used"),
        ({"buffer": -1}, "--buffer -1 cannot be used"),
        ({"lambda_gp": math.inf}, "--lambda-gp inf cannot be used"),
    ],
)
def test_options_that_cannot_be_used_together_are_refused(
    changes: dict[str, Any], sentence: str, tmp_path: Any
) -> None:
    with pytest.raises(UsageError) as refused:
        check_config(replace(SMALL, **changes), RunOptions(data=tmp_path, out=tmp_path))
    assert sentence in str(refused.value)
