"""Pictures from a generator as a user gets them: dropout live, batch of one, 8 bits, one seed each."""

from __future__ import annotations

import torch
from cgan_runtime.errors import BadInputError, CganError
from cgan_runtime.progress import progress
from jaxtyping import Float, UInt8
from torch import Tensor

from cgan_trainer.generator import Generator, as_used
from cgan_trainer.seeding import derive_seed, to_float

__all__ = ["generate_images", "with_channels"]


def generate_images(
    generator: Generator,
    conditions: UInt8[Tensor, "n 3 h w"],
    rows: list[int],
    *,
    seed: int,
    seeds: int,
) -> UInt8[Tensor, "m k c h w"]:
    """`seeds` pictures for each of the m `rows` of `conditions`.

    Row i with seed number s always gets the same noise, whichever other rows and however many seeds are drawn.
    """
    channels = _condition_channels(generator)
    drawn: list[Tensor] = []
    with as_used(generator), progress("drawing pictures", unit="pictures") as report:
        for done, row in enumerate(rows):
            condition = to_float(with_channels(conditions[row : row + 1], channels))
            for number in range(seeds):
                torch.manual_seed(derive_seed(seed, f"evaluation/{number}", row))
                drawn.append(_to_pixels(generator.live([condition], 1)[0][0]))
                report(done * seeds + number + 1, len(rows) * seeds)
    return torch.stack(drawn).reshape(len(rows), seeds, *drawn[0].shape)


def with_channels(pixels: UInt8[Tensor, "n 3 h w"], channels: int) -> UInt8[Tensor, "n c h w"]:
    """RGB as it is, or as one channel of grey: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow's mode L)."""
    if channels == 3:
        return pixels
    weights = torch.tensor((0.299, 0.587, 0.114), dtype=torch.float64)
    return torch.einsum("c,nchw->nhw", weights, pixels.double()).round()[:, None].to(torch.uint8)


def _condition_channels(generator: Generator) -> int:
    conditions = generator.contract.conditions
    channels = conditions[0].shape[0] if len(conditions) == 1 and len(conditions[0].shape) == 3 else None
    if channels not in (1, 3):
        raise BadInputError(
            "this generator does not take one picture of 1 or 3 channels, and no other kind can be evaluated: name "
            "a run of `cgan-train pix2pix`."
        )
    return int(channels)


def _to_pixels(values: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    if not torch.isfinite(values).all():
        raise CganError(
            "the generator makes values that are not finite, so nothing can be measured: evaluate an earlier "
            "state (--weights best), or train again with a smaller --lr."
        )
    return ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
