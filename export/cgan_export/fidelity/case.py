"""What the gates look at: one artifact, the reference it is compared with, and the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

import numpy as np
from cgan_runtime.contract import Contract
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.output_kinds import OutputMeasure, Pair, measure_of

__all__ = ["MIN_SAMPLES", "Case", "Compared", "LiveReference", "worst_psnr_db"]

MIN_SAMPLES: Final = 8
# Share of the limit that is left to the rounding of the reference itself.
ROUNDING: Final = 0.5


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
        exact: the reference in float64, asked where artifact and reference are apart; None where there is none.
        live: the reference with its own noise.
        samples: every condition as [N, ...], N at least MIN_SAMPLES. Empty for a generator without conditions,
            whose samples are seeds alone.
        numbers: of each sample, counted from 1: the same sample has the same number where others are left out.
            Empty: 1, 2, 3, ..., and MIN_SAMPLES of them for a generator without conditions.
        probes: made-up conditions to compare on as well, by name, each of one row.
        limits: of the artifact's precision.
        against: whether the reference is PyTorch ("parity") or the FP32 artifact: the prefix of the keys.
    """

    target: SeededGenerator
    reference: SeededGenerator | None
    live: LiveReference | None
    samples: Tensors
    limits: Limits
    exact: SeededGenerator | None = None
    numbers: tuple[int, ...] = ()
    probes: Mapping[str, Tensors] = field(default_factory=dict)
    against: Literal["parity", "fp32"] = "parity"

    @property
    def contract(self) -> Contract:
        """The signature under test."""
        return self.target.contract

    @property
    def seeds(self) -> list[int]:
        """The seed of each sample: its number."""
        if self.numbers:
            return list(self.numbers)
        return list(range(1, 1 + (len(next(iter(self.samples.values()))) if self.samples else MIN_SAMPLES)))

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.seeds)

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

    def compared(self) -> Compared:
        """The artifact beside the reference, each sample alone. There must be a reference.

        Where they are further apart than half of the limit, it may be the reference that is off: then float64
        decides. If the reference is itself further from float64 than half of the limit for FP32, the function is
        lost in rounding at this sample, and the sample says nothing about an artifact: instance normalisation of a
        one-coloured image divides what rounding has left by almost nothing, and every correct program gives another
        image.
        """
        assert self.reference is not None  # noqa: S101 - asked only where there is one
        ours, theirs = self.one_by_one(), _one_by_one(self, self.reference)
        pairs = {name: list(zip(ours[name], theirs[name], strict=True)) for name in ours}
        defined = [True] * self.count
        apart = self._rows_beyond(pairs, self.limits) if self.exact is not None else []
        rounded = {name: [(value, value) for value in values] for name, values in theirs.items()}
        for row in apart:
            assert self.exact is not None  # noqa: S101 - there are such rows only then
            exact = self.exact.generate(self.alone(row), [self.seeds[row]], [0])
            for name, answer in exact.items():
                pairs[name][row] = (ours[name][row], answer[0])
                rounded[name][row] = (theirs[name][row], answer[0])
        for row in self._rows_beyond(rounded, Limits.of("fp32")):
            defined[row] = False
        return Compared(pairs=pairs, defined=defined)

    def _rows_beyond(self, pairs: dict[str, list[Pair]], limits: Limits) -> list[int]:
        """Samples of which an output is further apart than ROUNDING of its limit."""
        errors = [measure.errors(pairs[measure.output.name], limits) for measure in self.measures]
        return [row for row, of_row in enumerate(zip(*errors, strict=True)) if max(of_row) > ROUNDING]

    def on(self, samples: Tensors) -> Case:
        """The same artifact on other conditions, numbered anew, and on no made-up ones."""
        return replace(self, samples=samples, numbers=(), probes={})

    def on_probe(self, name: str) -> Case:
        """The same artifact on one of the made-up conditions instead of the samples."""
        return self.on(self.probes[name])


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An artifact beside its reference.

    Attributes:
        pairs: by output, (artifact, reference) of each sample, without the batch axis.
        defined: for each sample, whether the function can be computed there in FP32 at all.
    """

    pairs: dict[str, list[Pair]]
    defined: list[bool]

    def kept(self) -> dict[str, list[Pair]]:
        """The pairs of the samples at which the function is defined; empty lists where there are none."""
        return {
            name: [pair for pair, kept in zip(pairs, self.defined, strict=True) if kept]
            for name, pairs in self.pairs.items()
        }


def worst_psnr_db(case: Case) -> float:
    """The smallest PSNR of any output of any sample; minus infinity where a result is not finite.

    Outputs that have no PSNR (scores, vectors without a range) count with the PSNR at which an image would be as
    close to its limit (`RelativeMeasure.quality_db`).
    """
    pairs = case.compared().pairs
    return min(min(measure.quality_db(pairs[measure.output.name])) for measure in case.measures)


def _one_by_one(case: Case, generator: SeededGenerator) -> dict[str, list[Array]]:
    rows = [generator.generate(case.alone(row), [seed], [0]) for row, seed in enumerate(case.seeds)]
    return {output.name: [row[output.name][0] for row in rows] for output in case.contract.outputs}
