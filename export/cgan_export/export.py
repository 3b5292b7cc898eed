"""Checkpoint to verified graph: read, fix the statistics, make the graph and its precisions, run the gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from cgan_runtime.contract import Contract, Statistics, image_size
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import Figure
from cgan_runtime.runners.base import Array, Runner
from cgan_trainer.generator import Generator
from cgan_trainer.readers import Choices, Loaded

from cgan_export.artifacts.artifacts import (
    ArtifactOptions,
    BuildContext,
    BuiltArtifact,
    build_artifact,
    case_of,
)
from cgan_export.engines.builder import Report
from cgan_export.engines.engines import Engine, EngineWish, Source, build_engines
from cgan_export.fidelity.caching_runner import CachingLive, CachingRunner
from cgan_export.fidelity.case import MIN_SAMPLES, Case
from cgan_export.fidelity.gates import run_gates
from cgan_export.fidelity.heatmap import has_pixels
from cgan_export.fidelity.labels import shortfalls
from cgan_export.fidelity.probes import probe_conditions, undefined_on
from cgan_export.fidelity.samples import calibration_conditions, sample_conditions
from cgan_export.graph.onnx_graph import onnx_from_generator, with_metadata
from cgan_export.graph.rewrites import FOR_ALL, FOR_CPUS, rewrite
from cgan_export.graph.sizes import SizeWish, sized
from cgan_export.graph.statistics import with_statistics
from cgan_export.precisions import Precision, artifacts_for
from cgan_export.pytorch.mode import FP64
from cgan_export.pytorch.runner import TorchRunner
from cgan_export.sources import examples_of, load_source

__all__ = ["Exported", "engines_of", "export_checkpoint", "export_generator", "require_passed"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A generator that became a graph, and what the gates measured; what a bundle is written from.

    Attributes:
        samples: the conditions [N, ...] it was tested on, without those at which it is undefined.
        undefined: where the generator itself is lost in rounding, in words (`undefined_on`).
        artifacts: the FP32 graph, then the other precisions that were asked for; the FP32 graph alone where it
            fails its gates, for nothing is made from what is wrong.
        context: what they were made from and compared with.
    """

    contract: Contract
    rewrites: dict[str, int]
    samples: dict[str, Array]
    artifacts: tuple[BuiltArtifact, ...]
    context: BuildContext
    undefined: tuple[str, ...] = ()

    @property
    def model(self) -> bytes:
        """The FP32 graph."""
        return self.artifacts[0].model

    @property
    def figures(self) -> dict[str, Figure]:
        """What the gates measured on the FP32 graph."""
        return self.artifacts[0].figures

    @property
    def generator(self) -> SeededGenerator:
        """Runs the very bytes of `model`."""
        return self.artifacts[0].generator

    @property
    def passed(self) -> bool:
        """Whether every figure of every artifact keeps to its limit."""
        return all(artifact.passed for artifact in self.artifacts)

    def kept(self) -> Exported | None:
        """The same with the artifacts that passed; None where the FP32 graph, which a bundle needs, did not."""
        passed = tuple(artifact for artifact in self.artifacts if artifact.passed)
        return replace(self, artifacts=passed) if self.artifacts[0].passed else None


def export_checkpoint(
    path: Path,
    *,
    name: str,
    statistics: Statistics | None = None,
    images: Path | None = None,
    choices: Choices | None = None,
    options: ArtifactOptions | None = None,
    size: SizeWish | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Loaded, Exported]:
    """Read a checkpoint and export its generator.

    Args:
        path: a checkpoint written by cgan-train, or by code the readers know.
        name: name of the model inside the graph.
        statistics: the policy for batch-norm; None takes the checkpoint's.
        images: a folder of conditions to test on; None takes the checkpoint's examples.
        choices: what a file from other code does not say.
        options: precisions besides FP32, and how they are made.
        size: another image size, or a free one; None takes the checkpoint's.
        progress: told what is being done.

    Raises:
        BadInputError: the checkpoint or an image cannot be used.
        UsageError: a choice does not fit the checkpoint.
        CheckFailedError: the graph is not a valid pure function.
    """
    progress("reading the checkpoint")
    if size is not None and size.fixed is not None:
        choices = replace(choices or Choices(), size=size.fixed)
    loaded, contract = load_source(path, choices, statistics)
    native, contract = contract, sized(loaded.generator, contract, size)
    tested = native if contract.sides is not None else contract  # a free size is tested at the checkpoint's first
    samples = sample_conditions(tested, examples_of(loaded), images)
    exported = export_generator(
        loaded.generator,
        contract,
        samples,
        name=name,
        family=loaded.family,
        statistics=statistics,
        options=options,
        progress=progress,
    )
    return loaded, exported


