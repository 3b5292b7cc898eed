"""Sample grids: rows of images in -1..1 as one image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

__all__ = ["grid_image"]


def grid_image(rows: Sequence[Sequence[Tensor]]) -> Image.Image:
    """Cells float [c, h, w] in -1..1 of one size, c 1 or 3, as an RGB image."""
    joined = [torch.cat([cell.expand(3, -1, -1) for cell in row], dim=-1) for row in rows]
    values = torch.cat(joined, dim=-2)
    pixels = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
