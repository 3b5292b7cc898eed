"""The conditions an export is tested on: real ones where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.image_bytes import tensors_from_bytes
from cgan_runtime.image_formats import READ_WORDS, list_images
from cgan_runtime.images import read_image, resized, tensor_from_image
from cgan_runtime.runners.base import Array

from cgan_export.fidelity.case import MIN_SAMPLES

__all__ = ["calibration_conditions", "sample_conditions", "tensor_of_pixels"]

MAX_IMAGES: Final = 16
MAX_CALIBRATION: Final = 32
MAX_CLASSES: Final = 64


def sample_conditions(
    contract: Contract, examples: Mapping[str, Array] | Array | None, folder: Path | None
) -> dict[str, Array]:
    """Every condition as [N, ...], the same N of at least MIN_SAMPLES; nothing where there are no conditions.

    Images come from `folder` if given, else from `examples`, else they are made up: smooth random fields,
    quantised to 8 bit. Labels come from `examples`, else they run through all classes (MAX_CLASSES of them,
    evenly spaced, where there are more). Vectors come from `examples`, else they are seeded: uniform over their
    range, or normal without one. Where conditions have different counts, the shorter ones are used again.

    Args:
        contract: with fixed sizes.
        examples: by condition name: images uint8 [M, C, H, W], resampled where the contract has another size;
            labels int64 [M]; vectors float32 [M, ...]. An array alone belongs to the first image condition.
        folder: images. With several image conditions either it has one folder for each, of its name, or all
            take the same images, each one shifted by one more.

    Raises:
        BadInputError: `folder` holds no readable image.
    """
    if examples is not None and not isinstance(examples, Mapping):
        image = contract.image_condition
        examples = {} if image is None else {image.name: examples}
    images = _images(contract, folder, MAX_IMAGES) if folder is not None else {}
    rng = np.random.default_rng(0)
    values = {}
    for number, condition in enumerate(contract.conditions):
        if condition.name in images:
            values[condition.name] = images[condition.name]
        else:
            values[condition.name] = _values(condition, (examples or {}).get(condition.name), number, rng)
    count = max(MIN_SAMPLES, *(len(value) for value in values.values()), 0)
    return {name: value[np.arange(count) % len(value)] for name, value in values.items()}


def calibration_conditions(contract: Contract, folder: Path | None, samples: dict[str, Array]) -> dict[str, Array]:
    """Every condition as [M, ...] from a folder of images, M at most MAX_CALIBRATION; nothing without one.

    The images get the size of `samples`; conditions that are no images are those of `samples`.

    Raises:
        UsageError: the generator takes no image.
        BadInputError: `folder` holds no readable image.
    """
    if folder is None:
        return {}
    if contract.image_condition is None:
        raise UsageError("--calibrate names images, but this generator takes none: leave it out.")
    fixed = tuple(c.model_copy(update={"shape": samples[c.name].shape[1:]}) for c in contract.conditions)
    images = _images(contract.model_copy(update={"conditions": fixed, "sides": None}), folder, MAX_CALIBRATION)
    rows = np.arange(max(len(value) for value in images.values()))
    values = {**samples, **images}
    return {name: value[rows % len(value)] for name, value in values.items()}


def _values(condition: Condition, examples: Array | None, number: int, rng: np.random.Generator) -> Array:
    """Values [M, ...] of condition `number` of the contract, without a folder of images."""
    shape = tuple(axis for axis in condition.shape if isinstance(axis, int))
    if isinstance(condition.encoding, ImageEncoding):
        if examples is not None and examples.ndim == 4 and examples.shape[1] == shape[0]:
            return tensor_of_pixels(_resampled(examples, shape[1:], condition.encoding), condition.encoding)
        return tensor_of_pixels(_smooth_fields(shape, rng), condition.encoding)
    if examples is not None and examples.shape[1:] == shape and len(examples):
        return examples.astype(condition.dtype)
    if isinstance(condition.encoding, LabelEncoding):
        return _labels((condition.last_class or 0) + 1, number)
    if condition.range is not None:
        return rng.uniform(*condition.range, (MIN_SAMPLES, *shape)).astype(condition.dtype)
    return rng.standard_normal((MIN_SAMPLES, *shape)).astype(condition.dtype)


def _labels(count: int, shift: int) -> Array:
    """All classes, beginning with class `shift`, so that two label conditions do not always have equal classes."""
    classes = np.linspace(0, count - 1, min(count, MAX_CLASSES)).round().astype(np.int64)
    return np.roll(classes, -shift)


def _images(contract: Contract, folder: Path, most: int) -> dict[str, Array]:
    """Every image condition [M, C, H, W] from a folder."""
    images = [c for c in contract.conditions if isinstance(c.encoding, ImageEncoding)]
    if len(images) > 1 and all((folder / c.name).is_dir() for c in images):
        return {c.name: _from_folder(folder / c.name, c, most) for c in images}
    return {c.name: np.roll(_from_folder(folder, c, most), -shift, axis=0) for shift, c in enumerate(images)}


def _from_folder(folder: Path, condition: Condition, most: int) -> Array:
    files = list_images(folder)
    if not files:
        raise BadInputError(f"{folder} holds no image ({READ_WORDS}): name a folder that does.")
    return np.stack([tensor_from_image(read_image(p), condition) for p in files[:most]])


def _resampled(examples: Array, size: tuple[int, ...], encoding: ImageEncoding) -> npt.NDArray[np.uint8]:
    """Images uint8 [M, C, H, W] at another size (height, width)."""
    if examples.shape[2:] == size:
        return examples
    from PIL import Image

    images = (Image.fromarray(e[0] if len(e) == 1 else e.transpose(1, 2, 0)) for e in examples)
    scaled = [np.asarray(resized(image, (size[1], size[0]), encoding.filter)) for image in images]
    return np.stack([p[None] if p.ndim == 2 else p.transpose(2, 0, 1) for p in scaled])


def tensor_of_pixels(pixels: npt.NDArray[np.uint8], encoding: ImageEncoding) -> Array:
    """Images uint8 [N, C, H, W] as the float32 values that the encoding gives them."""
    return tensors_from_bytes(pixels.transpose(0, 2, 3, 1), encoding)


def _smooth_fields(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    channels, height, width = shape
    coarse = rng.uniform(0, 255, (MIN_SAMPLES, channels, 8, 8))
    rows, columns = (np.minimum(np.arange(n) * 8 // n, 7) for n in (height, width))
    return np.rint(coarse[:, :, rows][:, :, :, columns]).astype(np.uint8)
