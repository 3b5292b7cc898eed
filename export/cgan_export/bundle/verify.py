"""Run a bundle's gates again on this machine, from the golden samples, without torch or the checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Condition, ImageEncoding, Output
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import Artifact, Figure
from cgan_runtime.pictures import pixels_from_tensor, read_picture, tensor_from_picture
from cgan_runtime.runners.base import Array, Runner
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from cgan_export.artifacts.precision.fp16 import measurable
from cgan_export.fidelity.caching_runner import CachingRunner
from cgan_export.fidelity.gates import MIN_SAMPLES, Case, Limits, run_gates

__all__ = ["MAX_LEVELS", "QUANTILE", "golden_conditions", "verify_bundle"]

# The promise between different runtimes: at most 1 level on at most 0.1 % of the values.
MAX_LEVELS = 1
QUANTILE = 0.999


def verify_bundle(
    path_or_bundle: Bundle, progress: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, Figure]]:
    """By artifact, the figures of the gates that need no PyTorch; `model.onnx` (FP32) comes first.

    FP32 is held against the golden pictures of the machine that exported; the other precisions against FP32
    here, by the floor of their precision, because a picture of 8 bits cannot show 60 dB.

    Raises:
        BundleError: the bundle changed since it was read.
    """
    bundle = read_bundle(path_or_bundle.path)
    stored = golden_conditions(bundle)
    rows = [stored[i % len(stored)] for i in range(MIN_SAMPLES)]
    samples = _stacked(bundle, rows)
    fp32 = SeededGenerator(CachingRunner(bundle.runner()))
    progress("golden samples")
    results: dict[str, dict[str, Figure]] = {}
    for artifact in sorted(bundle.manifest.artifacts, key=lambda a: a.precision != "fp32"):
        if artifact.backend != "onnxruntime":
            continue
        own = artifact.precision == "fp32"
        subject = fp32 if own else SeededGenerator(CachingRunner(_runner(bundle, artifact)))
        limits = Limits.of(artifact.precision)
        case = Case(subject=subject, reference=None if own else fp32, live=None, samples=samples, limits=limits)
        figures = {"golden_levels": _golden_levels(bundle, fp32, stored)} if own else {}
        gates = run_gates(case, lambda text, a=artifact: progress(f"{a.precision}: {text}"))  # type: ignore[misc]  # a is bound now
        results[artifact.path] = {**figures, **{_against_fp32(key): figure for key, figure in gates.items()}}
    return results


def _runner(bundle: Bundle, artifact: Artifact) -> Runner:
    with bundle.runner(precision=artifact.precision):
        pass  # the artifact itself must load here; what is measured may be a graph made from it
    return OnnxRuntimeRunner(measurable(bundle.read(artifact), artifact.precision), bundle.manifest.contract)


def golden_conditions(bundle: Bundle) -> list[dict[str, Array]]:
    """The conditions of every golden sample, without the batch axis."""
    conditions = bundle.manifest.contract.conditions
    return [
        {c.name: _condition(bundle, golden.conditions[c.name], c) for c in conditions}
        for golden in bundle.manifest.golden
    ]


def _stacked(bundle: Bundle, rows: list[dict[str, Array]]) -> dict[str, Array]:
    return {c.name: np.stack([row[c.name] for row in rows]) for c in bundle.manifest.contract.conditions}


def _golden_levels(bundle: Bundle, generator: SeededGenerator, stored: list[dict[str, Array]]) -> Figure:
    worst = 0.0
    for golden, conditions in zip(bundle.manifest.golden, stored, strict=True):
        result = generator.generate({k: v[None] for k, v in conditions.items()}, [golden.seed], [golden.draw])
        for output in bundle.manifest.contract.outputs:
            worst = max(worst, _levels(bundle, golden.outputs[output.name], result[output.name][0], output))
    return Figure(value=worst, limit=MAX_LEVELS, rule="<=", unit="levels")


def _against_fp32(key: str) -> str:
    return key.replace("parity_", "fp32_") if key.startswith("parity_") else key


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
