"""The pictures that show what the figures mean: the worst, the best, and some between."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Compared
from cgan_trainer.evaluation.pixel_error import PIXEL_ERROR
from cgan_trainer.evaluation.sampling import generate_images
from cgan_trainer.generator import Generator
from cgan_trainer.seeding import spread_rows

__all__ = ["Exhibit", "Gallery", "make_gallery"]

_MAX_EXHIBITS, _SHOWN_SEEDS = 12, 3
_WHITES = (
    2,
    4,
    8,
    16,
    32,
    64,
)  # grey levels of deviation that may be drawn white: few steps, so that pages compare


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One condition, what was made of it, and what it should be; 0..255.

    Attributes:
        file: its name in the split.
        rank: 1 for the largest L1 of all.
        l1: in grey levels.
        condition: as RGB.
        samples: one picture per seed; the first is the one that was judged.
        target: the truth.
        spread: standard deviation over the seeds, mean over channels; None for one seed.
        baseline: what the lookup table makes.
    """

    file: str
    rank: int
    l1: float
    condition: UInt8[Tensor, "3 h w"]
    samples: UInt8[Tensor, "k c h w"]
    target: UInt8[Tensor, "c h w"]
    spread: UInt8[Tensor, "1 h w"] | None
    baseline: UInt8[Tensor, "c h w"] | None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Exhibits from the worst to the best.

    Attributes:
        exhibits: some of the judged pictures.
        count: how many were judged.
        seeds: how many the spread is taken over.
        white: the deviation in grey levels that is drawn white.
    """

    exhibits: tuple[Exhibit, ...]
    count: int
    seeds: int
    white: int


def make_gallery(
    generator: Generator,
    conditions: UInt8[Tensor, "n 3 h w"],
    rows: list[int],
    compared: Compared,
    baseline: UInt8[Tensor, "m c h w"] | None,
    *,
    files: tuple[str, ...],
    seed: int,
    seeds: int,
) -> Gallery:
    """Up to 12 of the judged pictures, evenly spread from the largest L1 to the smallest, both included.

    Args:
        generator: draws the seeds shown.
        conditions: the whole split.
        rows: the rows of it that were judged, in the order of `compared`.
        compared: what was judged.
        baseline: the lookup table's pictures of the same rows.
        files: names of the whole split.
        seed: of the evaluation.
        seeds: how many the spread is taken over.
    """
    figures = PIXEL_ERROR.function(compared)
    assert figures is not None  # noqa: S101 - pixel error can always be measured
    errors = figures[0].each
    ranked = sorted(range(len(rows)), key=lambda index: (-errors[index], index))
    shown = _with_both_ends(len(ranked))
    drawn = generate_images(generator, conditions, [rows[ranked[place]] for place in shown], seed=seed, seeds=seeds)
    deviations = [_deviation(samples) for samples in drawn]
    white = _white(deviations)
    exhibits = []
    for place, samples, deviation in zip(shown, drawn, deviations, strict=True):
        index = ranked[place]
        exhibits.append(
            Exhibit(
                file=files[rows[index]],
                rank=place + 1,
                l1=errors[index],
                condition=conditions[rows[index]],
                samples=samples[:_SHOWN_SEEDS],
                target=compared.targets[index],
                spread=None if seeds < 2 else _bytes(deviation * (255 / white)),
                baseline=None if baseline is None else baseline[index],
            )
        )
    return Gallery(exhibits=tuple(exhibits), count=len(rows), seeds=seeds, white=white)


def _with_both_ends(count: int) -> list[int]:
    if count <= _MAX_EXHIBITS:
        return list(range(count))
    return [*spread_rows(count - 1, _MAX_EXHIBITS - 1), count - 1]


def _deviation(samples: UInt8[Tensor, "k c h w"]) -> Float64[Tensor, "1 h w"]:
    """Over the seeds, mean over channels, grey levels; 0 for one seed."""
    correction = 1 if len(samples) > 1 else 0
    return samples.double().std(dim=0, correction=correction).mean(dim=0, keepdim=True)


def _white(deviations: list[Float64[Tensor, "1 h w"]]) -> int:
    """The least step that at most one pixel in a hundred exceeds."""
    values = torch.stack(deviations).flatten().sort().values
    most = values[int(0.99 * (len(values) - 1))].item()
    return next((white for white in _WHITES if white >= most), _WHITES[-1])


def _bytes(values: Float64[Tensor, "1 h w"]) -> UInt8[Tensor, "1 h w"]:
    return values.round().clamp(0, 255).to(torch.uint8)
