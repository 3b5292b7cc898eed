"""The fidelity gates: an artifact is only shipped when these hold.

Each gate is a function of a `Case` (what is tested, what it is compared with, on which samples) and returns
figures with their limits, one set for each output, measured by the kind of its encoding (`output_kinds`). The
figures of the first output have plain keys, those of another begin with its name: ``score.parity_relative``. A
gate that does not apply (no noise inputs, no reference at hand) returns nothing for that part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from cgan_runtime.contract import Condition, ImageEncoding, LabelEncoding
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.case import Case
from cgan_export.fidelity.labels import Figures, figure, of_output
from cgan_export.fidelity.noise_gate import noise_is_alive
from cgan_export.fidelity.output_kinds import Pair
from cgan_export.fidelity.probes import probe_conditions

__all__ = ["GATES", "run_gates"]

EXTREMES: Final = ("low", "high", "checkerboard", "random")
SHARED_ROWS: Final = 4  # samples of one condition
# A raw vector has no range; more than four standard deviations are rare in a normal one.
VECTOR_RANGE: Final = (-4.0, 4.0)


def run_gates(case: Case, progress: Callable[[str], None] = lambda _: None) -> Figures:
    """Every gate's figures; `progress` is told what is being checked."""
    figures: Figures = {}
    for title, gate in GATES.items():
        progress(title)
        figures.update(gate(case))
    return figures


def parity(case: Case) -> Figures:
    """Gate 1: the artifact gives what the reference gives from the same conditions and noise.

    On the samples, and on made-up images that show inaccurate arithmetic; wherever the function is defined.

    Raises:
        CheckFailedError: it is defined on no sample.
    """
    if case.reference is None:
        return {}
    compared = case.compared().kept()
    if not all(compared.values()):
        raise CheckFailedError(
            "on every image of the check PyTorch itself gives other results in FP32 than in float64, so nothing "
            "can be compared with it: name other images with --conditions."
        )
    made_up = [case.on_probe(name).compared().kept() for name in case.probes]
    figures: Figures = {}
    for measure in case.measures:
        name = measure.output.name
        found = measure.parity(compared[name], case.limits, case.against)
        if pairs := [pair for one in made_up for pair in one[name]]:
            found |= measure.parity(pairs, case.limits, "probes")
        figures |= of_output(found, case.contract, measure.output)
    return figures


def batch_invariance(case: Case) -> Figures:
    """Gate 2: sample i of a batch is what sample i is alone, with a condition of its own and with one for all.

    Several samples of one condition may be another computation: `Runner.shares_conditions`.
    """
    together = case.run(case.samples, case.seeds)
    alone = case.one_by_one()
    seeds = case.seeds[:SHARED_ROWS] if case.contract.noise and case.contract.conditions else []
    shared = case.run(case.repeated(len(seeds)), seeds) if seeds else {}
    of_first = [case.run(case.alone(0), [seed]) for seed in seeds]
    figures: Figures = {}
    for measure in case.measures:
        name = measure.output.name
        pairs = list(zip(together[name], alone[name], strict=True))
        pairs += [(shared[name][row], answer[name][0]) for row, answer in enumerate(of_first)]
        figures |= of_output(measure.batch(pairs, case.limits), case.contract, measure.output)
    return figures


def identical_rows(case: Case) -> Figures:
    """Gate 3: a batch of equal rows has equal results, whatever the position.

    Rows are equal when their conditions and their seeds are; without conditions the seeds alone make the rows.
    """
    results = case.run(case.repeated(4), [1] * 4)
    figures: Figures = {}
    for output in case.contract.outputs:
        rows = results[output.name]
        worst = float(np.abs(rows - rows[:1]).max()) if np.isfinite(rows).all() else 1.0
        figures |= of_output(figure("identical_rows_max_abs", worst, 0.0, "<="), case.contract, output)
    return figures


def finite(case: Case) -> Figures:
    """Gate 5: no NaN or infinity in any output, on the samples and on extreme conditions."""
    broken = sum(_nonfinite(value) for values in case.one_by_one().values() for value in values)
    for number, kind in enumerate(EXTREMES, 1):
        conditions = {
            c.name: extreme(c, case.samples[c.name].shape[1:], kind)[None] for c in case.contract.conditions
        }
        broken += sum(_nonfinite(value) for value in case.run(conditions, [number]).values())
    return figure("nonfinite_values", broken, 0, "<=")


