"""What no figure in a table shows: the worst sample, the spread as maps, and where a bad graph goes wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.generator import noise_tensors, sizes_of
from cgan_runtime.runners.base import Array

from cgan_export.artifacts.artifacts import BuildContext, BuiltArtifact
from cgan_export.fidelity.gates import SPREAD_SEEDS, Case, Limits, spread_samples
from cgan_export.fidelity.layer_compare import Divergence, layer_divergence
from cgan_export.fidelity.measures import psnr_db

__all__ = ["Diagnostics", "SpreadMaps", "gather"]


@dataclass(frozen=True, kw_only=True)
class SpreadMaps:
    """Standard deviation of every value over the seeds: ours, and PyTorch's under its own noise."""

    seeds: int
    ours: Array
    theirs: Array


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """The worst sample [C, H, W] of a variant, its spread, and the layers where the variant failed."""

    sample: int
    psnr_db: float
    condition: Array | None
    ours: Array
    theirs: Array
    spread: SpreadMaps | None
    divergence: Divergence | None


def gather(bench: BuildContext, variant: BuiltArtifact) -> Diagnostics:
    """Look again at what the gates saw; the runners remember most of it."""
    case = Case(
        subject=variant.generator,
        reference=bench.reference,
        live=bench.live,
        samples=bench.samples,
        limits=Limits.of(variant.precision),
    )
    output = bench.contract.outputs[0]
    span = output.range[1] - output.range[0] if output.range else 1.0
    pairs = [
        (
            case.main(variant.generator, case.alone(i), [i + 1])[0],
            case.main(bench.reference, case.alone(i), [i + 1])[0],
        )
        for i in range(case.count)
    ]
    scores = [psnr_db(a, b, span) if np.isfinite(a).all() else float("-inf") for a, b in pairs]
    worst = int(np.argmin(scores))
    image = bench.contract.image_condition
    pictured = image is not None and isinstance(image.encoding, ImageEncoding) and image.encoding == output.encoding
    return Diagnostics(
        sample=worst,
        psnr_db=scores[worst],
        condition=bench.samples[image.name][worst] if image is not None and pictured else None,
        ours=pairs[worst][0],
        theirs=pairs[worst][1],
        spread=_spread(case),
        divergence=None if variant.passed else _divergence(bench, variant, worst),
    )


def _spread(case: Case) -> SpreadMaps | None:
    if not case.contract.noise or case.live is None:
        return None
    ours, theirs = spread_samples(case)
    assert theirs is not None  # noqa: S101 - there is a live reference
    return SpreadMaps(seeds=SPREAD_SEEDS, ours=ours.std(axis=0, ddof=1), theirs=theirs.std(axis=0, ddof=1))


def _divergence(bench: BuildContext, variant: BuiltArtifact, sample: int) -> Divergence:
    conditions = {name: value[sample : sample + 1] for name, value in bench.samples.items()}
    sizes = sizes_of(bench.contract, conditions)
    inputs = {**conditions, **noise_tensors(bench.contract.noise, [sample + 1], [0], sizes)}
    floor = Limits.of(variant.precision).min_psnr_db
    return layer_divergence(bench.plain, onnx.load_from_string(variant.measured), inputs, floor_db=floor)
