"""The images of pairs that show what the figures mean: the worst, the best, and some between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from cgan_trainer.evaluation.base import Compared
from cgan_trainer.evaluation.judge import Exhibit, Gallery
from cgan_trainer.evaluation.sampling import generate_images
from cgan_trainer.generator import Generator
from cgan_trainer.seeding import spread_rows

__all__ = ["paired_gallery", "with_both_ends"]

_MAX_EXHIBITS, _SHOWN_SEEDS = 12, 3
# Grey levels of deviation that may be drawn white: few steps, so that pages can be compared.
_WHITES = (2, 4, 8, 16, 32, 64)


def paired_gallery(
    generator: Generator,
    conditions: Mapping[str, Tensor],
    rows: Sequence[int],
    compared: Compared,
    errors: Sequence[float],
    baseline: UInt8[Tensor, "m c h w"] | None,
    *,
    shown: UInt8[Tensor, "n c1 h w"],
    files: Sequence[str],
    seed: int,
    seeds: int,
) -> Gallery:
    """Up to 12 of the judged images, evenly spread from the largest L1 to the smallest, both included.

    Columns: condition, up to three seeds (the first was judged), target, spread over all seeds, lookup table.

    Args:
        generator: draws the seeds shown.
        conditions: the whole split, as `generate_images` takes it.
        rows: the rows of it that were judged, in the order of `compared`.
        compared: what was judged.
        errors: L1 in grey levels of each.
        baseline: the lookup table's images of the same rows.
        shown: the condition to show, of the whole split.
        files: names of the whole split.
        seed: of the evaluation.
        seeds: how many the spread is taken over.
    """
    ranked = sorted(range(len(rows)), key=lambda index: (-errors[index], index))
    places = with_both_ends(len(ranked), _MAX_EXHIBITS)
    drawn = generate_images(
        generator, conditions, [rows[ranked[place]] for place in places], seed=seed, seeds=seeds
    )
    deviations = [_deviation(samples) for samples in drawn]
    white = _white(deviations)
    exhibits = []
    for place, samples, deviation in zip(places, drawn, deviations, strict=True):
        index = ranked[place]
        images = [shown[rows[index]], *samples[:_SHOWN_SEEDS], compared.targets[index]]
        images += [] if seeds < 2 else [_bytes(deviation * (255 / white))]
        images += [] if baseline is None else [baseline[index]]
        caption = (f"L1 {errors[index]:.2f}", f"{_ordinal(place, len(rows))} of {len(rows)}")
        exhibits.append(Exhibit(caption=caption, images=tuple(images), file=files[rows[index]]))
    headings = ["condition", *(f"seed {number + 1}" for number in range(min(seeds, _SHOWN_SEEDS))), "target"]
    headings += [] if seeds < 2 else ["spread"]
    headings += [] if baseline is None else ["lookup table"]
    return Gallery(
        headings=tuple(headings),
        exhibits=tuple(exhibits),
        legend=_legend(len(exhibits), len(rows), seeds=seeds, white=white),
    )


def with_both_ends(count: int, most: int) -> list[int]:
    """Up to `most` (2 or more) places of 0 .. count-1, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [*spread_rows(count - 1, most - 1), count - 1]


def _legend(shown: int, count: int, *, seeds: int, white: int) -> str:
    which = "All" if shown == count else f"{shown} of the {count}"
    legend = f"{which} judged images, from the largest L1 to the smallest; seed 1 is the one judged."
    if seeds < 2:
        return legend
    return (
        f"{legend} Spread: per pixel the standard deviation over {seeds} seeds, black 0, white {white} grey levels "
        "or more."
    )


def _ordinal(place: int, count: int) -> str:
    """Where an image stands: "largest, 1", "no. 7", "smallest, 72"."""
    if place == 0:
        return "largest, 1"
    return f"smallest, {count}" if place == count - 1 else f"no. {place + 1}"


def _deviation(samples: UInt8[Tensor, "k c h w"]) -> Float64[Tensor, "1 h w"]:
    """Standard deviation over the seeds, mean over channels, in grey levels; 0 for one seed."""
    correction = 1 if len(samples) > 1 else 0
    return samples.double().std(dim=0, correction=correction).mean(dim=0, keepdim=True)


def _white(deviations: list[Float64[Tensor, "1 h w"]]) -> int:
    """The least step that at most one pixel in a hundred exceeds."""
    values = torch.stack(deviations).flatten().sort().values
    most = values[int(0.99 * (len(values) - 1))].item()
    return next((white for white in _WHITES if white >= most), _WHITES[-1])


def _bytes(values: Float64[Tensor, "1 h w"]) -> UInt8[Tensor, "1 h w"]:
    return values.round().clamp(0, 255).to(torch.uint8)
