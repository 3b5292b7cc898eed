"""A convolution of a concatenation as the sum of the convolutions of its two parts.

    conv([a, b]) = conv_a(a) + conv_b(b)

The weights are cut in two along the input channels; the bias goes with b. The products are the same and are added
in another order. Element-wise operators of one tensor may stand between the concatenation and the convolutions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["axis_of", "convolutions_behind", "split_concatenations"]

ELEMENTWISE: Final = {"Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh"}
CHANNELS: Final = 1  # axis of a tensor [N, C, H, W]
INPUT_CHANNELS: Final = {"Conv": 1, "ConvTranspose": 0}  # axis of the weights


def axis_of(concat: NodeProto) -> int:
    """The axis of a concatenation."""
    return int(next(item.i for item in concat.attribute if item.name == "axis"))


def convolutions_behind(model: onnx.ModelProto, concat: NodeProto, widths: Mapping[str, int]) -> list[NodeProto]:
    """What takes the concatenation of two tensors, where that is convolutions alone which can be cut in two.

    They have one group and stored weights. Empty where anything else takes it.

    Args:
        model: the graph of all.
        concat: the concatenation.
        widths: channels of tensors [N, C, H, W] by name.
    """
    if axis_of(concat) != CHANNELS or len(concat.input) != 2 or concat.input[0] not in widths:
        return []
    stored = {item.name for item in model.graph.initializer}
    results = {output.name for output in model.graph.output}
    found: list[NodeProto] = []
    waiting = [concat.output[0]]
    while waiting:
        name = waiting.pop()
        takers = [node for node in model.graph.node if name in node.input]
        if name in results or not takers:
            return []
        for node in takers:
            if node.op_type in ELEMENTWISE:
                waiting.append(node.output[0])
            elif _can_be_cut(node, name, stored):
                found.append(node)
            else:
                return []
    return found


def split_concatenations(model: onnx.ModelProto, names: Collection[str], widths: Mapping[str, int]) -> None:
    """Write the `convolutions_behind` the concatenations of these names as sums, in place."""
    weights = {item.name: item for item in model.graph.initializer}
    parts: dict[str, tuple[str, str]] = {}  # of a concatenated tensor
    first: dict[str, int] = {}  # channels of the first part
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        result, source = node.output[0], node.input[0] if node.input else ""
        if node.name in names:
            parts[result], first[result] = (node.input[0], node.input[1]), widths[node.input[0]]
        elif source not in parts:
            nodes.append(node)
        elif node.op_type in ELEMENTWISE:
            parts[result], first[result] = (f"{result}_first", f"{result}_second"), first[source]
            nodes.extend(
                _copy(node, [part], output) for part, output in zip(parts[source], parts[result], strict=True)
            )
        else:
            model.graph.initializer.extend(_halves(node, weights[node.input[1]], first[source]))
            nodes.extend(_sum(node, parts[source]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model)


def _can_be_cut(node: NodeProto, source: str, stored: Collection[str]) -> bool:
    one_group = all(item.name != "group" or item.i == 1 for item in node.attribute)
    return node.op_type in INPUT_CHANNELS and node.input[0] == source and node.input[1] in stored and one_group


def _halves(node: NodeProto, weight: TensorProto, first: int) -> Iterator[TensorProto]:
    halves = np.split(numpy_helper.to_array(weight), [first], axis=INPUT_CHANNELS[node.op_type])
    for half, word in zip(halves, ("first", "second"), strict=True):
        yield numpy_helper.from_array(np.ascontiguousarray(half), f"{node.output[0]}_weight_{word}")


def _sum(node: NodeProto, parts: tuple[str, str]) -> Iterator[NodeProto]:
    result = node.output[0]
    outputs = (f"{result}_first", f"{result}_second")
    yield _copy(node, [parts[0], f"{result}_weight_first"], outputs[0])
    yield _copy(node, [parts[1], f"{result}_weight_second", *node.input[2:]], outputs[1])
    yield helper.make_node("Add", [outputs[1], outputs[0]], [result], name=result)


def _copy(node: NodeProto, inputs: list[str], output: str) -> NodeProto:
    """The same operator on other tensors."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = output
    copy.input[:] = inputs
    copy.output[:] = [output]
    return copy
