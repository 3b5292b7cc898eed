"""Transposed convolution k4 s2 p1 as four 2x2 convolutions whose outputs are interleaved.

Along one axis the transposed convolution writes ``y[2i] = w[3] x[i-1] + w[1] x[i]`` and
``y[2i+1] = w[2] x[i] + w[0] x[i+1]``. Each of the four (row, column) parities is therefore an ordinary
convolution with a 2x2 kernel cut out of the 4x4 one, padded on one side, and the four results are interleaved.
The multiplications are the same in number; CPU runtimes work a little faster through convolutions than through
transposed ones.

ONNX Runtime's DepthToSpace moves one value at a time: there the columns are interleaved by a concatenation along a
new last axis, and the rows by one of whole rows, five times as fast. OpenVINO has a fast DepthToSpace, and its
concatenations are slower than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["subpixel_by_concatenation", "subpixel_by_depth_to_space", "subpixel_on_every_map"]

# Kernel taps of output parity 0 and 1, the tap on the earlier input pixel first.
TAPS: Final = ((3, 1), (2, 0))
# Layers with few output channels are bound by the interleaving, not by the products, and layers on tiny maps
# by reading their weights: both are left alone. Measured with cgan-bench on the U-Net-256.
MIN_OUTPUT_CHANNELS: Final = 16
MIN_INPUT_SIDE: Final = 8

# Stored tensors of the interleaving.
LAST, ROW, TWICE_THE_ROWS = "subpixel_last_axis", "subpixel_row", "subpixel_twice_the_rows"

Weights = npt.NDArray[np.float32]
Interleave = Callable[[str], Iterator[NodeProto]]


def subpixel_by_concatenation(model: onnx.ModelProto) -> int:
    """Replace every ConvTranspose that is faster so on ONNX Runtime, in place; returns how many."""
    changed = _replace(model, MIN_INPUT_SIDE, _interleaved_by_concatenation)
    if changed:
        constants = {LAST: [4], ROW: [0, 0, 0, -1], TWICE_THE_ROWS: [1, 1, 2, 1]}
        model.graph.initializer.extend(
            numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in constants.items()
        )
    return changed


def subpixel_by_depth_to_space(model: onnx.ModelProto) -> int:
    """Replace every ConvTranspose that is faster so on OpenVINO, in place; returns how many."""
    return _replace(model, MIN_INPUT_SIDE, _interleaved_by_depth_to_space)


def subpixel_on_every_map(model: onnx.ModelProto) -> int:
    """The same on maps of any size, also a free one: a convolution's weights can be read as 8-bit integers."""
    return _replace(model, 0, _interleaved_by_depth_to_space)


def _replace(model: onnx.ModelProto, min_side: int, interleaved: Interleave) -> int:
    weights = {item.name: item for item in model.graph.initializer}
    sides = _input_sides(model)
    nodes: list[NodeProto] = []
    changed = 0
    for node in model.graph.node:
        if not _eligible(node, weights, sides, min_side):
            nodes.append(node)
            continue
        kernel = numpy_helper.to_array(weights[node.input[1]])
        model.graph.initializer.extend(_phase_kernels(node, kernel))
        nodes.extend(_phase_nodes(node))
        nodes.extend(interleaved(node.output[0]))
        changed += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model)
    return changed


def _eligible(node: NodeProto, weights: dict[str, onnx.TensorProto], sides: dict[str, int], min_side: int) -> bool:
    if node.op_type != "ConvTranspose" or node.input[1] not in weights:
        return False
    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    plain = (
        list(settings.get("strides", [])) == [2, 2]
        and list(settings.get("pads", [])) == [1, 1, 1, 1]
        and settings.get("group", 1) == 1
        and set(settings.get("dilations", [1])) == {1}
        and not any(settings.get("output_padding", [0]))
    )
    dims = list(weights[node.input[1]].dims)
    large = dims[1] >= MIN_OUTPUT_CHANNELS and sides.get(node.input[0], 0) >= min_side
    return plain and dims[2:] == [4, 4] and large


def _phase_kernels(node: NodeProto, kernel: Weights) -> Iterator[onnx.TensorProto]:
    for row in (0, 1):
        for column in (0, 1):
            part = kernel[:, :, TAPS[row], :][:, :, :, TAPS[column]].transpose(1, 0, 2, 3)
            yield numpy_helper.from_array(np.ascontiguousarray(part), f"{node.output[0]}_weight_{row}{column}")


def _phase_nodes(node: NodeProto) -> Iterator[NodeProto]:
    result = node.output[0]
    for row in (0, 1):
        for column in (0, 1):
            phase = f"{result}_{row}{column}"
            yield helper.make_node(
                "Conv",
                [node.input[0], f"{result}_weight_{row}{column}", *node.input[2:]],
                [phase],
                name=phase,
                kernel_shape=[2, 2],
                pads=[1 - row, 1 - column, row, column],
            )


def _interleaved_by_depth_to_space(result: str) -> Iterator[NodeProto]:
    phases = [f"{result}_{row}{column}" for row in (0, 1) for column in (0, 1)]
    yield helper.make_node("Concat", phases, [f"{result}_phases"], name=f"{result}_phases", axis=1)
    yield helper.make_node("DepthToSpace", [f"{result}_phases"], [result], name=result, blocksize=2, mode="DCR")


def _interleaved_by_concatenation(result: str) -> Iterator[NodeProto]:
    def step(operator: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(operator, inputs, [output], name=output)

    def joined(inputs: list[str], output: str, axis: int) -> NodeProto:
        return helper.make_node("Concat", inputs, [output], name=output, axis=axis)

    for row in (0, 1):
        columns = [f"{result}_{row}{column}" for column in (0, 1)]
        for phase in columns:
            yield step("Unsqueeze", [phase, LAST], f"{phase}_column")
        yield joined([f"{phase}_column" for phase in columns], f"{result}_{row}_columns", 4)
        yield step("Reshape", [f"{result}_{row}_columns", ROW], f"{result}_{row}")  # [N, C, H, 2W]
    yield joined([f"{result}_0", f"{result}_1"], f"{result}_rows", 3)  # a row of each in turn
    yield step("Shape", [f"{result}_0"], f"{result}_half")
    yield step("Mul", [f"{result}_half", TWICE_THE_ROWS], f"{result}_whole")
    yield step("Reshape", [f"{result}_rows", f"{result}_whole"], result)  # [N, C, 2H, 2W]


def _input_sides(model: onnx.ModelProto) -> dict[str, int]:
    """Smaller spatial side of every tensor of known shape [N, C, H, W]."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sides = {}
    for value in (*inferred.value_info, *inferred.input):
        axes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if len(axes) == 4:
            sides[value.name] = min(axes[2:])
    return sides
