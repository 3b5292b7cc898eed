"""Transposed convolution k4 s2 p1 as four 2x2 convolutions whose outputs are interleaved.

Along one axis the transposed convolution writes ``y[2i] = w[3] x[i-1] + w[1] x[i]`` and
``y[2i+1] = w[2] x[i] + w[0] x[i+1]``. Each of the four (row, column) parities is therefore an ordinary
convolution with a 2x2 kernel cut out of the 4x4 one, padded on one side, and DepthToSpace puts the four
results together. The multiplications are the same in number; CPU runtimes work a little faster through
convolutions than through transposed ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["subpixel_on_every_map", "subpixel_transposed_convolutions"]

# Kernel taps of output parity 0 and 1, the tap on the earlier input pixel first.
TAPS: Final = ((3, 1), (2, 0))
# Layers with few output channels are bound by the interleaving, not by the products, and layers on tiny maps
# by reading their weights: both are left alone. Measured with cgan-bench on the U-Net-256.
MIN_OUTPUT_CHANNELS: Final = 16
MIN_INPUT_SIDE: Final = 8

Weights = npt.NDArray[np.float32]


def subpixel_transposed_convolutions(model: onnx.ModelProto) -> int:
    """Replace every ConvTranspose that is faster so, in place; returns how many."""
    return _replace(model, MIN_INPUT_SIDE)


def subpixel_on_every_map(model: onnx.ModelProto) -> int:
    """The same on maps of any size, also a free one: a convolution's weights can be read as 8-bit integers."""
    return _replace(model, 0)


def _replace(model: onnx.ModelProto, min_side: int) -> int:
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
    phases = []
    for row in (0, 1):
        for column in (0, 1):
            phases.append(f"{result}_{row}{column}")
            yield helper.make_node(
                "Conv",
                [node.input[0], f"{result}_weight_{row}{column}", *node.input[2:]],
                [phases[-1]],
                name=phases[-1],
                kernel_shape=[2, 2],
                pads=[1 - row, 1 - column, row, column],
            )
    yield helper.make_node("Concat", phases, [f"{result}_phases"], name=f"{result}_phases", axis=1)
    yield helper.make_node("DepthToSpace", [f"{result}_phases"], [result], name=result, blocksize=2, mode="DCR")


def _input_sides(model: onnx.ModelProto) -> dict[str, int]:
    """Smaller spatial side of every tensor of known shape [N, C, H, W]."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sides = {}
    for value in (*inferred.value_info, *inferred.input):
        axes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if len(axes) == 4:
            sides[value.name] = min(axes[2:])
    return sides
