"""Images in and out: any PNG, JPEG or WebP to the tensor a generator wants, and its answer back to a PNG.

Read: the caps are checked on the header before a pixel is decoded; EXIF rotation is applied; transparency is
laid on white; palettes, CMYK, 1-bit and grey images are converted to the generator's colour; 16-bit grey is
rounded to 8 bit (16-bit colour PNGs are read with their high bytes, as Pillow does); of an animation the first
frame is used; colour profiles are ignored. The size then follows the contract's `size_rule`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from cgan_runtime.axes import nearest_size
from cgan_runtime.contract import Condition, ImageEncoding, SizeRule, image_size
from cgan_runtime.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image as PilImage

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "SUFFIXES",
    "decode_image",
    "image_text",
    "pixels_from_tensor",
    "png_bytes",
    "png_text",
    "read_image",
    "resized",
    "rgb_or_grey",
    "tensor_from_image",
]

FORMATS: Final = ("PNG", "JPEG", "WEBP")
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
MIN_SIDE: Final = 8
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000

Float32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def read_image(source: Path | bytes, name: str | None = None) -> PilImage.Image:
    """An upright 8-bit image of mode "RGB" or "L" from a file or from its bytes: what serving takes.

    Args:
        source: a path, or the encoded image.
        name: what to call it in messages; the path by default.

    Raises:
        ImageError: not a PNG, JPEG or WebP, damaged, or a side outside MIN_SIDE .. MAX_SIDE or more than
            MAX_PIXELS in all.
    """
    return rgb_or_grey(decode_image(source, name))


def decode_image(
    source: Path | bytes, name: str | None = None, *, formats: tuple[str, ...] = FORMATS, caps: bool = True
) -> PilImage.Image:
    """An upright image in the mode its file has; the pixels are decoded.

    Args:
        source: a path, or the encoded image.
        name: what to call it in messages; the path by default.
        formats: Pillow's names of the formats allowed; it has others that start programs.
        caps: refuse sizes outside MIN_SIDE .. MAX_SIDE and beyond MAX_PIXELS before a pixel is decoded. Without
            them Pillow's own limit holds.

    Raises:
        ImageError: another format, damaged, or outside the caps.
    """
    from PIL import Image, ImageOps

    label = name or (str(source) if isinstance(source, Path) else "the image")
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: our cap below is the stricter one
            image = Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, bombs, ...
        raise ImageError(_not_an_image(label, data, error, formats)) from error
    if caps:
        _check_size(label, *image.size)
    kind = image.format
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # the same list, now from the decoder
        raise ImageError(
            f"{label} is a damaged {kind} image and cannot be decoded: replace or remove it."
        ) from error


def rgb_or_grey(image: PilImage.Image) -> PilImage.Image:
    """8 bits, mode "RGB" or "L": transparency on white, 16-bit grey scaled, floats rounded as values 0..255."""
    from PIL import Image

    if image.mode == "F":  # it has no range of its own
        return Image.fromarray(np.clip(np.rint(np.asarray(image)), 0, 255).astype(np.uint8))
    if image.mode.startswith("I"):  # what Pillow makes of 16-bit grey
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("L" if image.mode == "1" else "RGB")


def tensor_from_image(image: PilImage.Image, condition: Condition, sides: SizeRule | None = None) -> Float32:
    """The condition's tensor [C, H, W] of an image, float32 ``(pixel / 255 - mean) / std``.

    A condition of free size takes the image's own where `sides` allows it, else the nearest that it allows.
    """
    encoding = condition.encoding
    assert isinstance(encoding, ImageEncoding)  # noqa: S101 - callers choose by the contract
    size = image_size(condition)
    if size is None and sides is not None:
        size = (nearest_size(image.height, sides), nearest_size(image.width, sides))
    image = image.convert(encoding.color)
    if size is not None:
        image = resized(image, (size[1], size[0]), encoding.filter)
    pixels = np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, -1)
    mean, std = (np.asarray(values, dtype=np.float32) for values in (encoding.mean, encoding.std))
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def pixels_from_tensor(tensor: npt.NDArray[np.floating], encoding: ImageEncoding) -> Pixels:
    """The 8-bit image [H, W] or [H, W, 3] that a tensor [C, H, W] stands for."""
    mean, std = (np.asarray(values, dtype=np.float32) for values in (encoding.mean, encoding.std))
    scaled = (tensor.astype(np.float32).transpose(1, 2, 0) * std + mean) * np.float32(255)
    whole = np.rint(scaled) if encoding.rounding == "nearest" else np.trunc(scaled)
    pixels = np.clip(whole, 0, 255).astype(np.uint8)
    squeezed: Pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return squeezed


def resized(image: PilImage.Image, size: tuple[int, int], filter_name: str) -> PilImage.Image:
    """`image` resampled to `size` = (width, height); itself when it has that size."""
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling[filter_name.upper()])


def png_bytes(pixels: Pixels | PilImage.Image, text: Mapping[str, str] | None = None) -> bytes:
    """A PNG file of the image, `text` as tEXt chunks; equal arguments give equal bytes on one Pillow."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    stream = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    # Level 1 is several times faster than the default and a tenth larger: encoding is on the serving path.
    image.save(stream, "PNG", pnginfo=info, compress_level=1)
    return stream.getvalue()


def png_text(data: bytes) -> dict[str, str]:
    """The text chunks of a PNG file, by key."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.load()
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


def image_text(name: str, digest: str, seed: int, draw: int) -> dict[str, str]:
    """The text chunks that make an image traceable: which bundle, which seed, which sample of it."""
    return {"cgan-model": name, "cgan-bundle": digest, "cgan-seed": str(seed), "cgan-draw": str(draw)}


def _check_size(label: str, width: int, height: int) -> None:
    size = f"{label} has {width}x{height} pixels"
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{size}; the smaller side needs at least {MIN_SIDE}.")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(f"{size}; {_CAPS}")


_CAPS: Final = (
    f"at most {MAX_SIDE} a side and {MAX_PIXELS // 10**6} million in all are read, so scale it down first."
)


def _not_an_image(label: str, data: bytes, error: Exception, formats: tuple[str, ...]) -> str:
    if type(error).__name__ == "DecompressionBombError":  # Pillow refused before we could see the sides
        count = next((int(word.strip("(")) for word in str(error).split() if word.strip("(").isdigit()), MAX_PIXELS)
        return f"{label} has {count // 10**6} million pixels; {_CAPS}"
    if not data:
        return f"{label} is empty; an image is needed: replace or remove it."
    wanted = "a PNG, JPEG or WebP image" if formats == FORMATS else "an image that can be read"
    return f"{label} is not {wanted} (or its header is damaged): replace or remove it."
