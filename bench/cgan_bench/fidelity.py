"""Whether a row's outputs are the reference's, output by output, in the figure that fits what the output is.

image, heatmap      PSNR [dB] of the worst checked row; the peak is the width of the output's range
score, raw values   largest |difference| / largest |reference|, over all checked rows; raw values that have a range
                    are measured as images are

A value that is not finite counts as 0 dB and as 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB, psnr_db
from cgan_runtime.contract import Contract, ImageEncoding, Output
from cgan_runtime.runners.base import Array

__all__ = ["MIN_PSNR_DB", "Agreement", "Answers", "compare_answers", "furthest"]

# FP16, BF16 and INT8 as in the export's gates. FP32 rows are other libraries and devices too, which round in other
# places: their outputs agree to far more than 60 dB, wrong ones to less.
MIN_PSNR_DB: Final = {"fp32": 60.0, "fp16": 60.0, "bf16": 42.0, "int8": 35.0}
MAX_RELATIVE_ERROR: Final = {"fp32": 1e-3, "fp16": 5e-3, "bf16": 4e-2, "int8": 9e-2}

Kind = Literal["image", "heatmap", "score", "values"]
Answers = Sequence[dict[str, Array]]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How near one output is to the reference's.

    Attributes:
        output: its name.
        kind: of its encoding; "values" where it has none.
        psnr_db: where it is measured so.
        relative_error: where it is measured so.
        limit: smallest `psnr_db`, or largest `relative_error`.
    """

    output: str
    kind: Kind
    psnr_db: float | None = None
    relative_error: float | None = None
    limit: float

    @property
    def within_limit(self) -> bool:
        """Whether it counts as the same output."""
        if self.psnr_db is not None:
            return self.psnr_db >= self.limit
        return self.relative_error is not None and self.relative_error <= self.limit

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, with the verdict."""
        return {**asdict(self), "within_limit": self.within_limit}

    @property
    def figure(self) -> float:
        """`psnr_db`, else `relative_error`."""
        value = self.relative_error if self.psnr_db is None else self.psnr_db
        assert value is not None  # noqa: S101 - it is measured in one of them
        return value

    @property
    def is_equal(self) -> bool:
        """Whether it is the reference's to the last bit."""
        return self.psnr_db == PSNR_OF_EQUAL_DB or self.relative_error == 0

    @property
    def words(self) -> str:
        """The figure with its unit: ``137.2 dB``, ``2.1e-07`` for a relative error, or ``equal``."""
        if self.is_equal:
            return "equal"
        return f"{self.psnr_db:.1f} dB" if self.psnr_db is not None else f"{self.relative_error:.1e}"

    @property
    def limit_words(self) -> str:
        """The limit in the same unit."""
        return f"{self.limit:.0f} dB or more" if self.psnr_db is not None else f"{self.limit:.1e} or less"


def compare_answers(
    contract: Contract, reference: Answers, answers: Answers, *, precisions: Sequence[str] = ("fp32",)
) -> tuple[Agreement, ...]:
    """One agreement per output of the contract.

    Args:
        contract: of the generator.
        reference: outputs [N, ...] by name, one entry per checked call.
        answers: the same of the row.
        precisions: of the row and of the reference; the coarsest decides the limit.
    """
    return tuple(_agreement(output, reference, answers, precisions) for output in contract.outputs)


def furthest(agreements: Sequence[Agreement]) -> Agreement:
    """The least PSNR where an output is measured so, else the largest relative error; of at least one output."""
    if images := [one for one in agreements if one.psnr_db is not None]:
        return min(images, key=lambda one: one.figure)
    return max(agreements, key=lambda one: one.figure)


def _agreement(output: Output, reference: Answers, answers: Answers, precisions: Sequence[str]) -> Agreement:
    kind: Kind = "values" if output.encoding is None else output.encoding.kind
    theirs = np.concatenate([call[output.name] for call in reference]).astype(np.float64)
    ours = np.concatenate([call[output.name] for call in answers]).astype(np.float64)
    peak = _peak(output)
    if peak is None:
        error = _relative_error(theirs, ours)
        most = max(MAX_RELATIVE_ERROR[precision] for precision in precisions)
        return Agreement(output=output.name, kind=kind, relative_error=error, limit=most)
    worst = min(
        psnr_db(one, other, peak) if np.isfinite(other).all() else 0.0
        for one, other in zip(theirs, ours, strict=True)
    )
    least = min(MIN_PSNR_DB[precision] for precision in precisions)
    return Agreement(output=output.name, kind=kind, psnr_db=worst, limit=least)


def _peak(output: Output) -> float | None:
    """Width of the range of an image, a heatmap or raw values; None: measured relative to its own size."""
    if output.encoding is not None and output.encoding.kind == "score":
        return None
    if output.range is not None:
        return output.range[1] - output.range[0]
    return 1 / min(output.encoding.std) if isinstance(output.encoding, ImageEncoding) else None


def _relative_error(reference: Array, answer: Array) -> float:
    if not np.isfinite(answer).all():
        return 1.0
    apart, largest = float(np.abs(answer - reference).max()), float(np.abs(reference).max())
    return apart / largest if largest > 0 else float(apart > 0)
