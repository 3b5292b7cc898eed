"""What the two networks are asked to do.

    vanilla   D: 1/2 * (BCE(D(x, y), 1) + BCE(D(x, G(x)), 0))       G: BCE(D(x, G(x)), 1)
    lsgan     the same with squared differences in place of the cross-entropy, on bare logits
    wgangp    D: 1/2 * (mean D(x, G(x)) - mean D(x, y)) + gradient penalty      G: -mean D(x, G(x))

The objective of D is halved, so that it learns slower than G; G maximises log D and does not minimise log(1 - D).
G also gets lambda * L1(y, G(x)).

Source: Isola et al. 2017, equations 1 to 4 and section 3.3; Mao et al. 2017; Gulrajani et al. 2017, equation 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["GanMode", "gan_loss", "gradient_penalty", "l1_loss"]

GanMode = Literal["vanilla", "lsgan", "wgangp"]


def gan_loss(logits: Float[Tensor, "b 1 *patches"], *, real: bool, mode: GanMode = "vanilla") -> Float[Tensor, ""]:
    """Every logit against "all real" or "all generated", averaged. In `wgangp` it may be negative."""
    logits = logits.float()
    if mode == "wgangp":
        return -logits.mean() if real else logits.mean()
    target = torch.full_like(logits, float(real))
    if mode == "lsgan":
        return F.mse_loss(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target)


def l1_loss(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Mean absolute difference, in units of the -1..1 range (1 unit = 127.5 grey levels)."""
    return F.l1_loss(image.float(), target)


def gradient_penalty(
    judge: Callable[[Tensor], Tensor],
    real: Float[Tensor, "b c h w"],
    fake: Float[Tensor, "b c h w"],
    share: Float[Tensor, "b 1 1 1"],
) -> Float[Tensor, ""]:
    """``mean((|d judge(m) / d m|_2 - 1)^2)`` at ``m = share * real + (1 - share) * fake``, one norm per image.

    Args:
        judge: the critic, its condition already given; images to logits, averaged per image here.
        real: true images.
        fake: generated images; no gradient reaches their generator.
        share: uniform in 0..1, one per image.
    """
    mixed = (share * real + (1 - share) * fake.detach()).requires_grad_()
    scores = judge(mixed).float().mean(dim=(1, 2, 3)).sum()
    (slope,) = torch.autograd.grad(scores, mixed, create_graph=True)
    lengths: Tensor = slope.flatten(1).norm(dim=1)
    return (lengths - 1).square().mean()
