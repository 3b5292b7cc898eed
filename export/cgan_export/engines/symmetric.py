"""INT8 as TensorRT takes it, from the file that ONNX Runtime is fast with.

TensorRT quantises activations symmetrically and wants floating-point biases. It fuses a layer with the pair of
QuantizeLinear and DequantizeLinear before it, and its guide advises against a pair behind it, where a normalisation
or a tanh needs the full precision. So pairs on results go, unless the next layer reads them, and the others become
signed without a zero point. Weights stay as they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["symmetric_int8"]

LAYERS: Final = frozenset({"Conv", "Gemm", "MatMul"})
LEVELS: Final = 127
UNSIGNED_LEVELS: Final = 255
Types = dict[str, int]


def symmetric_int8(data: bytes) -> bytes:
    """The graph with symmetric activations and floating-point biases; a file without zero points stays as it is.

    Args:
        data: an ONNX file with explicit Q/DQ, as `artifacts/precision/int8.py` makes it.
    """
    model = onnx.load_from_string(data)
    types = {item.name: item.data_type for item in model.graph.initializer}
    if TensorProto.UINT8 not in {_zero_type(node, types) for node in model.graph.node}:
        return data
    _drop_pairs_behind_layers(model.graph)
    _make_symmetric(model.graph, types)
    _dequantise_biases(model.graph, types)
    drop_unused(model)
    return bytes(model.SerializeToString(deterministic=True))


def _drop_pairs_behind_layers(graph: GraphProto) -> None:
    """Whoever is no 8-bit layer reads the tensor itself; a pair that nobody reads any more goes."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {value.name for value in graph.output}
    for pair in [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in makers]:
        whole = makers[pair.input[0]]
        if pair.output[0] in outputs:
            _give_name(graph, whole.input[0], pair)
        source, back = whole.input[0], pair.output[0]
        readers = [node for node in graph.node if back in node.input]
        layers = [node for node in readers if node.op_type in LAYERS and node.input[1] in makers]
        for node in readers:
            if node not in layers:
                node.input[:] = [source if name == back else name for name in node.input]
        if not layers:
            graph.node.remove(whole)
            graph.node.remove(pair)


def _give_name(graph: GraphProto, source: str, pair: NodeProto) -> None:
    """An output of the graph is no longer the pair's result but the tensor before it."""
    output = pair.output[0]
    renamed = {output: f"{output}_dequantized", source: output}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]


def _make_symmetric(graph: GraphProto, types: Types) -> None:
    """The signed scale reaches as far as the unsigned pair does on either side of zero."""
    stored = {item.name: item for item in graph.initializer}
    unsigned = [node for node in graph.node if _zero_type(node, types) == TensorProto.UINT8]
    for scale_name, zero_name in {(node.input[1], node.input[2]) for node in unsigned}:
        scale, zero = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in (scale_name, zero_name))
        reach = np.maximum(zero, UNSIGNED_LEVELS - zero) * scale
        stored[scale_name].CopyFrom(
            numpy_helper.from_array(np.asarray(reach / LEVELS, dtype=np.float32), scale_name)
        )
        stored[zero_name].CopyFrom(numpy_helper.from_array(np.zeros(zero.shape, dtype=np.int8), zero_name))


def _dequantise_biases(graph: GraphProto, types: Types) -> None:
    stored = {item.name: item for item in graph.initializer}
    for node in [node for node in graph.node if _zero_type(node, types) == TensorProto.INT32]:
        whole, scale = (numpy_helper.to_array(stored[name]).astype(np.float64) for name in node.input[:2])
        graph.initializer.append(numpy_helper.from_array((whole * scale).astype(np.float32), node.output[0]))
        graph.node.remove(node)


def _zero_type(node: NodeProto, types: Types) -> int | None:
    """The type of the zero point of a QuantizeLinear or DequantizeLinear; None for any other node."""
    quantises = node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2
    return types.get(node.input[2]) if quantises else None
