"""Arrays as pictures: an error map from black over red and yellow to white, and tensors as pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.pictures import pixels_from_tensor
from cgan_runtime.runners.base import Array

__all__ = ["coloured", "picture_pixels"]

Pixels = npt.NDArray[np.uint8]


def coloured(values: Array, top: float | None = None) -> Pixels:
    """Values [H, W] >= 0 as RGB [H, W, 3]: 0 is black, `top` (the largest by default) and beyond is white."""
    known = np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf)
    finite = known[np.isfinite(known)]
    limit = top or (float(finite.max()) if finite.size else 0.0) or 1.0
    share = np.clip(np.minimum(known, limit) / limit, 0, 1)
    ramps = (share * 3, share * 3 - 1, share * 3 - 2)
    return np.rint(np.clip(np.stack(ramps, axis=-1), 0, 1) * 255).astype(np.uint8)


def picture_pixels(tensor: Array, encoding: ImageEncoding) -> Pixels:
    """A tensor [C, H, W] as pixels; what is not finite is black."""
    return pixels_from_tensor(np.nan_to_num(tensor, nan=-1.0, posinf=1.0, neginf=-1.0), encoding)
