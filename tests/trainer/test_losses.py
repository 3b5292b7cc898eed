from __future__ import annotations

import math

import pytest
import torch
from cgan_trainer.data.pairs import Domains
from cgan_trainer.errors import TrainerError
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.pix2pix import Pix2pixTrainer

SMALL = Pix2pixConfig(size=64, ngf=4, ndf=4)


def test_an_undecided_discriminator_costs_log_two() -> None:
    assert gan_loss(torch.zeros(1, 1, 5, 5), real=True).item() == pytest.approx(math.log(2))
    assert gan_loss(torch.zeros(1, 1, 5, 5), real=False).item() == pytest.approx(math.log(2))


def test_positive_logits_mean_real() -> None:
    sure = torch.full((1, 1, 5, 5), 9.0)
    assert gan_loss(sure, real=True).item() == pytest.approx(0, abs=1e-3)
    assert gan_loss(sure, real=False).item() == pytest.approx(9, abs=1e-3)


def test_l1_is_the_mean_distance() -> None:
    assert l1_loss(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)).item() == pytest.approx(0.5)


def test_the_discriminator_objective_is_halved_and_the_l1_weighted() -> None:
    trainer = Pix2pixTrainer(SMALL, Domains(name="x"))
    condition = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.manual_seed(0)
        picture = trainer.generator(condition)
    d = trainer.discriminator
    loss = (gan_loss(d(condition, picture), real=False) + gan_loss(d(condition, -condition), real=True)) / 2
    expected = torch.autograd.grad(loss, list(d.parameters()))
    torch.manual_seed(0)
    losses = trainer.step(condition, -condition, 2e-4)
    assert losses["G_L1"] == pytest.approx(100 * l1_loss(picture, -condition).item(), rel=1e-5)
    first = trainer.optimizer_d.state_dict()["state"]
    for index, gradient in enumerate(expected):
        # Adam's first moment after one step is (1 - beta1) * gradient, beta1 = 0.5
        torch.testing.assert_close(first[index]["exp_avg"], gradient / 2, rtol=1e-4, atol=1e-7)


def test_steps_bring_the_picture_nearer_to_the_target() -> None:
    trainer = Pix2pixTrainer(SMALL, Domains(name="x"))
    condition = torch.rand(1, 3, 64, 64) * 2 - 1
    history = []
    for _ in range(60):
        torch.manual_seed(0)
        history.append(trainer.step(condition, condition.flip(1), 2e-3)["G_L1"])
    assert history[-1] < history[0] * 0.9


def test_a_loss_that_is_not_finite_stops_before_the_weights_change() -> None:
    trainer = Pix2pixTrainer(SMALL, Domains(name="x"))
    before = {name: tensor.clone() for name, tensor in trainer.discriminator.named_parameters()}
    with pytest.raises(TrainerError, match="no longer a finite number"):
        trainer.step(torch.full((1, 3, 64, 64), math.nan), torch.zeros(1, 3, 64, 64), 2e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.discriminator.named_parameters())
