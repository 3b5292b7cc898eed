"""For each reduced precision: the layers that have it or stay in FP32, and the graph of any choice of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import onnx
from cgan_runtime.runners.base import Array

from cgan_export.artifacts.precision import fp16, int8, nncf_int8
from cgan_export.artifacts.precision.layers import Layer
from cgan_export.graph.rewrites import FOR_INT8, rewrite
from cgan_export.precisions import CpuBackend

__all__ = ["Reducible", "in_fp16", "in_int8"]


@dataclass(frozen=True, kw_only=True)
class Reducible:
    """What a search chooses among.

    Attributes:
        layers: of the graph, in its order.
        with_layers: the graph in which exactly these layers have the precision; at least one.
    """

    layers: Sequence[Layer]
    with_layers: Callable[[Sequence[Layer]], onnx.ModelProto]

    def without(self, kept: Sequence[Layer]) -> onnx.ModelProto:
        """The graph in which these layers are kept in FP32, and all others have the precision."""
        return self.with_layers([layer for layer in self.layers if layer not in kept])

    def share(self, kept: Sequence[Layer]) -> float:
        """The multiply-adds of these layers as a share of all."""
        return sum(layer.macs for layer in kept) / max(sum(layer.macs for layer in self.layers), 1)


def in_fp16(plain: onnx.ModelProto, *, io_fp16: bool) -> Reducible:
    """The graph as exported, in half precision."""
    layers = fp16.half_layers(plain)

    def with_layers(chosen: Sequence[Layer]) -> onnx.ModelProto:
        keep = [node for layer in layers if layer not in chosen for node in layer.nodes]
        return fp16.half_precision(plain, io_fp16=io_fp16, keep=keep)

    return Reducible(layers=layers, with_layers=with_layers)


def in_int8(
    plain: onnx.ModelProto, backend: CpuBackend, feeds: Sequence[dict[str, Array]], progress: Callable[[str], None]
) -> Reducible:
    """The graph rewritten for 8 bits and quantised for a backend, by the library that does it best.

    Args:
        plain: the graph as exported.
        backend: what will execute it.
        feeds: inputs of the graph [1, ...], to calibrate on.
        progress: told what is being done.

    Raises:
        CganError: the library is not installed.
        CheckFailedError: it cannot quantise the graph.
    """
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    rewrite(model, FOR_INT8[backend])
    progress("calibrating")
    return QUANTISERS[backend](model, feeds)


def _by_onnxruntime(model: onnx.ModelProto, feeds: Sequence[dict[str, Array]]) -> Reducible:
    layers = int8.quantizable_layers(model)
    ranges = int8.activation_ranges(model, layers, feeds)
    return Reducible(layers=layers, with_layers=lambda chosen: int8.quantized(model, chosen, ranges))


def _by_nncf(model: onnx.ModelProto, feeds: Sequence[dict[str, Array]]) -> Reducible:
    layers = nncf_int8.quantizable_layers(model)
    whole = nncf_int8.quantized(model, feeds)

    def with_layers(chosen: Sequence[Layer]) -> onnx.ModelProto:
        return nncf_int8.put_back(whole, model, [layer for layer in layers if layer not in chosen])

    return Reducible(layers=layers, with_layers=with_layers)


QUANTISERS: Final[dict[CpuBackend, Callable[[onnx.ModelProto, Sequence[dict[str, Array]]], Reducible]]] = {
    "onnxruntime": _by_onnxruntime,
    "openvino": _by_nncf,
}
