"""The fidelity gates: an artifact is only shipped when these hold.

Each gate is a function of a `Case` (what is tested, what it is compared with, on which samples) and returns
figures with their limits. A gate that does not apply (no noise inputs, no reference at hand) returns nothing
for that part and the table says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from cgan_runtime.contract import Condition, Contract, LabelEncoding, Output
from cgan_runtime.generator import SeededGenerator, noise_tensors, sizes_of
from cgan_runtime.manifest import Figure
from cgan_runtime.pictures import pixels_from_tensor
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.measures import psnr_db, spread_sigmas, ssim

__all__ = [
    "GATES",
    "MIN_SAMPLES",
    "Case",
    "Limits",
    "LiveReference",
    "run_gates",
    "spread_samples",
    "worst_psnr_db",
]

MIN_SAMPLES: Final = 8
SPREAD_SEEDS: Final = 32
SPREAD_BATCHES: Final = 4
SSIM_MIN_SIDE: Final = 11


class LiveReference(Protocol):
    """The reference with its own noise, not the contract's."""

    def infer_live(self, conditions: Tensors, rows: int, seed: int) -> dict[str, Array]:
        """Outputs under noise of its own making, other noise in every row; another seed, other noise."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What each precision is held to."""

    max_abs: float
    min_psnr_db: float
    batch_levels: int

    @staticmethod
    def of(precision: str) -> Limits:
        """The limits of one precision: FP32 by absolute error, the others by the worst sample's PSNR."""
        table = {
            "fp32": Limits(max_abs=1e-4, min_psnr_db=80.0, batch_levels=0),
            "fp16": Limits(max_abs=math.inf, min_psnr_db=60.0, batch_levels=1),
            "int8": Limits(max_abs=math.inf, min_psnr_db=35.0, batch_levels=1),
        }
        return table[precision]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One artifact under test.

    `samples` holds every condition as [N, ...], N at least MIN_SAMPLES; sample i is drawn with seed i + 1.
    """

    subject: SeededGenerator
    reference: SeededGenerator | None
    live: LiveReference | None
    samples: Tensors
    limits: Limits

    @property
    def contract(self) -> Contract:
        """The signature under test."""
        return self.subject.contract

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.samples.values()))) if self.samples else MIN_SAMPLES

    def alone(self, index: int) -> dict[str, Array]:
        """The conditions of one sample, as a batch of one."""
        return {name: value[index : index + 1] for name, value in self.samples.items()}

    def main(self, generator: SeededGenerator, conditions: Tensors, seeds: list[int]) -> Array:
        """The first output [N, ...]."""
        return generator.generate(conditions, seeds, [0] * len(seeds))[self.contract.outputs[0].name]


Figures = dict[str, Figure]


def run_gates(case: Case, progress: Callable[[str], None] = lambda _: None) -> Figures:
    """Every gate's figures; `progress` is told what is being checked."""
    figures: Figures = {}
    for title, gate in GATES.items():
        progress(title)
        figures.update(gate(case))
    return figures


def parity(case: Case) -> Figures:
    """Gate 1: the artifact gives what PyTorch gives from the same conditions and noise."""
    if case.reference is None:
        return {}
    output, peak = case.contract.outputs[0], _peak(case.contract.outputs[0])
    worst_abs, worst_psnr, worst_ssim = 0.0, math.inf, 1.0
    for i in range(case.count):
        ours = case.main(case.subject, case.alone(i), [i + 1])[0]
        theirs = case.main(case.reference, case.alone(i), [i + 1])[0]
        worst_abs = max(worst_abs, float(np.abs(ours - theirs).max()))
        worst_psnr = min(worst_psnr, psnr_db(ours, theirs, peak))
        if _is_picture(output) and min(ours.shape[-2:]) >= SSIM_MIN_SIDE:
            worst_ssim = min(worst_ssim, ssim(ours, theirs, peak))
    figures = {"parity_psnr": Figure(value=worst_psnr, limit=case.limits.min_psnr_db, rule=">=", unit="dB")}
    if math.isfinite(case.limits.max_abs):
        figures["parity_max_abs"] = Figure(value=worst_abs, limit=case.limits.max_abs, rule="<=")
    if _is_picture(output):
        figures["parity_ssim"] = Figure(value=worst_ssim, limit=0.95, rule=">=")
    return figures


def worst_psnr_db(case: Case) -> float:
    """The smallest PSNR of any sample; minus infinity where a result is not finite."""
    assert case.reference is not None  # noqa: S101 - asked only where there is one
    peak, worst = _peak(case.contract.outputs[0]), math.inf
    for i in range(case.count):
        ours = case.main(case.subject, case.alone(i), [i + 1])[0]
        theirs = case.main(case.reference, case.alone(i), [i + 1])[0]
        worst = min(worst, psnr_db(ours, theirs, peak) if np.isfinite(ours).all() else -math.inf)
    return worst


def batch_invariance(case: Case) -> Figures:
    """Gate 2: sample i of a batch is the picture that sample i is alone."""
    seeds = [i + 1 for i in range(case.count)]
    together = case.main(case.subject, case.samples, seeds)
    worst = 0.0
    for i, seed in enumerate(seeds):
        alone = case.main(case.subject, case.alone(i), [seed])[0]
        worst = max(worst, _levels_apart(together[i], alone, case.contract.outputs[0]))
    return {"batch_levels": Figure(value=worst, limit=case.limits.batch_levels, rule="<=", unit="levels")}


