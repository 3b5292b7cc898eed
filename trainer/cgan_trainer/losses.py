"""What the two networks are asked to do: vanilla GAN on logits, plus lambda times L1.

    D:  1/2 * (BCE(D(x, y), 1) + BCE(D(x, G(x)), 0))      halved, so that D learns slower than G
    G:  BCE(D(x, G(x)), 1) + lambda * |y - G(x)|          non-saturating: G maximises log D

Source: Isola et al. 2017, equations 1 to 4 and section 3.3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["gan_loss", "l1_loss"]


def gan_loss(logits: Float[Tensor, "b 1 h w"], *, real: bool) -> Float[Tensor, ""]:
    """Binary cross-entropy of every patch against "all real" or "all generated", averaged."""
    target = torch.ones_like(logits) if real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)


def l1_loss(picture: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Mean absolute difference, in units of the -1..1 range (1 unit = 127.5 grey levels)."""
    return F.l1_loss(picture, target)