def other_sizes(case: Case) -> Figures:
    """Gate 6, where the size is free: the artifact gives what PyTorch gives at other sizes too.

    At the smallest size and at one that is not square; each with an image at which the function is defined there.

    Raises:
        CheckFailedError: there is no such image.
    """
    sides = case.contract.sides
    free = next((c for c in case.contract.conditions if "h" in c.shape and "w" in c.shape), None)
    if sides is None or free is None or case.reference is None:
        return {}
    height, width = case.samples[free.name].shape[-2:]
    smallest = [(sides.min, sides.min)]
    while max(smallest[-1]) < max(height, width):
        smallest.append((2 * smallest[-1][0], 2 * smallest[-1][0]))
    found = [_at_first_size(case, sizes) for sizes in (smallest, [(height + sides.multiple, width)])]
    figures: Figures = {}
    for measure in case.measures:
        pairs = [pair for answers in found for pair in answers[measure.output.name]]
        figures |= of_output(measure.other_sizes(pairs, case.limits), case.contract, measure.output)
    return figures


def _at_first_size(case: Case, sizes: Sequence[tuple[int, int]]) -> dict[str, list[Pair]]:
    """Both answers at the first of the sizes, with the first of two images, at which the function is defined."""
    for size in sizes:
        for conditions in _at_size(case, size):
            found = case.on(conditions).compared()
            if found.defined[0]:
                return found.pairs
    tried = ", ".join(f"{width}x{height}" for height, width in sizes)
    raise CheckFailedError(
        f"at {tried} PyTorch itself gives other images in FP32 than in float64, so no other size can be checked: "
        "leave --dynamic-size out."
    )


def _at_size(case: Case, size: tuple[int, int]) -> Iterator[Tensors]:
    """The first sample at another size, cut or repeated; then the same with noise as images."""
    free = [c.name for c in case.contract.conditions if "h" in c.shape and "w" in c.shape]
    cut = {**case.alone(0), **{name: _tiled(case.samples[name][:1], size) for name in free}}
    yield cut
    if made_up := probe_conditions(case.contract, cut):
        yield made_up["noise"]


GATES: Final[dict[str, Callable[[Case], Figures]]] = {
    "parity": parity,
    "batch invariance": batch_invariance,
    "identical rows": identical_rows,
    "noise is alive": noise_is_alive,
    "finite on extremes": finite,
    "other sizes": other_sizes,
}


def extreme(condition: Condition, shape: tuple[int, ...], kind: str) -> Array:
    """One value [...] of a condition at the end of what it may be.

    Args:
        condition: labels get the first class, the last, one in the middle and a random one; images and vectors
            their smallest value, their largest, both in turn and random ones between them.
        shape: without free axes and without the batch axis.
        kind: one of EXTREMES.
    """
    rng = np.random.default_rng(0)
    if isinstance(condition.encoding, LabelEncoding):
        count = (condition.last_class or 0) + 1
        label = {"low": 0, "high": count - 1, "checkerboard": count // 2}.get(kind, int(rng.integers(count)))
        return np.full(shape, label, dtype=np.int64)
    low, high = _range_of(condition)
    if kind == "random":
        return rng.uniform(low, high, shape).astype(condition.dtype)
    value: Array = np.full(shape, high if kind == "high" else low, dtype=condition.dtype)
    if kind == "checkerboard":
        value[np.indices(shape).sum(axis=0) % 2 == 1] = high
    return value


def _range_of(condition: Condition) -> tuple[float, float]:
    if condition.range is not None:
        return condition.range
    if isinstance(condition.encoding, ImageEncoding):
        mean, std = np.asarray(condition.encoding.mean), np.asarray(condition.encoding.std)
        return float((-mean / std).min()), float(((1 - mean) / std).max())
    return VECTOR_RANGE


def _tiled(value: Array, size: tuple[int, int]) -> Array:
    """[1, C, h, w] repeated or cut to another size."""
    rows, columns = (np.arange(wanted) % have for wanted, have in zip(size, value.shape[-2:], strict=True))
    return np.ascontiguousarray(value[..., rows, :][..., columns])


def _nonfinite(values: Array) -> int:
    return int(np.size(values) - np.isfinite(values).sum())
