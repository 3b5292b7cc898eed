"""Instance normalisation written out, so that its sums stay accurate in float32.

ONNX Runtime's InstanceNormalization adds up all pixels of a channel in one long float32 sum. On drawings and label
maps most terms are equal, so the rounding errors of the sum all have one sign: the result is a hundred times
further from float64 than PyTorch's. Here each mean is taken over the columns of every row, and then over the rows:
sums of a few hundred terms. The variance is the mean of the squared differences from the mean, as it is defined.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cgan_export.graph.rewrites.unused import drop_unused

__all__ = ["write_out_instance_normalisation"]

ROWS, COLUMNS = "axis_of_rows", "axis_of_columns"


def write_out_instance_normalisation(model: onnx.ModelProto) -> int:
    """Replace every InstanceNormalization of images [N, C, H, W] in place; returns how many.

    ``(x - mean) / sqrt(var + eps) * scale + bias``, mean and biased variance over H and W. Those whose scale and
    bias are no stored tensors stay as they are.
    """
    graph = model.graph
    stored = {item.name: item for item in graph.initializer}
    images = _images(model)
    nodes: list[NodeProto] = []
    changed = 0
    for node in graph.node:
        written = node.op_type == "InstanceNormalization" and node.input[0] in images
        if not written or not stored.keys() >= set(node.input[1:]):
            nodes.append(node)
            continue
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


def _images(model: onnx.ModelProto) -> set[str]:
    """Names of the tensors with four axes."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {value.name for value in (*graph.value_info, *graph.input) if len(value.type.tensor_type.shape.dim) == 4}


def _constants(node: NodeProto, stored: dict[str, TensorProto]) -> Iterator[TensorProto]:
    """Scale and bias [C] as [C, 1, 1], and eps."""
    for name, part in zip(node.input[1:], ("scale", "bias"), strict=True):
        value = numpy_helper.to_array(stored[name])
        yield numpy_helper.from_array(value[:, None, None], f"{node.output[0]}_{part}")
    eps = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    yield numpy_helper.from_array(np.array(eps, dtype=np.float32), f"{node.output[0]}_eps")


def _written_out(node: NodeProto) -> Iterator[NodeProto]:
    x, result = node.input[0], node.output[0]

    def step(operator: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(operator, inputs, [output], name=output)

    def mean(of: str, output: str) -> Iterator[NodeProto]:
        yield step("ReduceMean", [of, COLUMNS], f"{output}_rows")
        yield step("ReduceMean", [f"{output}_rows", ROWS], output)

    yield from mean(x, f"{result}_mean")
    yield step("Sub", [x, f"{result}_mean"], f"{result}_centred")
    yield step("Mul", [f"{result}_centred", f"{result}_centred"], f"{result}_squares")
    yield from mean(f"{result}_squares", f"{result}_variance")
    yield step("Add", [f"{result}_variance", f"{result}_eps"], f"{result}_positive")
    yield step("Sqrt", [f"{result}_positive"], f"{result}_deviation")
    yield step("Div", [f"{result}_scale", f"{result}_deviation"], f"{result}_factor")
    yield step("Mul", [f"{result}_centred", f"{result}_factor"], f"{result}_scaled")
    yield step("Add", [f"{result}_scaled", f"{result}_bias"], result)
