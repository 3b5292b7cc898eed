"""How far two images are apart, in the units people quote."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["PSNR_OF_EQUAL_DB", "UNMEASURABLE", "largest", "largest_error", "psnr_db", "spread_sigmas", "ssim"]

# Two equal images have no finite PSNR; this figure stands for it in tables and JSON.
PSNR_OF_EQUAL_DB: Final = 200.0
# JSON has neither NaN nor infinity: an error that is one of them is written as this.
UNMEASURABLE: Final = 1e30

Float = npt.NDArray[np.floating]


def psnr_db(a: Float, b: Float, peak: float) -> float:
    """Peak signal-to-noise ratio, ``10 log10(peak^2 / MSE)``, at most PSNR_OF_EQUAL_DB; its negative for NaN."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        mse = float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))
    if not math.isfinite(mse):
        return -PSNR_OF_EQUAL_DB
    return PSNR_OF_EQUAL_DB if mse == 0 else min(PSNR_OF_EQUAL_DB, 10 * math.log10(peak * peak / mse))


def largest(values: npt.NDArray[Any]) -> float:
    """The largest magnitude; UNMEASURABLE where a value is NaN or infinite."""
    magnitude = float(np.abs(values).max())
    return magnitude if math.isfinite(magnitude) else UNMEASURABLE


def largest_error(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """The largest difference of two arrays; UNMEASURABLE where a value is NaN or infinite."""
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return largest(a - b)


def ssim(a: Float, b: Float, peak: float) -> float:
    """Structural similarity of two images [C, H, W], mean over channels and pixels.

    Wang, Bovik, Sheikh, Simoncelli 2004: Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03;
    windows that reach over the edge are left out. Both sides must be at least 11 pixels.
    """
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    x, y = a.astype(np.float64), b.astype(np.float64)
    mx, my = _blur(x), _blur(y)
    vx, vy = _blur(x * x) - mx * mx, _blur(y * y) - my * my
    cov = _blur(x * y) - mx * my
    score = ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(score.mean())


def _blur(x: Float) -> Float:
    at = np.arange(11) - 5
    window = np.exp(-(at**2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (-1, -2):
        x = np.asarray(np.lib.stride_tricks.sliding_window_view(x, len(window), axis=axis) @ window)
    return x


def spread_sigmas(ours: Float, theirs: Float) -> float:
    """Difference of two mean value-wise spreads [N, ...], in units of its jackknifed standard error.

    UNMEASURABLE where one of them is not finite, or both are constant and yet differ.
    """
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return UNMEASURABLE
    difference = _spread(ours) - _spread(theirs)
    error = math.hypot(_jackknife_error(ours), _jackknife_error(theirs))
    return abs(difference) / error if error > 0 else (0.0 if difference == 0 else UNMEASURABLE)


def _spread(images: Float) -> float:
    return float(images.astype(np.float64).std(axis=0, ddof=1).mean())


def _jackknife_error(images: Float) -> float:
    count = len(images)
    values = images.astype(np.float64)
    total, squares = values.sum(axis=0), np.square(values).sum(axis=0)
    spreads = []
    for left_out in values:
        mean = (total - left_out) / (count - 1)
        variance = (squares - np.square(left_out)) / (count - 1) - np.square(mean)
        spreads.append(float(np.sqrt(np.maximum(variance, 0) * (count - 1) / (count - 2)).mean()))
    return math.sqrt((count - 1) / count * float(np.sum(np.square(np.array(spreads) - np.mean(spreads)))))
