"""How a generator is judged while it trains: as it will be used, on pictures it has not seen."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from cgan_trainer.evaluation.sampling import as_used, spread_rows
from cgan_trainer.generator import Generator, device_of
from cgan_trainer.losses import l1_loss
from cgan_trainer.seeding import derive_seed, to_float

__all__ = ["MAX_VALIDATION", "as_used", "sample_grid", "spread_rows", "validation_l1"]

MAX_VALIDATION = 64  # enough for a steady figure, few enough to be quick
_GRID_ROWS, _GRID_SEEDS = 4, 3


def validation_l1(
    generator: Generator, conditions: UInt8[Tensor, "n c h w"], targets: UInt8[Tensor, "n c h w"], seed: int
) -> float:
    """Mean L1 over at most 64 pairs, in units of the -1..1 range; picture i always gets the same noise."""
    rows = spread_rows(len(conditions), MAX_VALIDATION)
    total = 0.0
    with as_used(generator):
        for row in rows:
            torch.manual_seed(derive_seed(seed, "validation", row))
            (picture,) = generator.live([to_float(conditions[row : row + 1]).to(device_of(generator))], 1)
            total += l1_loss(picture.cpu(), to_float(targets[row : row + 1])).item()
    return total / len(rows)


def sample_grid(
    generator: Generator, conditions: UInt8[Tensor, "n c h w"], targets: UInt8[Tensor, "n c h w"], seed: int
) -> Image.Image:
    """Rows: four fixed pairs. Columns: condition, three seeds, target."""
    rows = []
    with as_used(generator):
        for row in spread_rows(len(conditions), _GRID_ROWS):
            condition = to_float(conditions[row])
            shown = [condition]
            for number in range(_GRID_SEEDS):
                torch.manual_seed(derive_seed(seed, "samples", number))
                shown.append(generator.live([condition[None].to(device_of(generator))], 1)[0][0].cpu())
            shown.append(to_float(targets[row]))
            rows.append(torch.cat([values.expand(3, -1, -1) for values in shown], dim=-1))
    return _to_picture(torch.cat(rows, dim=-2))


def _to_picture(values: Float[Tensor, "3 h w"]) -> Image.Image:
    pixels = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