def identical_rows(case: Case) -> Figures:
    """Gate 3: a batch of equal rows has equal results, whatever the position."""
    rows = {name: np.repeat(value, 4, axis=0) for name, value in case.alone(0).items()}
    result = case.main(case.subject, rows, [1] * 4)
    worst = float(np.abs(result - result[:1]).max())
    return {"identical_rows_max_abs": Figure(value=worst, limit=0.0, rule="<=")}


def noise_is_alive(case: Case) -> Figures:
    """Gate 4: the seed matters, every noise input matters, and the spread is that of PyTorch's own noise."""
    if not case.contract.noise:
        return {}
    ours, theirs = spread_samples(case)
    other = min(float(np.abs(picture - ours[0]).max()) for picture in ours[1:])
    figures = {
        "other_seed_max_abs": Figure(value=other, limit=1e-6, rule=">="),
        "weakest_noise_input_max_abs": Figure(value=_weakest_input(case), limit=1e-6, rule=">="),
    }
    if theirs is not None:
        figures["spread_error_sigmas"] = Figure(value=spread_sigmas(ours, theirs), limit=5.0, rule="<=")
    return figures


def spread_samples(case: Case) -> tuple[Array, Array | None]:
    """The first sample under SPREAD_SEEDS seeds, and as often under the live reference's own noise.

    In batches, because rows are independent and the weights of a large net are then read once for many rows.
    """
    name, rows = case.contract.outputs[0].name, SPREAD_SEEDS // SPREAD_BATCHES
    repeated = {key: np.repeat(value, rows, axis=0) for key, value in case.alone(0).items()}
    starts = range(1, SPREAD_SEEDS + 1, rows)
    ours = np.concatenate([case.main(case.subject, repeated, list(range(s, s + rows))) for s in starts])
    if case.live is None:
        return ours, None
    return ours, np.concatenate([case.live.infer_live(repeated, rows, start)[name] for start in starts])


def finite(case: Case) -> Figures:
    """Gate 5: no NaN or infinity on extreme conditions."""
    broken = 0
    for kind in ("low", "high", "checkerboard", "random"):
        conditions = {
            c.name: _extreme(c, case.samples[c.name].shape[1:], kind)[None] for c in case.contract.conditions
        }
        result = case.main(case.subject, conditions, [1])
        broken += int(np.size(result) - np.isfinite(result).sum())
    return {"nonfinite_values": Figure(value=broken, limit=0, rule="<=")}


def other_sizes(case: Case) -> Figures:
    """Gate 6, where the size is free: the artifact gives what PyTorch gives at other sizes too."""
    sides = case.contract.sides
    image = case.contract.image_condition
    if sides is None or image is None or case.reference is None:
        return {}
    height, width = case.samples[image.name].shape[2:]
    worst = math.inf
    for rows, columns in ((sides.min, sides.min), (height + sides.multiple, width)):
        cut = case.samples[image.name][:1, :, np.arange(rows) % height][..., np.arange(columns) % width]
        conditions = {**case.alone(0), image.name: np.ascontiguousarray(cut)}
        ours, theirs = (case.main(g, conditions, [1])[0] for g in (case.subject, case.reference))
        worst = min(worst, psnr_db(ours, theirs, _peak(case.contract.outputs[0])))
    return {"other_sizes_psnr": Figure(value=worst, limit=case.limits.min_psnr_db, rule=">=", unit="dB")}


GATES: Final[dict[str, Callable[[Case], Figures]]] = {
    "parity with PyTorch": parity,
    "batch invariance": batch_invariance,
    "identical rows": identical_rows,
    "noise is alive": noise_is_alive,
    "finite on extremes": finite,
    "other sizes": other_sizes,
}


def _weakest_input(case: Case) -> float:
    """Smallest effect of redrawing one noise input while the others stay."""
    contract, conditions = case.contract, case.alone(0)
    sizes = sizes_of(contract, conditions)
    base = {**conditions, **noise_tensors(contract.noise, [1], [0], sizes)}
    name = contract.outputs[0].name
    plain = case.subject.runner.infer(base)[name]
    effects = []
    for item in contract.noise:
        changed = {**base, **noise_tensors([item], [2], [0], sizes)}
        effects.append(float(np.abs(case.subject.runner.infer(changed)[name] - plain).max()))
    return min(effects)


def _levels_apart(a: Array, b: Array, output: Output) -> float:
    """Largest difference in 8-bit levels of two pictures; of other outputs, in 256ths of the range."""
    if output.encoding is not None:
        left, right = (pixels_from_tensor(x, output.encoding).astype(np.int16) for x in (a, b))
        return float(np.abs(left - right).max())
    return float(np.abs(a - b).max() / _peak(output) * 256)


def _extreme(condition: Condition, shape: tuple[int, ...], kind: str) -> Array:
    if isinstance(condition.encoding, LabelEncoding):
        top = max(len(condition.encoding.names) - 1, 0)
        return np.full(shape, 0 if kind in ("low", "checkerboard") else top, dtype=np.int64)
    low, high = condition.range or (-1.0, 1.0)
    if kind == "random":
        return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)
    value: npt.NDArray[np.float32] = np.full(shape, high if kind == "high" else low, dtype=np.float32)
    if kind == "checkerboard":
        value[np.indices(shape).sum(axis=0) % 2 == 1] = high
    return value


def _peak(output: Output) -> float:
    return output.range[1] - output.range[0] if output.range else 1.0


def _is_picture(output: Output) -> bool:
    return output.encoding is not None
