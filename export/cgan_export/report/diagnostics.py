"""What no figure in a table shows: the worst sample, the spread as maps, and where a bad graph goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
from cgan_runtime.contract import Condition, ImageEncoding, Output
from cgan_runtime.generator import noise_tensors, sizes_of
from cgan_runtime.runners.base import Array

from cgan_export.artifacts.artifacts import BuildContext, BuiltArtifact, case_of
from cgan_export.fidelity.case import Case
from cgan_export.fidelity.heatmap import Pixels, condition_pixels
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
        sample: its worst sample: "number 3" as in `Case.numbers`, or a kind of made-up images.
        psnr_db: that sample's quality (`OutputMeasure.quality_db`).
        condition: the first image it was made from, [H, W] or [H, W, C]; None: it is made from none.
        ours: the output without the batch axis, from the artifact.
        theirs: the same from PyTorch.
        spread: where the generator has noise.
        divergence: the layers, where the artifact failed; of the first output only.
        others: the same for the further outputs.
    """

    output: Output
    sample: str
    psnr_db: float
    condition: Pixels | None
    ours: Array
    theirs: Array
    spread: SpreadMaps | None
    divergence: Divergence | None
    others: tuple[Diagnostics, ...] = ()


def gather(context: BuildContext, artifact: BuiltArtifact) -> Diagnostics:
    """Collect what the report shows of an artifact; the runners have kept most answers since the gates."""
    case = case_of(context, artifact.generator, artifact.precision)
    compared, spread = list(_compared(case)), _spread(case)
    first, *further = (
        _of_output(case, measure, compared, spread.get(measure.output.name)) for measure in case.measures
    )
    if artifact.passed or artifact.backend != "onnxruntime":  # of another runtime no layer can be looked at
        return replace(first, others=tuple(further))
    worst, _ = _worst(case.measures[0], compared)
    return replace(first, divergence=_divergence(context, artifact, worst), others=tuple(further))


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """One row of conditions on which the artifact was compared, alone, with its seed and both answers by output."""

    name: str
    conditions: dict[str, Array]
    seed: int
    pairs: dict[str, Pair]


def _compared(case: Case) -> Iterator[_Compared]:
    """The samples and the made-up conditions, without those at which the function is undefined."""
    samples = [f"number {number}" for number in case.seeds]
    for part, names in ((case, samples), *((case.on_probe(name), [name]) for name in case.probes)):
        compared = part.compared()
        for row, name in enumerate(names):
            if compared.defined[row]:
                yield _Compared(
                    name=name,
                    conditions=part.alone(row),
                    seed=part.seeds[row],
                    pairs={output: pairs[row] for output, pairs in compared.pairs.items()},
                )


def _worst(measure: OutputMeasure, compared: list[_Compared]) -> tuple[_Compared, float]:
    """The sample of the lowest quality, and that quality."""
    scores = measure.quality_db([one.pairs[measure.output.name] for one in compared])
    row = int(np.argmin(scores))
    return compared[row], scores[row]


def _of_output(
    case: Case, measure: OutputMeasure, compared: list[_Compared], spread: SpreadMaps | None
) -> Diagnostics:
    worst, psnr_db = _worst(measure, compared)
    pair = worst.pairs[measure.output.name]
    image = case.contract.image_condition
    return Diagnostics(
        output=measure.output,
        sample=worst.name,
        psnr_db=psnr_db,
        condition=None if image is None else _pixels(worst.conditions[image.name][0], image),
        ours=pair[0],
        theirs=pair[1],
        spread=spread,
        divergence=None,
    )


def _pixels(value: Array, condition: Condition) -> Pixels:
    assert isinstance(condition.encoding, ImageEncoding)  # noqa: S101 - it is the contract's image
    return condition_pixels(value, condition.encoding)


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


def _divergence(context: BuildContext, artifact: BuiltArtifact, worst: _Compared) -> Divergence:
    sizes = sizes_of(context.contract, worst.conditions)
    inputs = {**worst.conditions, **noise_tensors(context.contract.noise, [worst.seed], [0], sizes)}
    floor = Limits.of(artifact.precision).min_psnr_db
    return layer_divergence(context.plain, onnx.load_from_string(artifact.measured), inputs, floor_db=floor)
