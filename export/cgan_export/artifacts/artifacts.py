"""The artifacts of one export: the FP32 graph, and the same graph in other precisions, each through the gates.

fp32   rewritten for CPU runtimes                                 model.onnx
fp16   from the graph before those rewrites, for TensorRT        model.fp16.onnx
int8   from the rewritten graph: what was a transposed
convolution is then a convolution, which has an
8-bit kernel everywhere                                    model.int8.onnx
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from cgan_runtime.contract import Contract
from cgan_runtime.generator import SeededGenerator, noise_tensors, sizes_of
from cgan_runtime.manifest import Figure
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from cgan_export.artifacts.precision.calibration import activation_scales
from cgan_export.artifacts.precision.fp16 import half_precision, measurable
from cgan_export.artifacts.precision.int8 import Layer, quantizable_layers, with_qdq
from cgan_export.artifacts.precision.search import layers_to_keep
from cgan_export.fidelity.caching_runner import CachingRunner
from cgan_export.fidelity.case import Case, LiveReference, worst_psnr_db
from cgan_export.fidelity.gates import run_gates
from cgan_export.fidelity.limits import Limits
from cgan_export.graph.lint import lint
from cgan_export.precisions import PRECISIONS, Precision

__all__ = ["ArtifactOptions", "BuildContext", "BuiltArtifact", "build_artifact", "case_of"]

IoType = Literal["fp32", "fp16"]
SEARCH_MARGIN_DB: Final = 1.0  # other images than those searched on must hold the floor too
MAX_CALIBRATION: Final = 32


@dataclass(frozen=True, kw_only=True)
class ArtifactOptions:
    """Which artifacts to make.

    Attributes:
        precisions: FP32 first.
        io: type of the inputs and outputs of the FP16 file.
        calibrate: folder of images for INT8; None calibrates on the samples of the gates.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    io: IoType = "fp32"
    calibrate: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BuiltArtifact:
    """An artifact that is not yet written: its bytes, what the gates measured, and the session that was measured.

    Attributes:
        measured: the graph that the gates ran: `model` itself, or for FP16 the one that rounds on a CPU too.
        io: type of the float inputs and outputs of the file. The runner's side is float32 in any case.
        kept: layers kept in FP32, for INT8.
        kept_share: their share of the multiply-adds.
    """

    precision: Precision
    model: bytes
    measured: bytes
    figures: dict[str, Figure]
    generator: SeededGenerator
    io: IoType = "fp32"
    kept: tuple[str, ...] = ()
    kept_share: float = 0.0

    @property
    def path(self) -> str:
        """Its name in the bundle."""
        return PRECISIONS[self.precision]

    @property
    def passed(self) -> bool:
        """Whether every figure keeps to its limit."""
        return all(figure.passed for figure in self.figures.values())


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What every artifact is made from and compared with.

    Attributes:
        plain: the graph as exported.
        rewritten: the same after the rewrites for CPU runtimes.
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
    rewritten: onnx.ModelProto
    reference: SeededGenerator
    exact: SeededGenerator | None
    live: LiveReference | None
    samples: dict[str, Array]
    numbers: tuple[int, ...] = ()
    probes: dict[str, Tensors] = field(default_factory=dict)
    calibration: dict[str, Array] = field(default_factory=dict)
    io: IoType = "fp32"


def build_artifact(
    context: BuildContext, precision: Precision, progress: Callable[[str], None] = lambda _: None
) -> BuiltArtifact:
    """Make the graph of one precision and run every gate on it.

    Raises:
        CheckFailedError: there is no valid graph of this precision.
    """
    kept: tuple[Layer, ...] = ()
    share = 0.0
    if precision == "fp32":
        model = context.rewritten
    elif precision == "fp16":
        progress("fp16: making the graph")
        model = half_precision(context.plain, io_fp16=context.io == "fp16")
    else:
        model, kept, share = _int8(context, progress)
    lint(model)
    data = model.SerializeToString(deterministic=True)
    measured = measurable(data, precision)
    generator = _generator(measured, context.contract)
    case = case_of(context, generator, precision)
    figures = run_gates(case, lambda text: progress(f"{precision}: {text}"))
    return BuiltArtifact(
        precision=precision,
        model=data,
        measured=measured,
        figures=figures,
        generator=generator,
        io=context.io if precision == "fp16" else "fp32",
        kept=tuple(layer.name for layer in kept),
        kept_share=share,
    )


def _int8(
    context: BuildContext, progress: Callable[[str], None]
) -> tuple[onnx.ModelProto, tuple[Layer, ...], float]:
    model = context.rewritten
    layers = quantizable_layers(model)
    progress("int8: calibrating")
    conditions = context.calibration or context.samples
    count = min(len(next(iter(conditions.values()))) if conditions else MAX_CALIBRATION, MAX_CALIBRATION)
    feeds = [_feed(context.contract, conditions, row) for row in range(count)]
    scales = activation_scales(model, sorted({layer.data for layer in layers}), feeds)

    def score_db(chosen: Sequence[Layer]) -> float:
        data = with_qdq(model, chosen, scales).SerializeToString(deterministic=True)
        generator = _generator(data, context.contract)
        return worst_psnr_db(case_of(context, generator, "int8"))

    floor = Limits.of("int8").min_psnr_db + SEARCH_MARGIN_DB
    kept = layers_to_keep(layers, score_db, floor_db=floor, progress=lambda text: progress(f"int8: {text}"))
    share = sum(layer.macs for layer in kept) / sum(layer.macs for layer in layers)
    return with_qdq(model, [layer for layer in layers if layer not in kept], scales), kept, share


def _feed(contract: Contract, conditions: Tensors, row: int) -> dict[str, Array]:
    given = {name: np.ascontiguousarray(value[row : row + 1]) for name, value in conditions.items()}
    return {**given, **noise_tensors(contract.noise, [row + 1], [0], sizes_of(contract, given))}


def _generator(data: bytes, contract: Contract) -> SeededGenerator:
    return SeededGenerator(CachingRunner(OnnxRuntimeRunner(data, contract)))


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
