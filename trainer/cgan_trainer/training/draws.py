"""Every random draw of a run, each from (seed, purpose, number): none depends on what was drawn before.

That is what makes a resumed run equal an unbroken one: image n gets its place in the order, its crop and its
dropout masks from n alone.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["derive", "jitter", "row_at", "to_float"]


def derive(seed: int, purpose: str, number: int = 0) -> int:
    """A 63-bit seed for one purpose; different arguments give unrelated streams."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()[:8]) >> 1


def row_at(seed: int, position: int, count: int) -> int:
    """Which of `count` training pairs is image number `position`: every epoch is a fresh permutation."""
    epoch, offset = divmod(position, count)
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    return int(torch.randperm(count, generator=generator)[offset])


def to_float(pixels: UInt8[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
    """0..255 to -1..1, as the contract's encoding says: (pixel / 255 - 0.5) / 0.5."""
    return pixels.to(torch.float32) / 127.5 - 1


def jitter(
    a: Float[Tensor, "c h w"], b: Float[Tensor, "c h w"], seed: int, position: int
) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c h w"]]:
    """Enlarge by 286/256 (bicubic), cut a random square of the old size, mirror with probability 1/2.

    Source: Isola et al. 2017, section 6.2. Both halves get the same cut and mirror.
    """
    side = a.shape[-1]
    large = round(side * 286 / 256)
    generator = torch.Generator().manual_seed(derive(seed, "jitter", position))
    top, left, mirrored = (
        int(torch.randint(bound, (1,), generator=generator)) for bound in (large - side + 1, large - side + 1, 2)
    )
    pair = F.interpolate(torch.stack((a, b)), size=(large, large), mode="bicubic", align_corners=False)
    pair = pair[..., top : top + side, left : left + side].clamp(-1, 1)  # bicubic overshoots at edges
    pair = pair.flip(-1) if mirrored else pair
    return pair[0], pair[1]
