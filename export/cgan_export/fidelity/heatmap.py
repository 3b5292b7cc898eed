"""Arrays as pixels: values from black over red and yellow to white, images, and outputs that are heatmaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import HeatmapEncoding, ImageEncoding, Output
from cgan_runtime.encodings.heatmap import heatmap_pixels
from cgan_runtime.images import eight_bit, pixels_from_tensor
from cgan_runtime.runners.base import Array
from PIL import Image

__all__ = ["as_rgb", "coloured", "condition_pixels", "has_pixels", "output_pixels"]

Pixels = npt.NDArray[np.uint8]


def coloured(values: Array, top: float | None = None) -> Pixels:
    """Values [H, W] >= 0 as RGB [H, W, 3]: 0 is black, `top` (the largest by default) and beyond is white."""
    finite = values[np.isfinite(values)]
    return heatmap_pixels(values, (0.0, top or (float(finite.max()) if finite.size else 0.0) or 1.0))


def as_rgb(pixels: Pixels) -> Pixels:
    """Pixels [H, W] or [H, W, C] as RGB [H, W, 3]: grey three times, transparency on white."""
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return np.asarray(eight_bit(Image.fromarray(pixels)))


def has_pixels(output: Output) -> bool:
    """Whether an output can be looked at: an image or a heatmap."""
    return isinstance(output.encoding, ImageEncoding | HeatmapEncoding)


def output_pixels(tensor: Array, output: Output) -> Pixels:
    """An output [C, H, W] as pixels: an image as its encoding says, a heatmap [1, H, W] over its range.

    Raises:
        ValueError: it is neither (`has_pixels`).
    """
    if isinstance(output.encoding, ImageEncoding):
        return pixels_from_tensor(np.nan_to_num(tensor, nan=-1.0, posinf=1.0, neginf=-1.0), output.encoding)
    if not isinstance(output.encoding, HeatmapEncoding) or output.range is None:
        raise ValueError(f"{output.name} is neither an image nor a heatmap")
    return heatmap_pixels(tensor[0], output.range, output.encoding.colors)


def condition_pixels(tensor: Array, encoding: ImageEncoding) -> Pixels:
    """A condition [C, H, W] as the pixels that its values came from: the nearest ones.

    The encoding's own rounding says how values that a net has made become pixels: with "truncate" 63 of the 256
    levels would come back one lower.
    """
    return pixels_from_tensor(tensor, encoding.model_copy(update={"rounding": "nearest"}))
