"""golden/grid.png: what a generator makes, at a glance.

Rows are samples of the conditions, classes where there is a label, or just more seeds where there is no condition.
Columns are the condition images, then for every output that can be looked at one column per seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Contract, ImageEncoding, LabelEncoding
from cgan_runtime.images import png_bytes
from cgan_runtime.runners.base import Array

from cgan_export.export import Exported
from cgan_export.fidelity.heatmap import as_rgb, condition_pixels, has_pixels, output_pixels

__all__ = ["grid_caption", "image_grid"]

SAMPLE_ROWS: Final = 4
SAMPLE_SEEDS: Final = 3
CLASS_ROWS: Final = 16
CLASS_SEEDS: Final = 8
GAP: Final = 4

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class _Row:
    conditions: dict[str, Array]
    seeds: tuple[int, ...]


def grid_caption(contract: Contract) -> str:
    """What rows and columns are."""
    if not contract.conditions:
        return f"one sample for each of the seeds 1 to {SAMPLE_ROWS * CLASS_SEEDS}"
    label = _label_name(contract)
    if label is not None:
        return f"each row a class of {label}, each column one of the seeds 1 to {CLASS_SEEDS}"
    made = f"the seeds 1 to {SAMPLE_SEEDS}" if contract.noise else "what is made of it"
    return f"each row a sample: its condition, then {made}"


def image_grid(exported: Exported) -> bytes:
    """The grid as a PNG. There must be an output that has pixels."""
    rows = [_joined(_tiles(exported, row), axis=1) for row in _rows(exported)]
    return png_bytes(_joined(rows, axis=0))


def _rows(exported: Exported) -> list[_Row]:
    samples = exported.samples
    if not samples:
        starts = range(1, 1 + SAMPLE_ROWS * CLASS_SEEDS, CLASS_SEEDS)
        return [_Row(conditions={}, seeds=tuple(range(start, start + CLASS_SEEDS))) for start in starts]
    label = _label_name(exported.contract)
    if label is None:
        chosen = np.arange(min(SAMPLE_ROWS, len(next(iter(samples.values())))))
        seeds = SAMPLE_SEEDS if exported.contract.noise else 1  # without noise every seed gives the same
    else:
        _, first = np.unique(samples[label], return_index=True)
        chosen, seeds = first[:CLASS_ROWS], CLASS_SEEDS
    return [
        _Row(
            conditions={name: value[i : i + 1] for name, value in samples.items()}, seeds=tuple(range(1, 1 + seeds))
        )
        for i in chosen
    ]


def _tiles(exported: Exported, row: _Row) -> list[Pixels]:
    contract = exported.contract
    tiles = [
        as_rgb(condition_pixels(row.conditions[c.name][0], c.encoding))
        for c in contract.conditions
        if isinstance(c.encoding, ImageEncoding)
    ]
    results = [exported.generator.generate(row.conditions, [seed], [0]) for seed in row.seeds]
    for output in contract.outputs:
        if has_pixels(output):
            tiles += [as_rgb(output_pixels(result[output.name][0], output)) for result in results]
    return tiles


def _label_name(contract: Contract) -> str | None:
    return next((c.name for c in contract.conditions if isinstance(c.encoding, LabelEncoding)), None)


def _joined(tiles: list[Pixels], axis: int) -> Pixels:
    """Tiles side by side (axis 1) or below each other (axis 0) with a white gap, cut to the smallest."""
    across = 1 - axis
    side = min(tile.shape[across] for tile in tiles)
    pieces = []
    for tile in tiles:
        cut = tile[:side] if across == 0 else tile[:, :side]
        gap_shape = (GAP, side, 3) if axis == 0 else (side, GAP, 3)
        pieces += [cut, np.full(gap_shape, 255, dtype=np.uint8)]
    return np.concatenate(pieces[:-1], axis=axis)
