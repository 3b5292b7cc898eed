"""One pass through the encoder for many samples of one condition.

Noise enters a U-Net in its decoder, so the encoder gives the same for every sample of an image. The graph then
takes conditions of one row beside noise of K rows: what depends on the conditions alone is computed once, and
broadcast where it meets the noise. Element-wise operators broadcast by themselves. Where a skip connection is
concatenated with a tensor of the decoder, a large convolution behind it becomes the sum of two, so that even the
decoder's share of the skip is computed once. Any other concatenation gets its condition repeated for each sample:
two small convolutions and a sum take longer than one, which every single image would pay.

The graph is the same for one sample as for many, so a sample has one image, whatever it is computed with.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from math import inf, prod
from typing import Final

import numpy as np
import onnx
from cgan_runtime.contract import Contract
from cgan_runtime.onnx_file import CONTRACT_KEY, SHARED_CONDITIONS_KEY
from onnx import NodeProto, helper, numpy_helper

from cgan_export.graph.rewrites.split_concatenations import axis_of, convolutions_behind, split_concatenations

__all__ = ["share_conditions"]

HEAVY: Final = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # worth computing once
# Operators of several tensors that broadcast one row over many.
BROADCASTING: Final = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu"}
BATCH, SAMPLES = "batch", "samples"  # the first axis of conditions, and of everything that depends on noise
ROWS: Final = "rows_of_noise"
# Multiply-adds of the condition's share from which a convolution is cut in two: below, one image takes up to 15 %
# longer with the cut (a U-Net of 64 pixels on two cores).
LARGE: Final = 16_000_000


def share_conditions(model: onnx.ModelProto, *, large: int = LARGE) -> int:
    """Let conditions of one row stand for every row of the noise, in place; returns how many places changed.

    Convolutions are cut in two where the condition's share has `large` multiply-adds or more. Nothing changes in a
    graph without a contract in its metadata, without noise, in which nothing heavy depends on the conditions alone,
    or with an operator of both that does not broadcast.
    """
    noise = _noise_inputs(model)
    sampled = _dependents(model, noise)
    stored = {item.name for item in model.graph.initializer}
    shapes = _shapes(model)
    mixed = [node for node in model.graph.node if _early_inputs(node, sampled, stored) and sampled & {*node.input}]
    concats = {
        n.name: _early_inputs(n, sampled, stored) for n in mixed if n.op_type == "Concat" and axis_of(n) != 0
    }
    early = any(node.op_type in HEAVY and node.output[0] not in sampled for node in model.graph.node)
    late = all(output.name in sampled for output in model.graph.output)
    fits = all(node.op_type in BROADCASTING or node.name in concats for node in mixed)
    known = all(name in shapes for names in concats.values() for name in names)
    if not (noise and early and late and fits and known):
        return 0
    widths = {name: shape[1] for name, shape in shapes.items() if len(shape) == 4 and shape[1]}
    split = {
        node.name
        for node in mixed
        if node.name in concats
        and (convolutions := convolutions_behind(model, node, widths))
        and _macs(model, convolutions, shapes[node.input[0]], widths.get(node.output[0], 0)) >= large
    }
    split_concatenations(model, split, widths)
    _repeat(model, {name: inputs for name, inputs in concats.items() if name not in split}, shapes, noise[0])
    del model.graph.value_info[:]  # their first axes are no longer all the same
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = SAMPLES if value.name in sampled else BATCH
    helper.set_model_props(model, {**_properties(model), SHARED_CONDITIONS_KEY: "1"})
    return len(mixed)


def _noise_inputs(model: onnx.ModelProto) -> list[str]:
    contract = _properties(model).get(CONTRACT_KEY)
    return [] if contract is None else [item.name for item in Contract.from_json(json.loads(contract)).noise]


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _dependents(model: onnx.ModelProto, sources: Collection[str]) -> set[str]:
    """The sources and every tensor that depends on one."""
    found = set(sources)
    for node in model.graph.node:
        if found & {*node.input}:
            found.update(node.output)
    return found


def _early_inputs(node: NodeProto, sampled: Collection[str], stored: Collection[str]) -> list[str]:
    """The inputs that depend on the conditions alone."""
    return [name for name in node.input if name and name not in sampled and name not in stored]


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The axes of every tensor whose number of axes is known, 0 for a free one."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
    }


def _macs(model: onnx.ModelProto, convolutions: Sequence[NodeProto], first: Sequence[int], channels: int) -> float:
    """Multiply-adds that convolutions of a concatenation spend on the first part of it.

    As many pixels are taken as the part has: so it is with a stride of one and with transposed convolutions.

    Args:
        model: the graph.
        convolutions: those of the concatenation.
        first: axes [N, C, H, W] of the first part, 0 for a free one.
        channels: of the concatenation.
    """
    stored = {item.name: item for item in model.graph.initializer}
    weights: int = sum(prod(stored[node.input[1]].dims) for node in convolutions)
    pixels = prod(first[2:]) or inf  # a map of any size can be large
    return weights * first[1] / channels * pixels


def _repeat(
    model: onnx.ModelProto, repeated: Mapping[str, Sequence[str]], shapes: Mapping[str, Sequence[int]], noise: str
) -> None:
    """Repeat inputs of concatenations once for each row of the noise, in place.

    Args:
        model: the graph.
        repeated: name of the concatenation -> its inputs that depend on the conditions alone.
        shapes: of these inputs.
        noise: a noise input.
    """
    ranks = {len(shapes[name]) for names in repeated.values() for name in names}
    nodes = []
    if ranks:
        nodes.append(helper.make_node("Shape", [noise], [ROWS], name=ROWS, start=0, end=1))
    for rank in sorted(ranks):  # K, 1, 1, ...
        ones = numpy_helper.from_array(np.ones(rank - 1, dtype=np.int64), f"{ROWS}_ones_{rank}")
        model.graph.initializer.append(ones)
        target = f"{ROWS}_{rank}"
        nodes.append(helper.make_node("Concat", [ROWS, ones.name], [target], name=target, axis=0))
    for node in model.graph.node:
        for name in dict.fromkeys(repeated.get(node.name, ())):
            each = f"{node.output[0]}_{name}"
            nodes.append(helper.make_node("Expand", [name, f"{ROWS}_{len(shapes[name])}"], [each], name=each))
            node.input[:] = [each if given == name else given for given in node.input]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
