"""Images: a file of any format that is read in, a PNG out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from cgan_runtime.contract import Condition, ImageEncoding, Output, SizeRule
from cgan_runtime.encodings.base import Array, Decoder, Encoder, Given, JsonObject
from cgan_runtime.errors import UsageError
from cgan_runtime.image_formats import READ_WORDS
from cgan_runtime.images import (
    Pixels,
    eight_bit,
    pixels_from_tensor,
    png_bytes,
    read_image,
    resized,
    tensor_from_image,
)

__all__ = ["ImageDecoder", "ImageEncoder", "png_of_size"]


class ImageEncoder(Encoder):
    """Takes a path, the bytes of a file, or a Pillow image."""

    as_bytes: ClassVar[bool] = True

    def encode(
        self, given: Given, condition: Condition, *, sides: SizeRule | None = None, name: str | None = None
    ) -> Array:
        """float32 [C, H, W], ``(pixel / 255 - mean) / std``, resampled by the rule of its encoding.

        Raises:
            ImageError: not of a format that is read, damaged, or outside the size caps.
            UsageError: neither a path, nor bytes, nor an image.
        """
        from PIL import Image, ImageOps

        encoding = condition.encoding
        assert isinstance(encoding, ImageEncoding)  # noqa: S101 - chosen by the encoding's kind
        if isinstance(given, str | Path):
            image = read_image(Path(given), encoding=encoding)
        elif isinstance(given, bytes):
            image = read_image(given, name or condition.name, encoding)
        elif isinstance(given, Image.Image):  # as `read_image` does with a file
            image = eight_bit(ImageOps.exif_transpose(given), encoding.limits, alpha=encoding.color == "RGBA")
        else:
            raise UsageError(f"{name or condition.name} needs {self.choices(condition)}.")
        return tensor_from_image(image, condition, sides)

    def choices(self, condition: Condition) -> str:  # noqa: ARG002 - every image condition takes the same
        """The files that may be given for an image."""
        return f"a {READ_WORDS} image"


class ImageDecoder(Decoder):
    """Gives a PNG."""

    suffix: ClassVar[str] = ".png"
    is_image: ClassVar[bool] = True

    def decode(
        self,
        array: Array,
        output: Output,
        *,
        text: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> bytes | JsonObject:
        """The PNG of a tensor [C, H, W]; another size is made with the filter of the encoding."""
        encoding = output.encoding
        assert isinstance(encoding, ImageEncoding)  # noqa: S101 - chosen by the encoding's kind
        return png_of_size(pixels_from_tensor(array, encoding), text, size, encoding.filter)


def png_of_size(
    pixels: Pixels, text: Mapping[str, str] | None, size: tuple[int, int] | None, filter_name: str
) -> bytes:
    """A PNG of pixels [H, W], [H, W, 3] or [H, W, 4], scaled to `size` = (width, height) if one is given."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return png_bytes(image if size is None else resized(image, size, filter_name), text)
