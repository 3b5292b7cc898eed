"""What each precision is held to.

An image is held to a largest error (FP32) or to the PSNR of its worst sample. Other outputs are held to a share
of their scale: the largest error over the scale, which is half of the range where the contract gives one, and
the largest magnitude of the reference over the samples where it gives none. The limits of both say the same:

fp32   1e-4 of the scale. An image in -1..1 has the scale 1 and may be 1e-4 off.
fp16   5e-3 = 2.5 * 2 * 10^(-60/20). A PSNR of 60 dB is a root mean square error of 10^(-60/20) of the range,
       which is twice the scale; and the largest of about a hundred normal errors is 2.5 times their root mean
       square.
bf16   4e-2 = 2.5 * 2 * 10^(-42/20), likewise: numbers of 8 bits where FP16 has 11, and 6 dB less for each.
int8   9e-2 = 2.5 * 2 * 10^(-35/20), likewise.

In a batch or alone: an FP32 image is the same in 8 bits, and other FP32 outputs differ by what the order of a sum
costs, 1e-4 of the scale at most; the others by one 8-bit level, and by 5e-3, which is a little less than that
level (1/255 of a range is 8e-3 of its half).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_SHARE_PER_RMS", "Limits"]

# 2.5 standard errors, and a range is twice its half: the factor between a limit in dB and one as a share.
MAX_SHARE_PER_RMS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one precision.

    Attributes:
        max_abs: largest error of an image, in the units of its tensor; infinite where PSNR alone decides.
        min_psnr_db: of the worst sample of an output with a range.
        batch_levels: 8-bit levels between a sample in a batch and the sample alone.
        relative: largest error of an output that is no image, as a share of its scale.
        batch_relative: the same between a sample in a batch and the sample alone.
    """

    max_abs: float
    min_psnr_db: float
    batch_levels: int
    relative: float
    batch_relative: float

    @staticmethod
    def of(precision: str) -> Limits:
        """The limits of "fp32", "fp16", "bf16" or "int8"."""
        table = {
            "fp32": Limits(max_abs=1e-4, min_psnr_db=80.0, batch_levels=0, relative=1e-4, batch_relative=1e-4),
            "fp16": Limits(max_abs=math.inf, min_psnr_db=60.0, batch_levels=1, relative=5e-3, batch_relative=5e-3),
            "bf16": Limits(max_abs=math.inf, min_psnr_db=42.0, batch_levels=1, relative=4e-2, batch_relative=5e-3),
            "int8": Limits(max_abs=math.inf, min_psnr_db=35.0, batch_levels=1, relative=9e-2, batch_relative=5e-3),
        }
        return table[precision]
