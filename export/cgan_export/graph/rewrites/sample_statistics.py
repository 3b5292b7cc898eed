"""Instance normalisation whose sums stay accurate in float32.

The runtimes' InstanceNormalization adds up all pixels of a channel in one long float32 sum. On drawings and label
maps most terms are equal, so the rounding errors of the sum all have one sign: the result is a hundred times
further from float64 than PyTorch's. Here each mean is taken over the columns of every row, and then over the rows:
sums of a few hundred terms. The variance is the mean of the squared differences from the mean, as it is defined.

On a small map only the mean is taken out: after it the operator's own sums are short, and eleven operators in the
place of one take longer than they do. With the mean left in, a channel of one value, which has no variance, would
show the rounding error of its mean divided by the root of eps. On the smallest maps that error is hardly larger
than PyTorch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["normalise_accurately", "write_out_normalisation"]

ROWS, COLUMNS = "axis_of_rows", "axis_of_columns"
# Pixels of a map up to which the operator stays as it is, and up to which it stays behind the mean.
SMALLEST: Final = 64
SMALL: Final = 1024


def normalise_accurately(model: onnx.ModelProto) -> int:
    """Rewrite every InstanceNormalization of images [N, C, H, W] in place; returns how many.

    ``(x - mean) / sqrt(var + eps) * scale + bias``, mean and biased variance over H and W, is written out. On maps
    of at most `SMALL` pixels, and where scale and bias are no stored tensors, only ``x - mean`` is, and the
    operator does the rest. Those of at most `SMALLEST` pixels stay as they are.
    """
    return _rewritten(model, smallest=SMALLEST, small=SMALL)


def write_out_normalisation(model: onnx.ModelProto) -> int:
    """The same on maps of every size, for OpenVINO: its operator rounds otherwise in a batch than alone."""
    return _rewritten(model, smallest=0, small=0)


def _rewritten(model: onnx.ModelProto, *, smallest: int, small: int) -> int:
    graph = model.graph
    stored = {item.name: item for item in graph.initializer}
    pixels = _pixels(model)
    nodes: list[NodeProto] = []
    changed = 0
    for node in graph.node:
        size = pixels.get(node.input[0])
        if node.op_type != "InstanceNormalization" or size is None or 0 < size <= smallest:
            nodes.append(node)
            continue
        if 0 < size <= small or not stored.keys() >= set(node.input[1:]):
            nodes.extend(_centred(node))
        else:
            graph.initializer.extend(_constants(node, stored))
            nodes.extend(_written_out(node))
        changed += 1
    if not changed:
        return 0
    graph.initializer.extend(
        numpy_helper.from_array(np.array([axis], dtype=np.int64), name) for name, axis in ((ROWS, 2), (COLUMNS, 3))
    )
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(model)
    return changed


def _pixels(model: onnx.ModelProto) -> dict[str, int]:
    """H * W of each tensor [N, C, H, W]; 0 where it is not known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
    }
    return {name: prod(shape[2:]) for name, shape in shapes.items() if len(shape) == 4}


def _constants(node: NodeProto, stored: dict[str, TensorProto]) -> Iterator[TensorProto]:
    """Scale and bias [C] as [C, 1, 1], and eps."""
    for name, part in zip(node.input[1:], ("scale", "bias"), strict=True):
        value = numpy_helper.to_array(stored[name])
        yield numpy_helper.from_array(value[:, None, None], f"{node.output[0]}_{part}")
    eps = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    yield numpy_helper.from_array(np.array(eps, dtype=np.float32), f"{node.output[0]}_eps")


def _centred(node: NodeProto) -> Iterator[NodeProto]:
    """The operator on its input less the mean of that."""
    x, result = node.input[0], node.output[0]
    yield from _less_mean(x, result)
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0] = f"{result}_centred"
    yield copy


def _written_out(node: NodeProto) -> Iterator[NodeProto]:
    """The definition, operator by operator."""
    x, result = node.input[0], node.output[0]
    yield from _less_mean(x, result)
    yield _step("Mul", [f"{result}_centred", f"{result}_centred"], f"{result}_squares")
    yield from _mean(f"{result}_squares", f"{result}_variance")
    yield _step("Add", [f"{result}_variance", f"{result}_eps"], f"{result}_positive")
    yield _step("Sqrt", [f"{result}_positive"], f"{result}_deviation")
    yield _step("Div", [f"{result}_scale", f"{result}_deviation"], f"{result}_factor")
    yield _step("Mul", [f"{result}_centred", f"{result}_factor"], f"{result}_scaled")
    yield _step("Add", [f"{result}_scaled", f"{result}_bias"], result)


def _less_mean(x: str, result: str) -> Iterator[NodeProto]:
    yield from _mean(x, f"{result}_mean")
    yield _step("Sub", [x, f"{result}_mean"], f"{result}_centred")


def _mean(of: str, output: str) -> Iterator[NodeProto]:
    """Over the columns, then over the rows."""
    yield _step("ReduceMean", [of, COLUMNS], f"{output}_rows")
    yield _step("ReduceMean", [f"{output}_rows", ROWS], output)


def _step(operator: str, inputs: list[str], output: str) -> NodeProto:
    return helper.make_node(operator, inputs, [output], name=output)
