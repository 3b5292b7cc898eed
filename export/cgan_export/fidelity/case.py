"""What the gates look at: one artifact, the reference it is compared with, and the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from cgan_runtime.contract import Contract
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.output_kinds import OutputMeasure, Pair, measure_of

__all__ = ["MIN_SAMPLES", "Case", "LiveReference", "worst_psnr_db"]

MIN_SAMPLES: Final = 8


class LiveReference(Protocol):
    """The reference with its own noise, not the contract's."""

    def infer_live(self, conditions: Tensors, rows: int, seed: int) -> dict[str, Array]:
        """`rows` outputs under noise of its own making, other noise in every row; another seed, other noise."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One artifact under test.

    Attributes:
        target: the artifact.
        reference: what it is compared with; None where only its own laws are checked.
        live: the reference with its own noise.
        samples: every condition as [N, ...], N at least MIN_SAMPLES; sample i is drawn with seed i + 1. Empty
            for a generator without conditions, whose samples are then the seeds 1 to MIN_SAMPLES.
        limits: of the artifact's precision.
        against: whether the reference is PyTorch ("parity") or the FP32 artifact: the prefix of the keys.
    """

    target: SeededGenerator
    reference: SeededGenerator | None
    live: LiveReference | None
    samples: Tensors
    limits: Limits
    against: Literal["parity", "fp32"] = "parity"

    @property
    def contract(self) -> Contract:
        """The signature under test."""
        return self.target.contract

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.samples.values()))) if self.samples else MIN_SAMPLES

    @property
    def measures(self) -> tuple[OutputMeasure, ...]:
        """How each output is measured, in the order of the contract."""
        return tuple(measure_of(output) for output in self.contract.outputs)

    def alone(self, index: int) -> dict[str, Array]:
        """The conditions of one sample, as a batch of one."""
        return {name: value[index : index + 1] for name, value in self.samples.items()}

    def repeated(self, rows: int) -> dict[str, Array]:
        """The conditions of the first sample `rows` times."""
        return {name: np.repeat(value, rows, axis=0) for name, value in self.alone(0).items()}

    def run(self, conditions: Tensors, seeds: list[int]) -> dict[str, Array]:
        """Every output [N, ...] of the artifact."""
        return self.target.generate(conditions, seeds, [0] * len(seeds))

    def one_by_one(self) -> dict[str, list[Array]]:
        """Every output of each sample alone, without the batch axis."""
        return _one_by_one(self, self.target)

    def pairs(self) -> dict[str, list[Pair]]:
        """By output, (artifact, reference) of each sample alone. There must be a reference."""
        assert self.reference is not None  # noqa: S101 - asked only where there is one
        ours, theirs = _one_by_one(self, self.target), _one_by_one(self, self.reference)
        return {name: list(zip(ours[name], theirs[name], strict=True)) for name in ours}


def worst_psnr_db(case: Case) -> float:
    """The smallest PSNR of any output of any sample; minus infinity where a result is not finite.

    Outputs that have no PSNR (scores, vectors without a range) count with the PSNR at which an image would be as
    close to its limit (`RelativeMeasure.quality_db`).
    """
    pairs = case.pairs()
    return min(min(measure.quality_db(pairs[measure.output.name])) for measure in case.measures)


def _one_by_one(case: Case, generator: SeededGenerator) -> dict[str, list[Array]]:
    rows = [generator.generate(case.alone(i), [i + 1], [0]) for i in range(case.count)]
    return {output.name: [row[output.name][0] for row in rows] for output in case.contract.outputs}
