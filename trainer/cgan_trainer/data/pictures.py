"""One picture file to 8-bit RGB, grey or label colours, whatever its mode, or an error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from cgan_trainer.errors import BadInputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CHANNELS", "EXTENSIONS", "Mode", "decode_rgb", "list_pictures", "open_picture", "open_rgb", "resize"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp")
# How the pixels of a side are meant: colours, one brightness, or names of classes that must never be mixed.
Mode = Literal["rgb", "grey", "labels"]
CHANNELS: dict[Mode, int] = {"rgb": 3, "grey": 1, "labels": 3}


def list_pictures(folder: Path) -> list[Path]:
    """Every picture below `folder`, sorted by path; hidden files and folders are skipped."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def open_rgb(path: Path) -> Image:
    """Turned upright by EXIF; transparency is laid on white; 16-bit grey is scaled to 8 bits, not cut.

    Raises:
        BadInputError: the file is not a picture, is cut short, or is absurdly large.
    """
    return decode_rgb(path, str(path))


def decode_rgb(source: Path | BinaryIO, called: str) -> Image:
    """As `open_rgb`, from a stream too; errors call the picture `called`."""
    return _to_rgb(_decode(source, called))


def open_picture(path: Path, mode: Mode) -> Image:
    """As `open_rgb`, with one channel for grey; 16-bit labels are class numbers: kept, not scaled.

    Raises:
        BadInputError: as `open_rgb`, or class numbers above 255.
    """
    picture = _decode(path, str(path))
    if mode == "labels" and picture.mode.startswith("I"):
        import numpy as np

        largest = int(np.asarray(picture).max())
        if largest > 255:
            raise BadInputError(f"{path} has values up to {largest}: the classes of a label map go from 0 to 255.")
        return _scaled(picture, 1.0)
    return _to_rgb(picture).convert("L") if mode == "grey" else _to_rgb(picture)


def resize(picture: Image, size: int, mode: Mode) -> Image:
    """To size x size: bicubic, but for labels the nearest pixel, so that no colour appears that names no class."""
    import PIL.Image

    if picture.size == (size, size):
        return picture
    nearest = mode == "labels"
    return picture.resize((size, size), PIL.Image.Resampling.NEAREST if nearest else PIL.Image.Resampling.BICUBIC)


def _decode(source: Path | BinaryIO, called: str) -> Image:
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(source) as opened:
            opened.load()
            return PIL.ImageOps.exif_transpose(opened)
    # Of bad bytes Pillow makes OSError, SyntaxError, ValueError, struct.error, DecompressionBombError, ...
    except Exception as problem:
        reason = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise BadInputError(f"{called} cannot be read as a picture ({reason}): replace or remove it.") from problem


def _to_rgb(picture: Image) -> Image:
    import PIL.Image

    if picture.mode.startswith("I") or picture.mode == "F":
        # "I" is what Pillow makes of 16-bit PNGs; "F" has no fixed range, so it is taken as 0..255
        return _scaled(picture, 1.0 if picture.mode == "F" else 255.0 / 65535.0)
    if picture.has_transparency_data:
        background = PIL.Image.new("RGBA", picture.size, "white")
        return PIL.Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _scaled(picture: Image, scale: float) -> Image:
    import numpy as np
    import PIL.Image

    values = np.asarray(picture, dtype=np.float64) * scale
    return PIL.Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
