"""Made-up images on which inaccurate arithmetic shows: flat, drawn, labelled and noise ones.

Sums over many equal values have rounding errors of one sign; photographs and random fields do not show them. So an
artifact is compared with PyTorch on these too, whatever images it was made for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Condition, Contract, ImageEncoding
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.case import Case
from cgan_export.fidelity.samples import tensor_of_pixels

__all__ = ["PROBES", "probe_conditions", "undefined_on"]

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]


def _flat(rng: np.random.Generator, size: Size) -> Pixels:
    return np.broadcast_to(rng.integers(1, 255, (1, 1, 3)), (*size, 3)).astype(np.uint8)


def _lines(rng: np.random.Generator, size: Size) -> Pixels:
    """Thin black strokes on white."""
    pixels = np.full((*size, 3), 255, dtype=np.uint8)
    steps = np.linspace(0, 1, 2 * max(size))
    for _ in range(12):
        ends = rng.uniform(0, 1, (2, 2)) * (np.array(size) - 1)
        rows, columns = np.rint(ends[0] + steps[:, None] * (ends[1] - ends[0])).astype(int).T
        pixels[rows, columns] = 0
    return pixels


def _labels(rng: np.random.Generator, size: Size) -> Pixels:
    """Rectangles of a few strong colours over each other, like a label map."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    for _ in range(12):
        top, left = (int(rng.integers(side)) for side in size)
        height, width = (int(rng.integers(max(1, side // 8), side // 2 + 2)) for side in size)
        pixels[top : top + height, left : left + width] = rng.choice([0, 85, 170, 255], 3)
    return pixels


def _noise(rng: np.random.Generator, size: Size) -> Pixels:
    return rng.integers(0, 256, (*size, 3)).astype(np.uint8)


# By the name that a sentence has for such images.
PROBES: Final[dict[str, Callable[[np.random.Generator, Size], Pixels]]] = {
    "one-coloured images": _flat,
    "line drawings": _lines,
    "label maps": _labels,
    "noise": _noise,
}


def probe_conditions(contract: Contract, samples: Tensors) -> dict[str, Tensors]:
    """By the names of PROBES, every condition as [1, ...]; nothing for a generator that is given no image.

    Args:
        contract: its first image condition gets an image of the kind, each further one an image of the next kind.
        samples: every condition [N, ...]: gives the sizes, and the values of conditions that are no images.
    """
    images = [c for c in contract.conditions if isinstance(c.encoding, ImageEncoding)]
    if not images:
        return {}
    kinds = list(PROBES)
    probes: dict[str, Tensors] = {}
    for row, kind in enumerate(kinds):
        values = {name: value[[row % len(value)]] for name, value in samples.items()}
        for shift, condition in enumerate(images):
            made = PROBES[kinds[(row + shift) % len(kinds)]]
            values[condition.name] = _image(condition, made, samples[condition.name].shape[1:])
        probes[kind] = values
    return probes


def _image(
    condition: Condition, make: Callable[[np.random.Generator, Size], Pixels], shape: tuple[int, ...]
) -> Array:
    assert isinstance(condition.encoding, ImageEncoding)  # noqa: S101 - asked of image conditions only
    channels, height, width = shape
    pixels = make(np.random.default_rng(0), (height, width)).transpose(2, 0, 1)
    return tensor_of_pixels(pixels[None, np.arange(channels) % len(pixels)], condition.encoding)


def undefined_on(case: Case) -> tuple[str, ...]:
    """Where the function is lost in rounding (`Case.compared`), in words: kinds of PROBES, then samples.

    For example ("one-coloured images", "2 of the 8 samples checked").
    """
    lost = case.compared().defined.count(False)
    return (
        *(name for name in case.probes if not case.on_probe(name).compared().defined[0]),
        *([f"{lost} of the {case.count} samples checked"] if lost else []),
    )
