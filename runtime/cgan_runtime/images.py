"""Images in and out: a file of any format that is read to the tensor a generator wants, its answer to a PNG.

Read: the caps are checked on the header before a pixel is decoded; EXIF rotation is applied; transparency is laid
on white, or kept for a generator that takes RGBA; palettes, CMYK, 1-bit and grey images are converted to the
generator's colour. Grey of more than 8 bits and floats are scaled by their range (image_values.py); colour of 16
bits is read with its high bytes, as Pillow does. Of an animation or of several pages the first is used; colour
profiles are ignored. The size then follows the contract's `size_rule`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from cgan_runtime.axes import nearest_size
from cgan_runtime.contract import Condition, ImageEncoding, SizeRule, image_size
from cgan_runtime.errors import ImageError
from cgan_runtime.image_bytes import bytes_from_tensors, tensors_from_bytes
from cgan_runtime.image_formats import READ, READ_SUFFIXES, READ_WORDS, describe_image, raw_sentence
from cgan_runtime.image_values import PLAIN, Limits, is_wide, to_8_bit, wide_values, with_all_bits

if TYPE_CHECKING:
    from PIL import Image as PilImage

__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "SUFFIXES",
    "decode_image",
    "eight_bit",
    "image_text",
    "pixels_from_tensor",
    "png_bytes",
    "png_text",
    "read_image",
    "resized",
    "stored_mode",
    "stored_size",
    "tensor_from_image",
]

FORMATS: Final = tuple(known.pillow for known in READ)  # Pillow has others, some of which start programs
SUFFIXES: Final = READ_SUFFIXES
HEAD_BYTES: Final = 1024
MIN_SIDE: Final = 8
MAX_SIDE: Final = 16384
MAX_PIXELS: Final = 64_000_000

T = TypeVar("T")
Float32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def read_image(
    source: Path | bytes, name: str | None = None, encoding: ImageEncoding | None = None
) -> PilImage.Image:
    """An upright 8-bit image of mode "RGB", "L" or "RGBA" from a file or from its bytes: what serving takes.

    Args:
        source: a path, or the encoded image.
        name: what to call it in messages; the path by default.
        encoding: whose ranges are taken and whose transparency is kept; None: usual ranges, laid on white.

    Raises:
        ImageError: not of a format that is read, damaged, with values of no usual range, or a side outside
            MIN_SIDE .. MAX_SIDE or more than MAX_PIXELS in all.
    """
    image, called = decode_image(source, name), _called(source, name)
    if encoding is None:
        return eight_bit(image, called=called)
    return eight_bit(image, encoding.limits, alpha=encoding.color == "RGBA", called=called)


def decode_image(source: Path | bytes, name: str | None = None, *, caps: bool = True) -> PilImage.Image:
    """An upright image in the mode its file has; the pixels are decoded.

    Args:
        source: a path, or the encoded image.
        name: what to call it in messages; the path by default.
        caps: refuse sizes outside MIN_SIDE .. MAX_SIDE and beyond MAX_PIXELS before a pixel is decoded. Without
            them Pillow's own limit holds.

    Raises:
        ImageError: another format, damaged, or outside the caps.
    """
    from PIL import Image, ImageOps

    label = _called(source, name)
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from error
    suffix = source.suffix if isinstance(source, Path) else ""
    if said := describe_image(data[:HEAD_BYTES], suffix):
        raise ImageError(f"{label} {said}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: our cap below is the stricter one
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, bombs, ...
        raise ImageError(_not_an_image(label, data, error)) from error
    if caps:
        _check_size(label, *image.size)
    kind = image.format
    try:
        _check_tiff(label, image)
        image.load()
        return ImageOps.exif_transpose(with_all_bits(image))
    except ImageError:
        raise
    except Exception as error:  # the same list, now from the decoder
        raise ImageError(
            f"{label} is a damaged {kind} image and cannot be decoded: replace or remove it."
        ) from error


def stored_mode(path: Path) -> str:
    """Pillow's mode of an image file, from its header alone; empty where that cannot be read."""
    return _header(path, lambda image: image.mode) or ""


