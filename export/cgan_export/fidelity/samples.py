"""The conditions an export is tested on: real ones where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.pictures import SUFFIXES, read_picture, resized, tensor_from_picture
from cgan_runtime.runners.base import Array

from cgan_export.fidelity.gates import MIN_SAMPLES

__all__ = ["calibration_conditions", "sample_conditions"]

MAX_PICTURES: Final = 16
MAX_CALIBRATION: Final = 32


def sample_conditions(contract: Contract, examples: Array | None, folder: Path | None) -> dict[str, Array]:
    """Every condition as [N, ...], N at least MIN_SAMPLES.

    Pictures come from `folder` if given, else from the checkpoint's `examples` (uint8 [M, C, H, W], resampled
    where the contract has another size), else they are made up: smooth random fields, quantised to 8 bit.
    Labels run through all classes; raw tensors are seeded normals.

    Raises:
        BadInputError: `folder` holds no readable picture.
    """
    rng = np.random.default_rng(0)
    return {c.name: _values(c, examples, folder, rng) for c in contract.conditions}


def calibration_conditions(contract: Contract, folder: Path | None, samples: dict[str, Array]) -> dict[str, Array]:
    """Every condition as [M, ...] from a folder of pictures, M at most MAX_CALIBRATION; nothing without one.

    The pictures get the size of `samples`; conditions that are no pictures are those of `samples`.

    Raises:
        UsageError: the generator takes no picture.
        BadInputError: `folder` holds no readable picture.
    """
    if folder is None:
        return {}
    image = contract.image_condition
    if image is None:
        raise UsageError("--calibrate names pictures, but this generator takes none.")
    fixed = image.model_copy(update={"shape": samples[image.name].shape[1:]})
    pictures = _from_folder(folder, fixed, MAX_CALIBRATION)
    rows = np.arange(len(pictures)) % len(samples[image.name])
    return {name: pictures if name == image.name else value[rows] for name, value in samples.items()}


def _values(condition: Condition, examples: Array | None, folder: Path | None, rng: np.random.Generator) -> Array:
    shape = tuple(axis for axis in condition.shape if isinstance(axis, int))
    if isinstance(condition.encoding, LabelEncoding):
        return np.arange(MIN_SAMPLES, dtype=np.int64) % max(len(condition.encoding.names), 1)
    if not isinstance(condition.encoding, ImageEncoding):
        return rng.standard_normal((MIN_SAMPLES, *shape)).astype(np.float32)
    if folder is not None:
        return _repeated(_from_folder(folder, condition))
    if examples is not None and examples.ndim == 4 and examples.shape[1] == shape[0]:
        return _repeated(_scaled(_resampled(examples, shape[1:], condition.encoding), condition.encoding))
    return _scaled(_smooth_fields(shape, rng), condition.encoding)


def _from_folder(folder: Path, condition: Condition, most: int = MAX_PICTURES) -> Array:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not files:
        raise BadInputError(f"{folder} holds no picture ({', '.join(SUFFIXES)}).")
    return np.stack([tensor_from_picture(read_picture(p), condition) for p in files[:most]])


def _resampled(examples: Array, size: tuple[int, ...], encoding: ImageEncoding) -> npt.NDArray[np.uint8]:
    """Pictures uint8 [M, C, H, W] at another size (height, width)."""
    if examples.shape[2:] == size:
        return examples
    from PIL import Image

    pictures = (Image.fromarray(e[0] if len(e) == 1 else e.transpose(1, 2, 0)) for e in examples)
    scaled = [np.asarray(resized(picture, (size[1], size[0]), encoding.filter)) for picture in pictures]
    return np.stack([p[None] if p.ndim == 2 else p.transpose(2, 0, 1) for p in scaled])


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
