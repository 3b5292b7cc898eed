"""How far two values of an output are apart, by the kind of its encoding.

image             PSNR and SSIM, largest error, whole 8-bit levels
heatmap, and any
output with a range  PSNR over its range; errors as a share of half of the range
score, and any
output without one   errors as a share of the largest magnitude of the reference

A measure looks at all samples of an output at once: pairs (ours, reference) of arrays without the batch axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import ImageEncoding, Output, ScoreEncoding
from cgan_runtime.images import pixels_from_tensor
from cgan_runtime.runners.base import Array

from cgan_export.fidelity.labels import Figures, figure
from cgan_export.fidelity.limits import MAX_SHARE_PER_RMS, Limits
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB, UNMEASURABLE, largest, largest_error, psnr_db, ssim

__all__ = [
    "MAX_CHANGED_SHARE",
    "MAX_LEVELS",
    "ImageMeasure",
    "OutputMeasure",
    "Pair",
    "RangedMeasure",
    "RelativeMeasure",
    "measure_of",
]

Pair = tuple[Array, Array]
SSIM_MIN_SIDE: Final = 11
# The promise between different runtimes: at most 1 level on at most 0.1 % of the values.
MAX_LEVELS: Final = 1
MAX_CHANGED_SHARE: Final = 0.001
# Below this a float32 result is what cancellation left over from values near 1.
SMALLEST_SCALE: Final = 1e-6


class OutputMeasure(ABC):
    """The measure of one output. Figures have the keys of a first output (see `labels.of_output`)."""

    def __init__(self, output: Output) -> None:
        self.output = output

    @abstractmethod
    def parity(self, pairs: Sequence[Pair], limits: Limits, prefix: str = "parity") -> Figures:
        """The artifact against the reference, each sample alone."""

    @abstractmethod
    def batch(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """Each sample in a batch against the sample alone."""

    @abstractmethod
    def golden(self, pairs: Sequence[Pair]) -> Figures:
        """FP32 results here against the ones stored in the bundle (pixels for images)."""

    @abstractmethod
    def other_sizes(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """The artifact against the reference at other image sizes."""

    @abstractmethod
    def quality_db(self, pairs: Sequence[Pair]) -> list[float]:
        """For each sample its PSNR, or what stands for it; minus infinity where a result is not finite."""

    @abstractmethod
    def errors(self, pairs: Sequence[Pair], limits: Limits) -> list[float]:
        """For each sample how far it is apart, in units of the limit."""

    @abstractmethod
    def effect(self, before: Array, after: Array) -> float:
        """How large a change is, to tell a dead noise input; 0 where a result is not finite."""


class ImageMeasure(OutputMeasure):
    """Images: as people quote them, and as the 8-bit levels that a file holds."""

    def __init__(self, output: Output, encoding: ImageEncoding) -> None:
        super().__init__(output)
        self.encoding = encoding
        # Pixels 0..255 span 1 / std in values, also where the contract gives no range.
        self.peak = output.range[1] - output.range[0] if output.range else 1 / min(encoding.std)

    def parity(self, pairs: Sequence[Pair], limits: Limits, prefix: str = "parity") -> Figures:
        """PSNR, for FP32 the largest error, and SSIM."""
        worst_psnr = min(psnr_db(ours, theirs, self.peak) for ours, theirs in pairs)
        figures = figure(f"{prefix}_psnr", worst_psnr, limits.min_psnr_db, ">=", "dB")
        if math.isfinite(limits.max_abs):
            worst_abs = max(largest_error(ours, theirs) for ours, theirs in pairs)
            figures |= figure(f"{prefix}_max_abs", worst_abs, limits.max_abs, "<=")
        worst_ssim = min(1.0, *(self._ssim(ours, theirs) for ours, theirs in pairs))
        return figures | figure(f"{prefix}_ssim", worst_ssim, 0.95, ">=")

    def batch(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """The largest difference in levels."""
        worst = max(float(self.levels(a, b).max()) for a, b in pairs)
        return figure("batch_levels", worst, limits.batch_levels, "<=", "levels")

    def golden(self, pairs: Sequence[Pair]) -> Figures:
        """The largest difference in levels, and the share of values that differ at all."""
        apart = [
            np.abs(stored.astype(np.int16) - pixels_from_tensor(ours, self.encoding).astype(np.int16))
            for ours, stored in pairs
        ]
        worst = max(float(one.max()) for one in apart)
        share = max(float((one > 0).mean()) for one in apart)
        figures = figure("golden_levels", worst, MAX_LEVELS, "<=", "levels")
        return figures | figure("golden_changed", share, MAX_CHANGED_SHARE, "<=")

    def other_sizes(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """PSNR."""
        worst = min(psnr_db(ours, theirs, self.peak) for ours, theirs in pairs)
        return figure("other_sizes_psnr", worst, limits.min_psnr_db, ">=", "dB")

    def quality_db(self, pairs: Sequence[Pair]) -> list[float]:
        """PSNR."""
        return [_finite_or(psnr_db(ours, theirs, self.peak), ours) for ours, theirs in pairs]

    def errors(self, pairs: Sequence[Pair], limits: Limits) -> list[float]:
        """The largest error of a value; where PSNR alone decides, the root mean square error."""
        if math.isfinite(limits.max_abs):
            return [largest_error(ours, theirs) / limits.max_abs for ours, theirs in pairs]
        return [10 ** ((limits.min_psnr_db - psnr) / 20) for psnr in self.quality_db(pairs)]

    def effect(self, before: Array, after: Array) -> float:
        """The largest change of a value."""
        return _change(before, after)

    def levels(self, a: Array, b: Array) -> npt.NDArray[np.int16]:
        """Difference of every value in 8-bit levels."""
        left, right = (pixels_from_tensor(_shown(x), self.encoding).astype(np.int16) for x in (a, b))
        apart: npt.NDArray[np.int16] = np.abs(left - right)
        return apart

    def _ssim(self, ours: Array, theirs: Array) -> float:
        if min(ours.shape[-2:]) < SSIM_MIN_SIDE:
            return 1.0  # smaller than the window: PSNR decides alone
        return ssim(ours, theirs, self.peak) if np.isfinite(ours).all() else -1.0


class RelativeMeasure(OutputMeasure):
    """Scores and vectors: the largest error as a share of the scale."""

    def scale(self, references: Sequence[Array]) -> float:
        """The largest magnitude of the reference over the samples, at least SMALLEST_SCALE."""
        return max(SMALLEST_SCALE, *(largest(value) for value in references))

    def share(self, pairs: Sequence[Pair]) -> float:
        """The largest error over the scale."""
        scale = self.scale([theirs for _, theirs in pairs])
        return max(largest_error(ours.astype(np.float64), theirs) for ours, theirs in pairs) / scale

    def parity(self, pairs: Sequence[Pair], limits: Limits, prefix: str = "parity") -> Figures:
        """The largest error over the scale."""
        return figure(f"{prefix}_relative", self.share(pairs), limits.relative, "<=")

    def batch(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """The largest difference over the scale."""
        return figure("batch_relative", self.share(pairs), limits.batch_relative, "<=")

    def golden(self, pairs: Sequence[Pair]) -> Figures:
        """The largest difference over the scale, by the limit of FP32."""
        return figure("golden_relative", self.share(pairs), Limits.of("fp32").relative, "<=")

    def other_sizes(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """The largest error over the scale."""
        return figure("other_sizes_relative", self.share(pairs), limits.relative, "<=")

    def quality_db(self, pairs: Sequence[Pair]) -> list[float]:
        """The PSNR at which an image would be as close to its limit: ``20 log10(5 / share)``."""
        scale = self.scale([theirs for _, theirs in pairs])
        shares = [largest_error(ours.astype(np.float64), theirs) / scale for ours, theirs in pairs]
        smallest = MAX_SHARE_PER_RMS / 10 ** (PSNR_OF_EQUAL_DB / 20)
        return [
            _finite_or(20 * math.log10(MAX_SHARE_PER_RMS / max(share, smallest)), ours)
            for share, (ours, _) in zip(shares, pairs, strict=True)
        ]

    def errors(self, pairs: Sequence[Pair], limits: Limits) -> list[float]:
        """The largest error over the scale."""
        limit = limits.relative * self.scale([theirs for _, theirs in pairs])
        return [largest_error(ours.astype(np.float64), theirs) / limit for ours, theirs in pairs]

    def effect(self, before: Array, after: Array) -> float:
        """The largest change over the scale."""
        return _change(before, after) / self.scale([before])


class RangedMeasure(RelativeMeasure):
    """Heatmaps, and other values with a known range: PSNR over it, and half of it as the scale."""

    def __init__(self, output: Output, span: float) -> None:
        super().__init__(output)
        self.span = span

    def scale(self, references: Sequence[Array]) -> float:
        """Half of the range."""
        del references
        return self.span / 2

    def parity(self, pairs: Sequence[Pair], limits: Limits, prefix: str = "parity") -> Figures:
        """PSNR, and for FP32 the largest error over the scale."""
        worst = min(psnr_db(ours, theirs, self.span) for ours, theirs in pairs)
        figures = figure(f"{prefix}_psnr", worst, limits.min_psnr_db, ">=", "dB")
        return figures | (super().parity(pairs, limits, prefix) if math.isfinite(limits.max_abs) else {})

    def other_sizes(self, pairs: Sequence[Pair], limits: Limits) -> Figures:
        """PSNR."""
        worst = min(psnr_db(ours, theirs, self.span) for ours, theirs in pairs)
        return figure("other_sizes_psnr", worst, limits.min_psnr_db, ">=", "dB")

    def quality_db(self, pairs: Sequence[Pair]) -> list[float]:
        """PSNR."""
        return [_finite_or(psnr_db(ours, theirs, self.span), ours) for ours, theirs in pairs]


def measure_of(output: Output) -> OutputMeasure:
    """The measure of an output's kind."""
    if isinstance(output.encoding, ImageEncoding):
        return ImageMeasure(output, output.encoding)
    if output.range is None or isinstance(output.encoding, ScoreEncoding):
        return RelativeMeasure(output)
    return RangedMeasure(output, output.range[1] - output.range[0])


def _change(before: Array, after: Array) -> float:
    change = largest_error(after, before)
    return change if change < UNMEASURABLE else 0.0


def _finite_or(value: float, result: Array) -> float:
    return value if np.isfinite(result).all() else -math.inf


def _shown(values: Array) -> Array:
    """Values that have pixels: what is not finite is counted by the finite gate and is 0 here."""
    return np.nan_to_num(values, nan=0.0)