def stored_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of an encoded image, from its header alone; None where that cannot be read."""
    return _header(io.BytesIO(data), lambda image: image.size)


def _header(source: Path | io.BytesIO, read: Callable[[PilImage.Image], T]) -> T | None:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `decode_image`, which says what is wrong
            with Image.open(source, formats=FORMATS) as image:
                return read(image)
    except Exception:  # noqa: BLE001 - the same list
        return None


def eight_bit(
    image: PilImage.Image, limits: Limits = PLAIN, *, alpha: bool = False, called: str = "the image"
) -> PilImage.Image:
    """8 bits, mode "RGB" or "L", values of more bits scaled; "RGBA" where there is transparency that is kept.

    Args:
        image: as `decode_image` gives it.
        limits: the ranges of values of more than 8 bits.
        alpha: keep transparency; otherwise it is laid on white.
        called: the image, for messages.

    Raises:
        ImageError: a value is not finite, or no usual range holds them.
    """
    from PIL import Image

    if is_wide(image.mode):
        return Image.fromarray(to_8_bit(wide_values(image, called), limits, called))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if alpha:
            return image
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
    tensor: Float32 = tensors_from_bytes(pixels[None], encoding)[0]
    return tensor


def pixels_from_tensor(tensor: npt.NDArray[np.floating], encoding: ImageEncoding) -> Pixels:
    """The 8-bit image [H, W], [H, W, 3] or [H, W, 4] that a tensor [C, H, W] stands for."""
    pixels = bytes_from_tensors(tensor[None], encoding)[0]
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


def image_text(name: str, digest: str, seed: int, draw: int, artifact: str | None) -> dict[str, str]:
    """The text chunks that make an image traceable: which model, which seed, which sample of it, made by what.

    Args:
        name: of the model.
        digest: of the model.
        seed: of the sample.
        draw: of the sample.
        artifact: runtime and precision, "onnxruntime/fp32"; None where a server does not say it. No version: the
            same sample has the same file wherever it is made.
    """
    text = {"cgan-model": name, "cgan-model-digest": digest, "cgan-seed": str(seed), "cgan-draw": str(draw)}
    return text if artifact is None else {**text, "cgan-artifact": artifact}


def _check_size(label: str, width: int, height: int) -> None:
    size = f"{label} has {width}x{height} pixels"
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{size}; the smaller side needs at least {MIN_SIDE}.")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageError(f"{size}; {_CAPS}")


_CAPS: Final = (
    f"at most {MAX_SIDE} a side and {MAX_PIXELS // 10**6} million in all are read, so scale it down first."
)


def _check_tiff(label: str, image: PilImage.Image) -> None:
    """Refuse what Pillow would read as something else."""
    tags: Any = getattr(image, "tag_v2", {})
    if 50706 in tags or int(tags.get(254, 0)) & 1:  # DNG, or a first page that is a preview
        raise ImageError(f"{label} {raw_sentence()}")
    if 2 in tags.get(339, ()) and 8 in tags.get(258, ()):
        raise ImageError(f"{label} has signed 8-bit values, which are not read: save it with values from 0 to 255.")


def _called(source: Path | bytes, name: str | None) -> str:
    return name or (str(source) if isinstance(source, Path) else "the image")


def _not_an_image(label: str, data: bytes, error: Exception) -> str:
    if type(error).__name__ == "DecompressionBombError":  # Pillow refused before we could see the sides
        count = next((int(word.strip("(")) for word in str(error).split() if word.strip("(").isdigit()), MAX_PIXELS)
        return f"{label} has {count // 10**6} million pixels; {_CAPS}"
    if not data:
        return f"{label} is empty; an image is needed: replace or remove it."
    return (
        f"{label} is not an image that can be read ({READ_WORDS}; or its header is damaged): replace or remove it."
    )
