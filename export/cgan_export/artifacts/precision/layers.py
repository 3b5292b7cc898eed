"""The layers of a network: what has a precision, or stays in FP32, as a whole."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx
from onnx import NodeProto

__all__ = ["Layer", "layers_with_weights"]

PHASES: Final = ("_00", "_01", "_10", "_11")  # the four parts that the sub-pixel rewrite makes of one layer


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of the network.

    Attributes:
        nodes: the names of its nodes.
        tensors: what those with weights take and give.
        macs: the multiply-adds of one sample: what keeping the layer costs.
    """

    name: str
    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    macs: int


def layers_with_weights(model: onnx.ModelProto, operators: Collection[str]) -> list[Layer]:
    """Nodes of these operators with constant weights and biases, in the order of the graph."""
    weights = {w.name: w for w in model.graph.initializer}
    shapes = _shapes(model)
    names = {node.name for node in model.graph.node}
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type in operators and all(name in weights for name in node.input[1:]):
            found.setdefault(_layer_of(node.name, names), []).append(node)
    return [
        Layer(
            name=name,
            nodes=tuple(node.name for node in nodes),
            tensors=tuple(dict.fromkeys(tensor for node in nodes for tensor in (node.input[0], node.output[0]))),
            macs=sum(_macs(node, list(weights[node.input[1]].dims), shapes) for node in nodes),
        )
        for name, nodes in found.items()
    ]


def _layer_of(node: str, names: Collection[str]) -> str:
    """The layer that a node is one of four parts of, or else the node: "conv_10" alone may be the tenth."""
    stem = node[: -len(PHASES[0])]
    return stem if node.endswith(PHASES) and all(f"{stem}{phase}" in names for phase in PHASES) else node


def _macs(node: NodeProto, weight: list[int], shapes: dict[str, list[int]]) -> int:
    """A weight is used once for each pixel: of the result, or of what a transposed convolution takes."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return prod(weight)
    tensor = node.output[0] if node.op_type == "Conv" else node.input[0]
    return prod(weight) * prod(shapes.get(tensor, [])[2:])


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [max(axis.dim_value, 1) for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
