"""One image file to 8-bit RGB, grey or label colours, whatever its mode, or an error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgan_runtime.errors import BadInputError
from cgan_runtime.image_formats import list_images
from cgan_runtime.image_values import PLAIN, Limits
from cgan_runtime.images import decode_image, eight_bit, resized

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CHANNELS", "Mode", "decode_rgb", "list_images", "open_image", "open_rgb", "resize"]

# How the pixels of a side are meant: colours, one brightness, or names of classes that must never be mixed.
Mode = Literal["rgb", "grey", "labels"]
CHANNELS: dict[Mode, int] = {"rgb": 3, "grey": 1, "labels": 3}


def open_rgb(path: Path) -> Image:
    """An RGB image, turned upright by EXIF; transparency is laid on white; 16-bit grey is scaled, not cut.

    Raises:
        BadInputError: the file is not an image, is cut short, or is absurdly large.
    """
    return decode_rgb(path, str(path))


def decode_rgb(source: Path | bytes, called: str) -> Image:
    """As `open_rgb`, from the bytes of a file too; errors call the image `called`."""
    return eight_bit(decode_image(source, called, caps=False), called=called).convert("RGB")


def open_image(path: Path, mode: Mode, limits: Limits = PLAIN) -> Image:
    """As `open_rgb`, with one channel for grey; 16-bit labels are class numbers: kept, not scaled.

    Args:
        path: the file.
        mode: how its pixels are meant.
        limits: the ranges that values of more than 8 bits are scaled by.

    Raises:
        BadInputError: as `open_rgb`, or class numbers above 255.
    """
    image = decode_image(path, caps=False)
    if mode == "labels" and image.mode.startswith("I"):
        return _class_numbers(image, path)
    return eight_bit(image, limits, called=str(path)).convert("RGB").convert("L" if mode == "grey" else "RGB")


def resize(image: Image, size: int, mode: Mode) -> Image:
    """To size x size: bicubic, but for labels the nearest pixel, so that no colour appears that names no class."""
    return resized(image, (size, size), "nearest" if mode == "labels" else "bicubic")


def _class_numbers(image: Image, path: Path) -> Image:
    import numpy as np
    import PIL.Image

    numbers = np.asarray(image)
    if numbers.max() > 255:
        raise BadInputError(
            f"{path} has values up to {numbers.max()}: the classes of a label map go from 0 to 255."
        )
    return PIL.Image.fromarray(numbers.astype(np.uint8)).convert("RGB")
