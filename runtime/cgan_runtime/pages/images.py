"""Images as data URIs, so that a page holds everything it shows."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["data_uri"]

_SAVE: dict[str, dict[str, object]] = {
    "webp": {"format": "WEBP"},
    "jpeg": {"format": "JPEG", "subsampling": 0},  # colour at full resolution: label maps keep their edges
    "png": {"format": "PNG"},
}


def data_uri(image: Image, kind: Literal["webp", "jpeg", "png"] = "webp", *, quality: int = 88) -> str:
    """The image as `data:image/...;base64,...`.

    Args:
        image: RGB or grey, 8 bits.
        kind: WebP is the smallest; JPEG takes a tenth of WebP's time; PNG is exact.
        quality: 1 to 100, of WebP and JPEG.
    """
    stream = io.BytesIO()
    words = dict(_SAVE[kind]) if kind == "png" else {**_SAVE[kind], "quality": quality}
    image.save(stream, **words)  # type: ignore[arg-type]  # Pillow types its options one by one
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
