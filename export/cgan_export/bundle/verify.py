"""Run a bundle's gates again on this machine, from the golden samples, without torch or the checkpoint."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, Bundle
from cgan_runtime.errors import BundleError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.golden import golden_conditions, golden_output
from cgan_runtime.manifest import Artifact, Figure
from cgan_runtime.runners.base import Array, Runner
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from cgan_export.engines.running import why_not_run
from cgan_export.fidelity.caching_runner import CachingRunner
from cgan_export.fidelity.case import MIN_SAMPLES, Case
from cgan_export.fidelity.gates import run_gates
from cgan_export.fidelity.labels import Figures, of_output
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.output_kinds import measure_of

__all__ = ["built_elsewhere", "golden_figures", "measure_beside_fp32", "open_artifact", "verify_bundle"]


def verify_bundle(bundle: Bundle, progress: Callable[[str], None] = lambda _: None) -> dict[str, dict[str, Figure]]:
    """By artifact, the figures of the gates that need no PyTorch; `model.onnx` (FP32) comes first.

    FP32 is compared with the golden outputs of the machine that exported; the other precisions with FP32 here, by
    the floor of their precision, because an image of 8 bits cannot show 60 dB.

    Raises:
        BundleError: the bundle changed since it was read, or has no golden samples.
    """
    stored = golden_conditions(bundle)
    samples = _samples(bundle, stored)
    fp32 = SeededGenerator(CachingRunner(bundle.runner(precision="fp32")))
    progress("golden samples")
    skipped = built_elsewhere(bundle)
    results: dict[str, dict[str, Figure]] = {}
    for artifact in sorted(
        bundle.manifest.artifacts,
        key=lambda a: (a.precision != "fp32", a.backend != DEFAULT_BACKEND, a.plan is not None),
    ):
        if artifact.label in skipped:
            continue
        own = (artifact.backend, artifact.precision) == (DEFAULT_BACKEND, DEFAULT_PRECISION)
        case = Case(
            target=fp32 if own else SeededGenerator(CachingRunner(open_artifact(bundle, artifact))),
            reference=None if own else fp32,
            live=None,
            samples=samples,
            limits=Limits.of(artifact.precision),
            against="fp32",
        )
        figures = golden_figures(bundle, fp32) if own else {}
        gates = run_gates(case, lambda text, a=artifact: progress(f"{a.label}: {text}"))  # type: ignore[misc]  # a is bound now
        results[artifact.label] = {**figures, **gates}
    return results


def built_elsewhere(bundle: Bundle) -> dict[str, str]:
    """By label, why an artifact cannot be run here: it has no figures then."""
    reasons = {a.label: why_not_run(a.backend, a.plan, a.precision) for a in bundle.manifest.artifacts}
    return {label: reason for label, reason in reasons.items() if reason is not None}


def measure_beside_fp32(bundle: Bundle, runner: Runner, precision: str) -> Figures:
    """The gates of an artifact that is not in the bundle yet, against FP32 on the golden conditions.

    Raises:
        BundleError: the bundle changed since it was read, or has no golden samples.
    """
    case = Case(
        target=SeededGenerator(CachingRunner(runner)),
        reference=SeededGenerator(CachingRunner(bundle.runner(precision="fp32"))),
        live=None,
        samples=_samples(bundle, golden_conditions(bundle)),
        limits=Limits.of(precision),
        against="fp32",
    )
    return run_gates(case)


def open_artifact(bundle: Bundle, artifact: Artifact) -> Runner:
    """The artifact's runner; of FP16 one that rounds as FP16 does, made from the artifact that must load here.

    Raises:
        BundleError: it cannot be loaded, or may hold program code and nobody vouches for it.
    """
    if artifact.plan is not None:
        kind = bundle.require_trusted(artifact)
        return kind.open(bundle.read(artifact), bundle.manifest.contract)
    runner = bundle.runner(backend=artifact.backend, precision=artifact.precision)
    if artifact.precision != "fp16":
        return runner
    runner.close()
    from cgan_export.artifacts.precision.fp16 import measurable  # needs onnx, which FP32 alone does not

    return OnnxRuntimeRunner(measurable(bundle.read(artifact), artifact.precision), bundle.manifest.contract)


def _samples(bundle: Bundle, stored: list[dict[str, Array]]) -> dict[str, Array]:
    """The golden conditions, repeated up to the number that the gates need."""
    if not stored:
        raise BundleError(f"{bundle.path} has no golden samples to verify with: export the checkpoint again.")
    rows = [stored[i % len(stored)] for i in range(MIN_SAMPLES)]
    return {c.name: np.stack([row[c.name] for row in rows]) for c in bundle.manifest.contract.conditions}


def golden_figures(bundle: Bundle, generator: SeededGenerator) -> Figures:
    """Every output of every golden sample against the stored one.

    Args:
        bundle: with golden samples.
        generator: its FP32 model, as it runs here.

    Raises:
        BundleError: the bundle changed since it was read.
    """
    contract = bundle.manifest.contract
    results = [
        generator.generate({name: value[None] for name, value in conditions.items()}, [golden.seed], [golden.draw])
        for golden, conditions in zip(bundle.manifest.golden, golden_conditions(bundle), strict=True)
    ]
    figures: Figures = {}
    for output in contract.outputs:
        pairs = [
            (result[output.name][0], golden_output(bundle, golden, output))
            for result, golden in zip(results, bundle.manifest.golden, strict=True)
        ]
        figures |= of_output(measure_of(output).golden(pairs), contract, output)
    return figures
