"""One layer as a backend executed it, what it had to compute and to move, and what it lost against that.

operations     2 for each multiplication with its addition, of convolutions and matrix products, of the shapes that
               were executed (a backend pads channels to its blocks); 0 for every other operator
bytes          of everything the layer reads and writes, weights included
least time     the longer of the operations at the processor's rate for the layer's precision and of the bytes at
               that of a copy. Small values stay in the caches, which are faster: such layers can exceed 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any, Final

from cgan_bench.roofline.processor import Peaks

__all__ = ["Layer", "ProfiledTensor", "Profiler", "least_ms", "operations_of", "precision_of", "weights_at"]

# By the names of ONNX, of ONNX Runtime's fusions and of OpenVINO.
CONVOLUTIONS: Final = frozenset(
    {"Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger", "Convolution", "GroupConvolution"}
)
TRANSPOSED: Final = frozenset(
    {"ConvTranspose", "Deconvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
)
PRODUCTS: Final = frozenset(
    {
        *("Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger"),
        *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "FullyConnected"),
    }
)
# These take scale and zero point of the values before the weights.
WEIGHTS_FOURTH: Final = frozenset({"QLinearConv", "QLinearMatMul", "QGemm"})
BYTES: Final = {
    "float": 4,
    "f32": 4,
    "int32": 4,
    "i32": 4,
    "u32": 4,
    "float16": 2,
    "f16": 2,
    "bfloat16": 2,
    "bf16": 2,
}
WIDE: Final = {"int64": 8, "i64": 8, "double": 8, "f64": 8}
PRECISIONS: Final = {
    "int8": "int8",
    "uint8": "int8",
    "i8": "int8",
    "u8": "int8",
    "bf16": "bf16",
    "bfloat16": "bf16",
}


@dataclass(frozen=True, kw_only=True)
class ProfiledTensor:
    """What a layer read or wrote: its shape, and its type as the backend calls it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        """Of all its elements."""
        return prod(self.shape) * (BYTES | WIDE).get(self.dtype, 1)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of one artifact.

    Attributes:
        title: its name in the graph, as far as fusing left it.
        operator: what was executed.
        batch: rows of one inference.
        latencies_ms: one per run, or their mean where the backend tells no more.
        share: of the time of all layers.
        operations: of one run.
        bytes: of one run.
        precision: what it computed in.
        floor_ms: its own least time; None where the processor was not measured.
    """

    title: str
    operator: str
    batch: int
    latencies_ms: tuple[float, ...]
    share: float = 0.0
    operations: int = 0
    bytes: int = 0
    precision: str = "fp32"
    floor_ms: float | None = None

    @property
    def description(self) -> str:
        """The operator and its precision."""
        return f"{self.operator}, {self.precision.upper()}"

    @property
    def noisy(self) -> bool:
        """Not judged: a layer takes microseconds."""
        return False

    @property
    def valid(self) -> bool:
        """Nothing is compared."""
        return True

    @property
    def p50_ms(self) -> float:
        """Its time."""
        return median(self.latencies_ms)

    @property
    def gops(self) -> float | None:
        """10^9 operations a second; None where it has none."""
        return self.operations / self.p50_ms / 1e6 if self.operations and self.p50_ms else None

    @property
    def lost_ms(self) -> float:
        """What it takes beyond its least time; all of it where that is not known."""
        return max(0.0, self.p50_ms - (self.floor_ms or 0.0))

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys."""
        return {
            "layer": self.title,
            "operator": self.operator,
            "precision": self.precision,
            "batch": self.batch,
            "p50_ms": self.p50_ms,
            "share": self.share,
            "operations": self.operations,
            "gops": self.gops,
            "bytes": self.bytes,
            "floor_ms": self.floor_ms,
            "share_of_peak": self.floor_ms / self.p50_ms if self.floor_ms is not None and self.p50_ms else None,
            "lost_ms": self.lost_ms,
        }


@dataclass(frozen=True, kw_only=True)
class Profiler:
    """What a backend told of one artifact: its layers in the order of execution, and the whole of each run.

    Attributes:
        description: backend, version and device.
        layers: without share and least time.
        whole_ms: one per run, from inputs to outputs.
    """

    description: str
    layers: tuple[Layer, ...]
    whole_ms: tuple[float, ...]


def operations_of(operator: str, inputs: Sequence[ProfiledTensor], outputs: Sequence[ProfiledTensor]) -> int:
    """2 for each multiplication with its addition; 0 for operators that are neither convolution nor product."""
    at = weights_at(operator)
    if not at or len(inputs) <= at or not outputs:
        return 0
    values, weights, written = inputs[0].shape, inputs[at].shape, outputs[0].shape
    if operator in PRODUCTS:
        return 2 * prod(written) * values[-1]
    # [O, I, ...], transposed [I, O, ...]; OpenVINO's groups stand before both.
    each = prod(weights[2 if len(weights) > len(values) else 1 :])
    return 2 * each * prod(values if operator in TRANSPOSED else written)


def precision_of(operator: str, inputs: Sequence[ProfiledTensor]) -> str:
    """What a layer computes in: that of its weights, else of what it reads."""
    at = weights_at(operator)
    tensor = inputs[min(at, len(inputs) - 1)] if inputs else None
    return PRECISIONS.get(tensor.dtype, "fp32") if tensor else "fp32"


def least_ms(layer: Layer, peaks: Peaks | None) -> float | None:
    """Of one layer; None where a rate was not measured."""
    if peaks is None or (layer.operations and layer.precision not in peaks.gops):
        return None
    computing = layer.operations / (peaks.gops[layer.precision] * 1e9) if layer.operations else 0.0
    return max(computing, layer.bytes / (peaks.gb_s * 1e9)) * 1e3


def weights_at(operator: str) -> int:
    """Which input the weights are, counted from 0; 0 for operators that are neither convolution nor product."""
    if operator not in CONVOLUTIONS | TRANSPOSED | PRODUCTS:
        return 0
    return 3 if operator in WEIGHTS_FOURTH else 1
