"""Gate 4: the seed matters, every noise input matters, and the spread is that of the reference's own noise."""

from __future__ import annotations

from typing import Final

import numpy as np
from cgan_runtime.generator import noise_tensors, sizes_of
from cgan_runtime.runners.base import Array

from cgan_export.fidelity.case import Case
from cgan_export.fidelity.labels import Figures, figure, of_output
from cgan_export.fidelity.measures import spread_sigmas

__all__ = ["SPREAD_SEEDS", "noise_is_alive", "spread_samples"]

SPREAD_SEEDS: Final = 32
SPREAD_BATCHES: Final = 4
SMALLEST_CHANGE: Final = 1e-6
MAX_SIGMAS: Final = 5.0


def noise_is_alive(case: Case) -> Figures:
    """The figures of gate 4; nothing for a generator without noise.

    A seed or a noise input is alive when it changes an output, whichever (a score may well ignore it). The spread
    is compared for each of them: one that should change with the noise and does not is found there.
    """
    if not case.contract.noise:
        return {}
    ours, theirs = spread_samples(case)
    others = (_effect(case, ours, 0, ours, row) for row in range(1, SPREAD_SEEDS))
    figures = figure("other_seed_max_abs", min(others), SMALLEST_CHANGE, ">=")
    figures |= figure("weakest_noise_input_max_abs", _weakest_input(case), SMALLEST_CHANGE, ">=")
    for output in case.contract.outputs if theirs is not None else ():
        assert theirs is not None  # noqa: S101 - the line above
        sigmas = spread_sigmas(ours[output.name], theirs[output.name])
        figures |= of_output(figure("spread_error_sigmas", sigmas, MAX_SIGMAS, "<="), case.contract, output)
    return figures


def spread_samples(case: Case) -> tuple[dict[str, Array], dict[str, Array] | None]:
    """By output, the first sample under SPREAD_SEEDS seeds, and as often under the live reference's own noise.

    In batches, because rows are independent and the weights of a large net are then read once for many rows.
    Without conditions the rows come from the seeds alone.
    """
    rows = SPREAD_SEEDS // SPREAD_BATCHES
    starts = range(1, SPREAD_SEEDS + 1, rows)
    conditions = case.repeated(rows)
    ours = _joined([case.run(conditions, list(range(start, start + rows))) for start in starts])
    if case.live is None:
        return ours, None
    theirs = _joined([case.live.infer_live(conditions, rows, start) for start in starts])
    for name, values in theirs.items():
        assert len(values) == SPREAD_SEEDS, f"{name}: {len(values)} live rows"  # noqa: S101 - a wrong reference
    return ours, theirs


def _weakest_input(case: Case) -> float:
    """Smallest effect of redrawing one noise input while the others stay."""
    contract, conditions, runner = case.contract, case.alone(0), case.target.runner
    sizes = sizes_of(contract, conditions)
    base = {**conditions, **noise_tensors(contract.noise, [1], [0], sizes)}
    plain = runner.infer(base)
    changed = (runner.infer({**base, **noise_tensors([item], [2], [0], sizes)}) for item in contract.noise)
    return min(_effect(case, plain, 0, other, 0) for other in changed)


def _effect(case: Case, before: dict[str, Array], i: int, after: dict[str, Array], j: int) -> float:
    """The largest change of any output between row i of `before` and row j of `after`."""
    return max(m.effect(before[m.output.name][i], after[m.output.name][j]) for m in case.measures)


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
