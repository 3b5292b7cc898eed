"""Arrays as pixels: values from black over red and yellow to white, images, and outputs that are heatmaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import HeatmapEncoding, ImageEncoding, Output, ScoreEncoding
from cgan_runtime.encodings.heatmap import heatmap_pixels
from cgan_runtime.images import pixels_from_tensor
from cgan_runtime.runners.base import Array

__all__ = ["coloured", "has_pixels", "image_pixels", "output_pixels"]

Pixels = npt.NDArray[np.uint8]


def coloured(values: Array, top: float | None = None) -> Pixels:
    """Values [H, W] >= 0 as RGB [H, W, 3]: 0 is black, `top` (the largest by default) and beyond is white."""
    known = np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf)
    finite = known[np.isfinite(known)]
    limit = top or (float(finite.max()) if finite.size else 0.0) or 1.0
    share = np.clip(np.minimum(known, limit) / limit, 0, 1)
    ramps = (share * 3, share * 3 - 1, share * 3 - 2)
    return np.rint(np.clip(np.stack(ramps, axis=-1), 0, 1) * 255).astype(np.uint8)


def has_pixels(output: Output) -> bool:
    """Whether an output can be looked at: an image or a heatmap."""
    return isinstance(output.encoding, ImageEncoding | HeatmapEncoding)


def output_pixels(tensor: Array, output: Output) -> Pixels:
    """An output [C, H, W] as pixels: an image as its encoding says, a heatmap [1, H, W] over its range.

    Raises:
        ValueError: it is neither (`has_pixels`).
    """
    if isinstance(output.encoding, ImageEncoding):
        return image_pixels(tensor, output.encoding)
    if not isinstance(output.encoding, HeatmapEncoding) or output.range is None:
        raise ValueError(f"{output.name} is neither an image nor a heatmap")
    return heatmap_pixels(tensor[0], output.range, output.encoding.colors)


def image_pixels(tensor: Array, encoding: ImageEncoding | HeatmapEncoding | ScoreEncoding) -> Pixels:
    """A tensor [C, H, W] as pixels; what is not finite is black. A heatmap is coloured up to its largest value."""
    if not isinstance(encoding, ImageEncoding):
        return coloured(np.maximum(tensor[0], 0))
    return pixels_from_tensor(np.nan_to_num(tensor, nan=-1.0, posinf=1.0, neginf=-1.0), encoding)
