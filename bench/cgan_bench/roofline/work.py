"""How much a generator has to compute and to move for an image at least.

Counted in an FP32 ONNX graph at one image, for a computation in elements of 2 bytes (FP16) or as many as asked for:

flops          2 for each multiplication with its addition, of Conv, ConvTranspose, Gemm and MatMul
weight bytes   for each element of a floating-point weight; read once for a batch
value bytes    for each element of a tensor that one of these operators reads, and of one that it writes; all
               others are fused into them, and a tensor that several read is read once
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract

from cgan_bench.roofline.floor import Work
from cgan_bench.sizes import at_size
from cgan_bench.target import Target

if TYPE_CHECKING:
    import onnx

__all__ = ["work_of_graph", "work_of_target"]

HALF_BYTES: Final = 2
Sizes = dict[str, tuple[int, ...]]


def work_of_target(target: Target) -> Work:
    """The work of the plain export, else of the bundle's FP32 graph, at the size that is measured."""
    import onnx

    assert target.bundle is not None  # noqa: S101 - what is measured is one
    model = onnx.load_from_string(
        target.plain.read_bytes() if target.plain else target.bundle.read(target.bundle.artifact())
    )
    return work_of_graph(model, at_size(target.bundle.manifest.contract, target.size))


def work_of_graph(model: onnx.ModelProto, contract: Contract, *, element_bytes: int = HALF_BYTES) -> Work:
    """The work of one image.

    Args:
        model: FP32.
        contract: of the same generator, with numbers for axes.
        element_bytes: of the computation.
    """
    import onnx

    shapes = {tensor.name: (1, *shape_of(tensor.shape, {})) for tensor in contract.inputs}
    for value in model.graph.input:
        for axis, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            axis.dim_value = size
    for value in model.graph.output:  # named axes would contradict the numbers
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    weights = {item.name: tuple(item.dims) for item in graph.initializer}
    known: Sizes = weights | {
        value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    flops = 0
    read: set[str] = set()
    written: set[str] = set()
    for node in graph.node:
        if multiplications := _multiplications(node, known):
            flops += 2 * multiplications
            read.update(name for name in node.input[:2] if name not in weights)
            written.add(node.output[0])
    moved = sum(prod(known[name]) for name in (*read, *written))
    floats = [item for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    return Work(
        flops=flops,
        weight_bytes=element_bytes * sum(prod(item.dims) for item in floats),
        value_bytes=element_bytes * moved,
        element_bytes=element_bytes,
    )


def _multiplications(node: onnx.NodeProto, known: Sizes) -> int:
    """Of one operator; 0 for those that are fused into others."""
    if node.op_type == "Conv":
        return prod(known[node.output[0]]) * prod(known[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return prod(known[node.input[0]]) * prod(known[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
        return prod(known[node.output[0]]) * known[node.input[0]][0 if transposed else -1]
    return 0
