"""Run a bundle's gates again on this machine, from the golden samples, without torch or the checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Condition, ImageEncoding, Output
from cgan_runtime.manifest import Figure
from cgan_runtime.pictures import pixels_from_tensor, read_picture, tensor_from_picture
from cgan_runtime.runners.base import Array

from cgan_export.gates import MIN_SAMPLES, Case, Limits, run_gates

__all__ = ["verify_bundle"]

# The promise between different runtimes: at most 1 level on at most 0.1 % of the values.
MAX_LEVELS = 1
QUANTILE = 0.999


def verify_bundle(path_or_bundle: Bundle, progress: Callable[[str], None] = lambda _: None) -> dict[str, Figure]:
    """Figures of the gates that need no PyTorch, and of the golden samples.

    Raises:
        BundleError: the bundle changed since it was read.
    """
    bundle = read_bundle(path_or_bundle.path)
    generator = bundle.generator()
    contract = bundle.manifest.contract
    progress("golden samples")
    worst = 0.0
    stored: list[dict[str, Array]] = []
    for golden in bundle.manifest.golden:
        conditions = {c.name: _condition(bundle, golden.conditions[c.name], c) for c in contract.conditions}
        stored.append(conditions)
        result = generator.generate({k: v[None] for k, v in conditions.items()}, [golden.seed], [golden.draw])
        for output in contract.outputs:
            worst = max(worst, _levels(bundle, golden.outputs[output.name], result[output.name][0], output))
    figures = {"golden_levels": Figure(value=worst, limit=MAX_LEVELS, rule="<=", unit="levels")}
    rows = [stored[i % len(stored)] for i in range(MIN_SAMPLES)]
    samples = {c.name: np.stack([row[c.name] for row in rows]) for c in contract.conditions}
    precision = bundle.artifact().precision
    case = Case(subject=generator, reference=None, live=None, samples=samples, limits=Limits.of(precision))
    return {**figures, **run_gates(case, progress)}


def _condition(bundle: Bundle, path: str, condition: Condition) -> Array:
    if isinstance(condition.encoding, ImageEncoding):
        return tensor_from_picture(read_picture(bundle.path / path), condition)
    return np.asarray(np.load(bundle.path / path, allow_pickle=False))


def _levels(bundle: Bundle, path: str, result: Array, output: Output) -> float:
    """8-bit levels between the result and the golden output that 99.9 % of the values keep within."""
    if output.encoding is None:
        golden = np.load(bundle.path / path, allow_pickle=False)
        span = output.range[1] - output.range[0] if output.range else 1.0
        return float(np.quantile(np.abs(golden - result), QUANTILE) / span * 256)
    stored = np.asarray(read_picture(bundle.path / path)).astype(np.int16)
    ours = pixels_from_tensor(result, output.encoding).astype(np.int16)
    difference = np.abs(stored - ours)
    return float(max(np.quantile(difference, QUANTILE), difference.max() - MAX_LEVELS))
