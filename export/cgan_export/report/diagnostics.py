"""What no figure in a table shows: the worst sample, the spread as maps, and where a bad graph goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from cgan_runtime.contract import Output
from cgan_runtime.generator import noise_tensors, sizes_of
from cgan_runtime.runners.base import Array

from cgan_export.artifacts.artifacts import BuildContext, BuiltArtifact
from cgan_export.fidelity.case import Case
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.noise_gate import SPREAD_SEEDS, spread_samples
from cgan_export.fidelity.output_kinds import OutputMeasure, Pair
from cgan_export.report.layer_compare import Divergence, layer_divergence

__all__ = ["Diagnostics", "SpreadMaps", "gather"]


@dataclass(frozen=True, kw_only=True)
class SpreadMaps:
    """Standard deviation of every value over the seeds: ours, and PyTorch's under its own noise."""

    seeds: int
    ours: Array
    theirs: Array


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """One output of an artifact, looked at closely.

    Attributes:
        output: which one.
        sample: number of its worst sample, from 0.
        psnr_db: that sample's quality (`OutputMeasure.quality_db`).
        condition: the image it was made from [C, H, W], where it is shown in the same way as the output.
        ours: the output without the batch axis, from the artifact.
        theirs: the same from PyTorch.
        spread: where the generator has noise.
        divergence: the layers, where the artifact failed; of the first output only.
        others: the same for the further outputs.
    """

    output: Output
    sample: int
    psnr_db: float
    condition: Array | None
    ours: Array
    theirs: Array
    spread: SpreadMaps | None
    divergence: Divergence | None
    others: tuple[Diagnostics, ...] = ()


def gather(context: BuildContext, artifact: BuiltArtifact) -> Diagnostics:
    """Collect what the report shows of an artifact; the runners have kept most answers since the gates."""
    case = Case(
        target=artifact.generator,
        reference=context.reference,
        live=context.live,
        samples=context.samples,
        limits=Limits.of(artifact.precision),
    )
    pairs, spread = case.pairs(), _spread(case)
    first, *further = (
        _of_output(context, measure, pairs[measure.output.name], spread.get(measure.output.name))
        for measure in case.measures
    )
    divergence = None if artifact.passed else _divergence(context, artifact, first.sample)
    return replace(first, divergence=divergence, others=tuple(further))


def _of_output(
    context: BuildContext, measure: OutputMeasure, pairs: list[Pair], spread: SpreadMaps | None
) -> Diagnostics:
    scores = measure.quality_db(pairs)
    worst = int(np.argmin(scores))
    image = context.contract.image_condition
    alike = image is not None and image.encoding == measure.output.encoding
    return Diagnostics(
        output=measure.output,
        sample=worst,
        psnr_db=scores[worst],
        condition=context.samples[image.name][worst] if image is not None and alike else None,
        ours=pairs[worst][0],
        theirs=pairs[worst][1],
        spread=spread,
        divergence=None,
    )


def _spread(case: Case) -> dict[str, SpreadMaps]:
    if not case.contract.noise or case.live is None:
        return {}
    ours, theirs = spread_samples(case)
    assert theirs is not None  # noqa: S101 - there is a live reference
    return {
        name: SpreadMaps(
            seeds=SPREAD_SEEDS, ours=ours[name].std(axis=0, ddof=1), theirs=theirs[name].std(axis=0, ddof=1)
        )
        for name in ours
    }


def _divergence(context: BuildContext, artifact: BuiltArtifact, sample: int) -> Divergence:
    conditions = {name: value[sample : sample + 1] for name, value in context.samples.items()}
    sizes = sizes_of(context.contract, conditions)
    inputs = {**conditions, **noise_tensors(context.contract.noise, [sample + 1], [0], sizes)}
    floor = Limits.of(artifact.precision).min_psnr_db
    return layer_divergence(context.plain, onnx.load_from_string(artifact.measured), inputs, floor_db=floor)
