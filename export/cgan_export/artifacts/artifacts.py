"""The artifacts of one export: the FP32 graph, and the same graph in other precisions, each through the gates.

fp32   rewritten for each CPU runtime                             model.onnx, model.openvino.onnx
fp16   from the graph before those rewrites, for TensorRT         model.fp16.onnx
bf16   OpenVINO's FP32 graph, computed in bfloat16                model.openvino.onnx
int8   rewritten for CPU runtimes; for ONNX Runtime with fewer
       transposed convolutions: those have no 8-bit kernel        model.int8.onnx, model.int8.openvino.onnx

Each is measured on the runtime that will execute it: a gate passed on one says nothing of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
from cgan_runtime.contract import Contract, ImageEncoding
from cgan_runtime.generator import SeededGenerator, noise_tensors, sizes_of
from cgan_runtime.manifest import Figure, artifact_label
from cgan_runtime.runners import runner_kind
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.artifacts.precision.fp16 import measurable
from cgan_export.artifacts.precision.layers import Layer
from cgan_export.artifacts.precision.search import layers_to_keep
from cgan_export.artifacts.reducible import Reducible, in_fp16, in_int8
from cgan_export.fidelity.caching_runner import CachingRunner
from cgan_export.fidelity.case import Case, LiveReference, worst_psnr_db
from cgan_export.fidelity.gates import run_gates
from cgan_export.fidelity.limits import Limits
from cgan_export.graph.lint import lint
from cgan_export.precisions import ARTIFACT_FILES, CpuBackend, Precision

__all__ = [
    "ArtifactOptions",
    "BuildContext",
    "BuiltArtifact",
    "build_artifact",
    "case_of",
    "feed_of",
    "search_case",
]

IoType = Literal["fp32", "fp16"]
# Other images than those that layers are searched on must hold the floor too. The ranges of INT8 fit the images
# that they were taken from: the worst of 160 others was 1 dB below the worst of these 40 (docs/precision.md).
SEARCH_MARGIN_DB: Final[Mapping[Precision, float]] = {"fp16": 1.0, "int8": 2.0}
MAX_CALIBRATION: Final = 32


@dataclass(frozen=True, kw_only=True)
class ArtifactOptions:
    """Which artifacts to make.

    Attributes:
        precisions: FP32 first.
        backends: those that execute them, ONNX Runtime first; see `artifacts_for`.
        io: type of the inputs and outputs of the FP16 file.
        calibrate: folder of images for INT8; None calibrates on the samples of the gates.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    backends: tuple[CpuBackend, ...] = ("onnxruntime",)
    io: IoType = "fp32"
    calibrate: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BuiltArtifact:
    """An artifact that is not yet written: its bytes, what the gates measured, and the session that was measured.

    Attributes:
        measured: the graph that the gates ran: `model` itself, or for FP16 the one that rounds on a CPU too.
        backend: what executes it.
        io: type of the float inputs and outputs of the file. The runner's side is float32 in any case.
        kept: layers kept in FP32, for FP16 and INT8.
        kept_share: their share of the multiply-adds.
    """

    precision: Precision
    model: bytes
    measured: bytes
    figures: dict[str, Figure]
    generator: SeededGenerator
    backend: CpuBackend = "onnxruntime"
    io: IoType = "fp32"
    kept: tuple[str, ...] = ()
    kept_share: float = 0.0

    @property
    def path(self) -> str:
        """Name of its file in the bundle."""
        return ARTIFACT_FILES[self.backend, self.precision]

    @property
    def label(self) -> str:
        """What it is called among the artifacts of its bundle."""
        return artifact_label(self.path, self.backend, self.precision)

    @property
    def passed(self) -> bool:
        """Whether every figure keeps to its limit."""
        return all(figure.passed for figure in self.figures.values())


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What every artifact is made from and compared with.

    Attributes:
        plain: the graph as exported.
        rewritten: the same after the rewrites for each CPU runtime.
        reference: PyTorch.
        exact: PyTorch in float64.
        live: PyTorch with its own noise.
        samples: conditions [N, ...] to test on.
        numbers: of the samples, see `Case`.
        probes: made-up conditions to compare on as well.
        calibration: conditions [M, ...] to calibrate INT8 on.
        io: type of the inputs and outputs of the FP16 file.
    """

    contract: Contract
    plain: onnx.ModelProto
    rewritten: Mapping[CpuBackend, onnx.ModelProto]
    reference: SeededGenerator
    exact: SeededGenerator | None
    live: LiveReference | None
    samples: dict[str, Array]
    numbers: tuple[int, ...] = ()
    probes: dict[str, Tensors] = field(default_factory=dict)
    calibration: dict[str, Array] = field(default_factory=dict)
    io: IoType = "fp32"


def build_artifact(
    context: BuildContext,
    precision: Precision,
    progress: Callable[[str], None] = lambda _: None,
    *,
    backend: CpuBackend = "onnxruntime",
) -> BuiltArtifact:
    """Make the graph of one precision and run every gate on it.

    Raises:
        CheckFailedError: there is no valid graph of this precision.
        CganError: the backend is not installed, or this CPU does not have the precision.
    """
    name = precision if backend == "onnxruntime" else f"{backend}/{precision}"

    def progress_here(text: str) -> None:
        progress(f"{name}: {text}")

    kept: tuple[Layer, ...] = ()
    share = 0.0
    if precision in ("fp32", "bf16"):
        model = context.rewritten[backend]
    else:
        reducible = _reducible(context, backend, precision, progress_here)
        kept = _kept(context, reducible, backend, precision, progress_here)
        model, share = reducible.without(kept), reducible.share(kept)
    lint(model)
    data = model.SerializeToString(deterministic=True)
    measured = measurable(data, precision)
    generator = _generator(measured, context.contract, backend, precision)
    case = case_of(context, generator, precision)
    figures = run_gates(case, progress_here)
    return BuiltArtifact(
        precision=precision,
        backend=backend,
        model=data,
        measured=measured,
        figures=figures,
        generator=generator,
        io=context.io if precision == "fp16" else "fp32",
        kept=tuple(layer.name for layer in kept),
        kept_share=share,
    )


def _reducible(
    context: BuildContext, backend: CpuBackend, precision: Precision, progress: Callable[[str], None]
) -> Reducible:
    if precision == "fp16":
        return in_fp16(context.plain, io_fp16=context.io == "fp16")
    return in_int8(context.plain, backend, _calibration_feeds(context), progress)


def _kept(
    context: BuildContext,
    reducible: Reducible,
    backend: CpuBackend,
    precision: Precision,
    progress: Callable[[str], None],
) -> tuple[Layer, ...]:
    """The layers to keep in FP32 so that `search_case` holds the floor, and SEARCH_MARGIN_DB more."""

    def score_db(chosen: Sequence[Layer]) -> float:
        data = reducible.with_layers(chosen).SerializeToString(deterministic=True)
        generator = _generator(measurable(data, precision), context.contract, backend, precision)
        return worst_psnr_db(search_case(context, generator, precision))

    floor = Limits.of(precision).min_psnr_db + SEARCH_MARGIN_DB[precision]
    word = precision.upper()
    return layers_to_keep(reducible.layers, score_db, floor_db=floor, precision=word, progress=progress)


def search_case(context: BuildContext, target: SeededGenerator, precision: Precision) -> Case:
    """What layers are searched on: the samples of the gates, and for INT8 the images that it is calibrated on too.

    One-coloured images of a folder are left out: instance normalisation of one is lost in rounding, whatever
    executes (`Case.compared`), and no set of layers would hold.
    """
    case = case_of(context, target, precision)
    if precision != "int8" or not context.calibration:
        return case
    rows = _rows_with_content(context.contract, context.calibration)
    samples = {n: np.concatenate([value, context.calibration[n][rows]]) for n, value in case.samples.items()}
    first = max(case.seeds) + 1
    return replace(case, samples=samples, numbers=(*case.seeds, *range(first, first + len(rows))))


def _rows_with_content(contract: Contract, conditions: Tensors) -> npt.NDArray[np.intp]:
    images = [conditions[c.name] for c in contract.conditions if isinstance(c.encoding, ImageEncoding)]
    return np.flatnonzero(np.logical_and.reduce([np.ptp(image, axis=(2, 3)).max(axis=1) > 0 for image in images]))


def _calibration_feeds(context: BuildContext) -> list[dict[str, Array]]:
    """Inputs of the graph [1, ...] to calibrate on, the noise of each from its own seed."""
    conditions = context.calibration or context.samples
    count = min(len(next(iter(conditions.values()))) if conditions else MAX_CALIBRATION, MAX_CALIBRATION)
    return [feed_of(context.contract, conditions, row) for row in range(count)]


def feed_of(contract: Contract, conditions: Tensors, row: int) -> dict[str, Array]:
    """Every input of the graph for one row of the conditions [N, ...], with noise of the seed row + 1."""
    given = {name: np.ascontiguousarray(value[row : row + 1]) for name, value in conditions.items()}
    return {**given, **noise_tensors(contract.noise, [row + 1], [0], sizes_of(contract, given))}


def _generator(data: bytes, contract: Contract, backend: CpuBackend, precision: Precision) -> SeededGenerator:
    return SeededGenerator(CachingRunner(runner_kind(backend).open(data, contract, precision=precision)))


def case_of(context: BuildContext, target: SeededGenerator, precision: Precision) -> Case:
    """What the gates look at: a runner of the artifact of a precision, beside PyTorch."""
    return Case(
        target=target,
        reference=context.reference,
        # The limits of the other precisions are far above the rounding of FP32, and float64 takes long.
        exact=context.exact if precision == "fp32" else None,
        live=context.live,
        samples=context.samples,
        numbers=context.numbers,
        # An 8-bit file is only good on images like those it was calibrated on.
        probes={} if precision == "int8" else context.probes,
        limits=Limits.of(precision),
    )
