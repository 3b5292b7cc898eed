"""The FP32 graph with explicit INT8: QuantizeLinear and DequantizeLinear around the data and weights of each layer.

Both are symmetric, as TensorRT asks. Weights have one scale per channel: of a convolution its output channels;
of a transposed convolution axis 0, which are its *input* channels, because that is the axis TensorRT's kernels
take. The results of layers are not quantised: a normalisation or a tanh follows each of them and needs the full
precision. Written by hand and not through onnxruntime.quantization, which puts the scales of a transposed
convolution on axis 1 and calibrates anew for every set of layers that the search tries.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

__all__ = ["Layer", "quantizable_layers", "with_qdq"]

LEVELS: Final = 127
PHASE: Final = re.compile(r"_[01]{2}$")  # the four parts that the sub-pixel rewrite makes of one layer


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What is quantised or kept as a whole: one layer of the network.

    `macs` are the multiply-adds of one sample: what keeping the layer costs.
    """

    name: str
    nodes: tuple[str, ...]
    data: str
    macs: int


def quantizable_layers(model: onnx.ModelProto) -> list[Layer]:
    """Convolutions and matrix products with constant weights, in the order of the graph."""
    weights = {w.name: w for w in model.graph.initializer}
    shapes = _shapes(model)
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if _weight_axis(node) is not None and node.input[1] in weights:
            name = node.name or node.output[0]
            found.setdefault(PHASE.sub("", name) if node.op_type == "Conv" else name, []).append(node)
    return [
        Layer(
            name=name,
            nodes=tuple(node.output[0] for node in nodes),
            data=nodes[0].input[0],
            macs=sum(_macs(node, list(weights[node.input[1]].dims), shapes) for node in nodes),
        )
        for name, nodes in found.items()
    ]


def with_qdq(model: onnx.ModelProto, layers: Collection[Layer], scales: dict[str, float]) -> onnx.ModelProto:
    """A copy of the graph in which these layers, and no others, compute in INT8.

    Args:
        model: the FP32 graph.
        layers: those to quantise, from `quantizable_layers`.
        scales: of the data of every layer, from `activation_scales`.
    """
    chosen = {output for layer in layers for output in layer.nodes}
    weights = {w.name: w for w in model.graph.initializer}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes: list[NodeProto] = []
    quantized: dict[str, str] = {}
    added: dict[str, onnx.TensorProto] = {}
    for node in model.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.output[0] in chosen:
            data, weight = node.input[:2]
            if data not in quantized:
                quantized[data] = f"{data}_dequantized"
                nodes += _data_pair(data, scales[data], added)
            if weight not in quantized:
                quantized[weight] = f"{weight}_dequantized"
                nodes.append(_weight_node(node, weights[weight], added))
            copy.input[0], copy.input[1] = quantized[data], quantized[weight]
        nodes.append(copy)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [w for w in graph.initializer if w.name in used]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *added.values()])
    del graph.value_info[:]
    return result


def _data_pair(name: str, scale: float, added: dict[str, onnx.TensorProto]) -> list[NodeProto]:
    parameters = [f"{name}_scale", f"{name}_zero"]
    added[parameters[0]] = numpy_helper.from_array(np.array(scale, dtype=np.float32), parameters[0])
    added[parameters[1]] = numpy_helper.from_array(np.array(0, dtype=np.int8), parameters[1])
    whole, back = f"{name}_quantized", f"{name}_dequantized"
    return [
        helper.make_node("QuantizeLinear", [name, *parameters], [whole], name=whole),
        helper.make_node("DequantizeLinear", [whole, *parameters], [back], name=back),
    ]


def _weight_node(node: NodeProto, weight: onnx.TensorProto, added: dict[str, onnx.TensorProto]) -> NodeProto:
    axis = _weight_axis(node)
    assert axis is not None  # noqa: S101 - only such nodes are layers
    values = numpy_helper.to_array(weight).astype(np.float32)
    others = tuple(i for i in range(values.ndim) if i != axis)
    top = np.abs(values).max(axis=others, keepdims=True)
    scale = np.where(top > 0, top / np.float32(LEVELS), np.float32(1)).astype(np.float32)
    whole = np.clip(np.rint(values / scale), -LEVELS, LEVELS).astype(np.int8)
    names = [f"{weight.name}_int8", f"{weight.name}_scale", f"{weight.name}_zero"]
    for name, value in zip(names, (whole, scale.ravel(), np.zeros(scale.size, dtype=np.int8)), strict=True):
        added[name] = numpy_helper.from_array(value, name)
    back = f"{weight.name}_dequantized"
    return helper.make_node("DequantizeLinear", names, [back], name=back, axis=axis)


def _weight_axis(node: NodeProto) -> int | None:
    """The axis of the weight that has a scale of its own per element; None for other operators."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return 0
    if node.op_type == "Gemm":
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        return 0 if settings.get("transB") else 1
    return 1 if node.op_type == "MatMul" else None


def _macs(node: NodeProto, weight: list[int], shapes: dict[str, list[int]]) -> int:
    if node.op_type in ("Conv", "ConvTranspose"):
        spread = shapes.get(node.output[0] if node.op_type == "Conv" else node.input[0], [])
        return prod(weight) * prod(spread[2:]) if len(spread) > 2 else prod(weight)
    return prod(weight)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [max(axis.dim_value, 1) for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
