"""The conditions an export is tested on: real ones where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.errors import BadInputError
from cgan_runtime.pictures import SUFFIXES, read_picture, tensor_from_picture
from cgan_runtime.runners.base import Array

from cgan_export.gates import MIN_SAMPLES

__all__ = ["sample_conditions"]

MAX_PICTURES: Final = 16


def sample_conditions(contract: Contract, examples: Array | None, folder: Path | None) -> dict[str, Array]:
    """Every condition as [N, ...], N at least MIN_SAMPLES.

    Pictures come from `folder` if given, else from the checkpoint's `examples` (uint8 [M, C, H, W], cut to the
    contract's size before they were stored), else they are made up: smooth random fields, quantised to 8 bit.
    Labels run through all classes; raw tensors are seeded normals.

    Raises:
        BadInputError: `folder` holds no readable picture.
    """
    rng = np.random.default_rng(0)
    return {c.name: _values(c, examples, folder, rng) for c in contract.conditions}


def _values(condition: Condition, examples: Array | None, folder: Path | None, rng: np.random.Generator) -> Array:
    shape = tuple(axis for axis in condition.shape if isinstance(axis, int))
    if isinstance(condition.encoding, LabelEncoding):
        return np.arange(MIN_SAMPLES, dtype=np.int64) % max(len(condition.encoding.names), 1)
    if not isinstance(condition.encoding, ImageEncoding):
        return rng.standard_normal((MIN_SAMPLES, *shape)).astype(np.float32)
    if folder is not None:
        return _repeated(_from_folder(folder, condition))
    if examples is not None and examples.shape[1:] == shape:
        return _repeated(_scaled(examples, condition.encoding))
    return _scaled(_smooth_fields(shape, rng), condition.encoding)


def _from_folder(folder: Path, condition: Condition) -> Array:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not files:
        raise BadInputError(f"{folder} holds no picture ({', '.join(SUFFIXES)}).")
    return np.stack([tensor_from_picture(read_picture(p), condition) for p in files[:MAX_PICTURES]])


def _scaled(pixels: npt.NDArray[np.uint8], encoding: ImageEncoding) -> Array:
    mean, std = (np.asarray(v, dtype=np.float32)[:, None, None] for v in (encoding.mean, encoding.std))
    return ((pixels.astype(np.float32) / np.float32(255) - mean) / std).astype(np.float32)


def _smooth_fields(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    coarse = rng.uniform(0, 255, (MIN_SAMPLES, channels, 8, 8))
    rows, columns = (np.minimum(np.arange(n) * 8 // n, 7) for n in (height, width))
    return np.rint(coarse[:, :, rows][:, :, :, columns]).astype(np.uint8)


def _repeated(values: Array) -> Array:
    """At least MIN_SAMPLES rows: fewer conditions are used again, with other seeds."""
    return values[np.arange(max(len(values), MIN_SAMPLES)) % len(values)]
