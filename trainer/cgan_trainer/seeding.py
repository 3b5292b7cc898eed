"""Every random draw of a run, each from (seed, purpose, number): none depends on what was drawn before.

That is what makes a resumed run equal an unbroken one: image n gets its place in the order, its crop and its
dropout masks from n alone.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["augment", "derive_seed", "draw_masks", "draw_noise", "row_at", "spread_rows", "to_float"]


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A 63-bit seed for one purpose; different arguments give unrelated streams."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()[:8]) >> 1


def row_at(seed: int, position: int, count: int) -> int:
    """Which of `count` training pairs is image number `position`: every epoch is a fresh permutation."""
    epoch, offset = divmod(position, count)
    return _order(seed, epoch, count)[offset]


def spread_rows(count: int, wanted: int) -> list[int]:
    """At most `wanted` row numbers, evenly spread over `count`."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]


def to_float(pixels: UInt8[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
    """0..255 to -1..1, as the contract's encoding says: (pixel / 255 - 0.5) / 0.5."""
    return pixels.to(torch.float32) / 127.5 - 1


def augment(
    sides: Sequence[Float[Tensor, "c h w"]],
    smooth: Sequence[bool],
    seed: int,
    position: int,
    *,
    jitter: bool,
    mirror: bool,
) -> list[Float[Tensor, "c h w"]]:
    """Enlarge by 286/256, cut a random square of the old size, mirror with probability 1/2: all sides alike.

    Source: Isola et al. 2017, section 6.2.

    Args:
        sides: of one pair, of one size.
        smooth: whether a side is enlarged bicubically; a label map is not, its colours are its classes.
        seed: of the run.
        position: number of the image in the run.
        jitter: enlarge and cut.
        mirror: mirror.
    """
    side = sides[0].shape[-1]
    large = round(side * 286 / 256)
    generator = torch.Generator().manual_seed(derive_seed(seed, "jitter", position))
    top, left, mirrored = (
        int(torch.randint(bound, (1,), generator=generator)) for bound in (large - side + 1, large - side + 1, 2)
    )
    results = []
    for values, bicubic in zip(sides, smooth, strict=True):
        result = values
        if jitter:
            result = _cut(result, large, top, left, bicubic=bicubic)
        results.append(result.flip(-1) if mirror and mirrored else result)
    return results


def draw_masks(
    shapes: Sequence[tuple[int, ...]], p: Sequence[float], seed: int, positions: range
) -> list[Float[Tensor, "b c h w"]]:
    """One mask of 0 and 1/(1-p) per dropout site, drawn for each image on its own, on the CPU.

    So an image has the same noise in whatever batch, part of a batch, process or device it is trained.
    """
    rows = []
    for position in positions:
        generator = torch.Generator().manual_seed(derive_seed(seed, "dropout", position))
        rows.append(
            [
                torch.empty(shape).bernoulli_(1 - share, generator=generator).div_(1 - share)
                for shape, share in zip(shapes, p, strict=True)
            ]
        )
    return [torch.stack(site) for site in zip(*rows, strict=True)]


def draw_noise(
    distribution: Literal["normal", "uniform01", "mask"],
    shape: tuple[int, ...],
    seed: int,
    purpose: str,
    positions: Iterable[int],
    *,
    p: float = 0.5,
) -> Float[Tensor, "b ..."]:
    """Noise [b, *shape], float32, drawn for each position on its own, on the CPU.

    Args:
        distribution: N(0, 1); uniform in 0..1; or 0 with probability `p` and 1/(1-p) otherwise.
        shape: of one position.
        seed: of the run.
        purpose: what it is for: different purposes ("z/D", "z/G") give unrelated noise.
        positions: numbers of the images.
        p: of a mask, 0 <= p < 1.
    """
    rows = []
    for position in positions:
        generator = torch.Generator().manual_seed(derive_seed(seed, purpose, position))
        match distribution:
            case "normal":
                rows.append(torch.randn(shape, generator=generator))
            case "uniform01":
                rows.append(torch.rand(shape, generator=generator))
            case "mask":
                rows.append(torch.empty(shape).bernoulli_(1 - p, generator=generator).div_(1 - p))
    return torch.stack(rows)


@functools.lru_cache(maxsize=2)  # a batch may lie in two epochs
def _order(seed: int, epoch: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order


def _cut(
    values: Float[Tensor, "c h w"], large: int, top: int, left: int, *, bicubic: bool
) -> Float[Tensor, "c h w"]:
    """The square of the old size at (top, left) of the image enlarged to `large`."""
    side = values.shape[-1]
    if not bicubic:
        enlarged = F.interpolate(values[None], size=(large, large), mode="nearest-exact")[0]
        return enlarged[..., top : top + side, left : left + side]
    # Only the square is computed, as two products: a third of the time F.interpolate takes for the whole.
    shares = _shares(side, large, values.device)
    rows, columns = shares[top : top + side], shares[left : left + side]
    return (rows @ values @ columns.T).clamp_(-1, 1)  # bicubic overshoots at edges


@functools.lru_cache(maxsize=2)
def _shares(side: int, large: int, device: torch.device) -> Float[Tensor, "large side"]:
    """What each old row has in each new one: torch's own bicubic weights, read off the unit matrix."""
    unit = torch.eye(side)[None, None]
    return F.interpolate(unit, size=(large, side), mode="bicubic", align_corners=False)[0, 0].to(device)