def export_generator(
    generator: Generator,
    contract: Contract,
    samples: dict[str, Array],
    *,
    name: str,
    family: str,
    statistics: Statistics | None = None,
    options: ArtifactOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """A generator of any family as a graph, with the figures of every gate (see `require_passed`).

    Raises:
        CheckFailedError: the graph draws random numbers, depends on its batch, or is not valid ONNX.
    """
    generator, contract = with_statistics(generator, contract, statistics)
    options = options or ArtifactOptions()
    progress("making the graph")
    plain = with_metadata(onnx_from_generator(generator, contract), name=name, family=family, contract=contract)
    rewrites = rewrite(plain, FOR_ALL)
    rewritten = {}
    for backend in options.backends:
        rewritten[backend] = onnx.ModelProto()
        rewritten[backend].CopyFrom(plain)
        changed = rewrite(rewritten[backend], FOR_CPUS[backend])
        rewrites |= changed if backend == "onnxruntime" else {}
    reference = TorchRunner(generator, contract)
    context = BuildContext(
        contract=contract,
        plain=plain,
        rewritten=rewritten,
        reference=SeededGenerator(CachingRunner(reference)),
        exact=SeededGenerator(CachingRunner(TorchRunner(generator, contract, mode=FP64))),
        live=CachingLive(reference),
        samples=samples,
        probes=probe_conditions(contract, samples),
        calibration=calibration_conditions(contract, options.calibrate, samples),
        io=options.io,
    )
    fp32 = build_artifact(context, "fp32", progress)
    case = case_of(context, fp32.generator, "fp32")
    context = _where_defined(context, case)
    artifacts = [fp32]
    if fp32.passed:
        _, *others = artifacts_for(options.precisions, options.backends)
        artifacts += [
            build_artifact(context, precision, progress, backend=backend) for backend, precision in others
        ]
    return Exported(
        contract=contract,
        rewrites=rewrites,
        samples=context.samples,
        artifacts=tuple(artifacts),
        context=context,
        undefined=undefined_on(case),
    )


def engines_of(
    exported: Exported | None, wish: EngineWish | None, report: Report | None = None
) -> tuple[Engine, ...]:
    """Engines from the FP16 and INT8 graphs; where they run here, through the same gates against PyTorch.

    None where nothing is wished, or nothing was exported.

    Raises:
        CganError: TensorRT is missing, or cannot build it.
        UsageError: batches or sides that the generator does not take.
        CheckFailedError: a graph that TensorRT cannot take as it is meant.
    """
    if exported is None or wish is None:
        return ()
    context, first = exported.context, exported.contract.image_condition

    def gates(runner: Runner, precision: Precision) -> dict[str, Figure]:
        return run_gates(case_of(context, SeededGenerator(CachingRunner(runner)), precision))

    output = next((output for output in exported.contract.outputs if has_pixels(output)), None)
    height, width = exported.samples[first.name].shape[-2:] if first is not None else (0, 0)
    return build_engines(
        [
            Source(precision=one.precision, model=one.model, io=one.io, kept=one.kept)
            for one in exported.artifacts
            if one.backend == "onnxruntime" and one.precision != "fp32"
        ],
        exported.contract,
        wish,
        size=None if output is None else image_size(output),
        usual=(height, width) if first is not None else None,
        gates=gates,
        report=report,
    )


def _where_defined(context: BuildContext, case: Case) -> BuildContext:
    """The context without the samples and made-up conditions at which the function is undefined.

    The others keep their numbers, and so their seeds: where noise decides, another seed may be undefined. If fewer
    than MIN_SAMPLES are left they are used again.
    """
    kept = np.flatnonzero(case.compared().defined)
    rows = kept[np.arange(max(len(kept), MIN_SAMPLES)) % len(kept)]
    numbers = tuple(case.seeds[row] for row in rows)
    probes = {name: one for name, one in context.probes.items() if case.on_probe(name).compared().defined[0]}
    samples = {name: value[rows] for name, value in context.samples.items()}
    return replace(context, samples=samples, numbers=numbers, probes=probes)


def require_passed(figures: dict[str, Figure], what: str, *, advice: str = "") -> None:
    """Stop where a figure is beyond its limit; `advice` is a further sentence: what can be done.

    Raises:
        CheckFailedError: lists every figure that failed.
    """
    failed = shortfalls(figures)
    if failed:
        sentence = f"{what} failed its fidelity gates: {'; '.join(failed)}."
        raise CheckFailedError(f"{sentence} {advice}".strip())


def opset(model: bytes) -> int:
    """The default-domain opset of a serialised model."""
    imports = onnx.load_from_string(model).opset_import
    return int(next(entry.version for entry in imports if not entry.domain))
