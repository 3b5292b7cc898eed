"""One picture file to 8-bit RGB, whatever its mode, or an error that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cgan_trainer.errors import BadInputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["EXTENSIONS", "list_pictures", "open_rgb"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp")


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
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(path) as opened:
            opened.load()
            picture = PIL.ImageOps.exif_transpose(opened)
    # Of bad bytes Pillow makes OSError, SyntaxError, ValueError, struct.error, DecompressionBombError, ...
    except Exception as problem:
        raise BadInputError(
            f"{path} cannot be read as a picture ({str(problem).splitlines()[0]}): replace or remove it."
        ) from problem
    return _to_rgb(picture)


def _to_rgb(picture: Image) -> Image:
    import PIL.Image

    if picture.mode.startswith("I") or picture.mode == "F":
        import numpy as np

        values = np.asarray(picture, dtype=np.float64)
        # "I" is what Pillow makes of 16-bit PNGs; "F" has no fixed range, so it is taken as 0..255
        scale = 1.0 if picture.mode == "F" else 255.0 / 65535.0
        return PIL.Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        background = PIL.Image.new("RGBA", picture.size, "white")
        return PIL.Image.alpha_composite(background, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")
