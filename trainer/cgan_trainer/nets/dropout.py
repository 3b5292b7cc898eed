"""Dropout as a place where noise enters: drawn here in training, handed in when served."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["DropoutSite"]


class DropoutSite(nn.Module):
    """Multiplies by a mask of 0 and 1/(1-p).

    Args:
        p: the share of elements set to zero, 0 < p < 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(
        self, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b c h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """`mask` None draws one from torch's global random state, in `train()` and `eval()` alike.

        pix2pix keeps dropout on at test time: it is the generator's only noise. A mask of ones gives the
        expected image, the same as dropout switched off.
        """
        if mask is None:
            return F.dropout(x, self.p, training=True)
        return x * mask
