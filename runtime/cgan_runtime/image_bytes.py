"""Image tensors and the bytes they stand for, whole batches at a time: the one arithmetic of `ImageEncoding`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cgan_runtime.contract import ImageEncoding

__all__ = ["bytes_from_tensors", "tensors_from_bytes"]

Pixels = npt.NDArray[np.uint8]


def tensors_from_bytes(pixels: Pixels, encoding: ImageEncoding) -> npt.NDArray[np.float32]:
    """float32 [N, C, H, W], ``(pixel / 255 - mean) / std``, of uint8 [N, H, W, C]."""
    mean, std = (np.asarray(values, dtype=np.float32) for values in (encoding.mean, encoding.std))
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def bytes_from_tensors(tensors: npt.NDArray[np.floating], encoding: ImageEncoding) -> Pixels:
    """uint8 [N, H, W, C] of [N, C, H, W]: scaled back, made whole as the encoding says, cut at 0 and 255."""
    mean, std = (np.asarray(values, dtype=np.float32) for values in (encoding.mean, encoding.std))
    scaled = (tensors.astype(np.float32).transpose(0, 2, 3, 1) * std + mean) * np.float32(255)
    whole = np.rint(scaled) if encoding.rounding == "nearest" else np.trunc(scaled)
    pixels: Pixels = np.clip(whole, 0, 255).astype(np.uint8)
    return pixels
