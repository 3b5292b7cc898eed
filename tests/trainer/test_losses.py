from __future__ import annotations

import math

import pytest
import torch
from cgan_trainer.losses import gan_loss, gradient_penalty, l1_loss


def test_an_undecided_discriminator_costs_log_two() -> None:
    assert gan_loss(torch.zeros(1, 1, 5, 5), real=True).item() == pytest.approx(math.log(2))
    assert gan_loss(torch.zeros(1, 1, 5, 5), real=False).item() == pytest.approx(math.log(2))


def test_positive_logits_mean_real() -> None:
    sure = torch.full((1, 1, 5, 5), 9.0)
    assert gan_loss(sure, real=True).item() == pytest.approx(0, abs=1e-3)
    assert gan_loss(sure, real=False).item() == pytest.approx(9, abs=1e-3)


def test_the_generator_maximises_log_d_and_does_not_saturate() -> None:
    # Where D is sure of a fake, -log D still has a slope of nearly 1, while log(1 - D) would have nearly none.
    logits = torch.full((1, 1, 1, 1), -9.0, requires_grad=True)
    (slope,) = torch.autograd.grad(gan_loss(logits, real=True), logits)
    assert slope.item() == pytest.approx(-1, abs=1e-3)


def test_least_squares_is_the_squared_distance_of_the_logit() -> None:
    logits = torch.tensor([[[[0.25, -1.0]]]])
    assert gan_loss(logits, real=True, mode="lsgan").item() == pytest.approx((0.75**2 + 2**2) / 2)
    assert gan_loss(logits, real=False, mode="lsgan").item() == pytest.approx((0.25**2 + 1) / 2)


def test_wasserstein_is_the_mean_logit() -> None:
    logits = torch.tensor([[[[0.5, 1.5]]]])
    assert gan_loss(logits, real=True, mode="wgangp").item() == -1
    assert gan_loss(logits, real=False, mode="wgangp").item() == 1


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    weights = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    real, fake = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def judge(images: torch.Tensor) -> torch.Tensor:
        return (images * weights).sum(dim=(1, 2, 3), keepdim=True)

    penalty = gradient_penalty(judge, real, fake, torch.rand(4, 1, 1, 1))
    assert penalty.item() == pytest.approx((weights.norm().item() - 1) ** 2, rel=1e-5)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    real, fake = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, requires_grad=True)
    at: list[torch.Tensor] = []

    def judge(images: torch.Tensor) -> torch.Tensor:
        at.append(images)
        return images.square().sum(dim=(1, 2, 3), keepdim=True)

    share = torch.full((1, 1, 1, 1), 0.25)
    penalty = gradient_penalty(judge, real, fake, share)
    assert torch.equal(at[0], torch.full((1, 1, 2, 2), 0.25))
    assert penalty.item() == pytest.approx((math.sqrt(4 * 0.5**2) - 1) ** 2)
    penalty.backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
    assert fake.grad is None


def test_l1_is_the_mean_distance() -> None:
    assert l1_loss(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)).item() == pytest.approx(0.5)
