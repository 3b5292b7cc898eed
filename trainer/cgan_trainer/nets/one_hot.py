"""From the colours of a label map to one channel per class, inside the network.

So a label map stays an image to everyone outside: files, servers and clients send RGB, and the class of a pixel
is the one whose colour is nearest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["OneHot"]


class OneHot(nn.Module):
    """[b, 3, h, w] in -1..1 to [b, k, h, w] of 0 and 1. No gradient passes.

    Args:
        colors: RGB 0..255 of each of the k classes.
    """

    colors: Tensor

    def __init__(self, colors: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        values = torch.tensor(colors, dtype=torch.float32) / 127.5 - 1
        self.register_buffer("colors", values[:, :, None, None])

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """1 in the channel of the nearest colour (of equals the first), 0 elsewhere."""
        # Differences, not products: at a class's own colour the distance is exactly 0, in half precision too.
        distance = (x[:, None] - self.colors).square().sum(dim=2)
        nearest = distance.argmin(dim=1, keepdim=True)
        classes = torch.arange(len(self.colors), device=x.device)[:, None, None]
        return (nearest == classes).to(x.dtype)
