"""What TensorRT refuses, or worse takes for something else: looked for before it is asked, so the node has a name.

What no graph may hold (random draws, statistics of the batch, tensors in other files) is `graph/lint.py`'s part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import onnx
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CheckFailedError
from google.protobuf.message import DecodeError

from cgan_export.engines.edge import Edge, ElementType
from cgan_export.engines.profiles import Shapes
from cgan_export.graph.lint import lint, nodes_of

__all__ = ["lint_for_tensorrt"]

# docs.nvidia.com, ONNX opset guide of TensorRT 11: 9 to 25. A parser takes newer ones in silence.
OPSETS: Final = range(9, 26)
ELEMENTS: Final[dict[ElementType, int]] = {
    "FLOAT": onnx.TensorProto.FLOAT,
    "HALF": onnx.TensorProto.FLOAT16,
    "INT64": onnx.TensorProto.INT64,
    "UINT8": onnx.TensorProto.UINT8,
}
# TensorRT makes float32 of double without a word; of the others it knows none.
UNKNOWN_TYPES: Final = {
    onnx.TensorProto.DOUBLE: "double",
    onnx.TensorProto.STRING: "string",
    onnx.TensorProto.COMPLEX64: "complex",
    onnx.TensorProto.COMPLEX128: "complex",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.UINT64: "uint64",
}


def lint_for_tensorrt(
    data: bytes,
    contract: Contract,
    shapes: Iterable[Shapes],
    *,
    edge: Edge,
    unsupported: Callable[[list[str]], set[str]],
    who: str,
) -> None:
    """Refuse a graph that cannot become the engine of this contract.

    Args:
        data: the ONNX file.
        contract: the signature it must have.
        shapes: of the inputs, one for each profile.
        edge: how its tensors are taken and given.
        unsupported: of operator names, those for which the installed parser has no importer.
        who: for the messages: "TensorRT-RTX 1.7.1".

    Raises:
        CheckFailedError: names the node or the tensor, and the way out.
    """
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise CheckFailedError("the file is no ONNX model; export the checkpoint again.") from error
    _opset(model)
    _operators(model, unsupported, who)
    lint(model)
    _signature(model, contract, edge)
    _types(model)
    for one in shapes:
        _profile(model, one)


def _opset(model: onnx.ModelProto) -> None:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if version not in OPSETS:
        raise CheckFailedError(
            f"the graph is of opset {version}, TensorRT takes {OPSETS.start} to {OPSETS.stop - 1}: convert it "
            "with onnx.version_converter, or export the checkpoint again."
        )


def _operators(model: onnx.ModelProto, unsupported: Callable[[list[str]], set[str]], who: str) -> None:
    nodes = list(nodes_of(model.graph))
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            raise CheckFailedError(
                f"node {node.name} is the operator {node.domain}.{node.op_type}, which {who} would need a plugin "
                "for: write it with operators of ONNX."
            )
    missing = unsupported(sorted({node.op_type for node in nodes}))
    for node in nodes:
        # Those that draw have a sentence of their own, with another way out.
        if node.op_type in missing and node.op_type not in ("Bernoulli", "Multinomial"):
            raise CheckFailedError(
                f"{who} has no {node.op_type} (node {node.name}): write the layer with other operators, or run "
                "this bundle on ONNX Runtime."
            )


def _signature(model: onnx.ModelProto, contract: Contract, edge: Edge) -> None:
    graph = model.graph
    for tensors, values in ((contract.inputs, graph.input), (contract.outputs, graph.output)):
        names = [value.name for value in values]
        if names != [tensor.name for tensor in tensors]:
            raise CheckFailedError(
                f"the graph has the tensors {names}, the contract says {[tensor.name for tensor in tensors]}; "
                "export the checkpoint again."
            )
        for tensor, value in zip(tensors, values, strict=True):
            seen = value.type.tensor_type.elem_type
            wanted = ELEMENTS[edge.type_of(tensor)]
            if seen != wanted:
                raise CheckFailedError(
                    f"{value.name} is {_type_name(seen)} in the graph, {_type_name(wanted)} in the "
                    "contract; export the checkpoint again."
                )


def _types(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {weight.name: weight.data_type for weight in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    for node in nodes_of(model.graph):
        for name in (*node.input, *node.output):
            if (unknown := UNKNOWN_TYPES.get(types.get(name, 0))) is not None:
                raise CheckFailedError(
                    f"node {node.name} ({node.op_type}) works on {unknown} values, which TensorRT does not have: "
                    "compute in float32 or int64."
                )
        _uint8(node, types, outputs)


def _uint8(node: onnx.NodeProto, types: dict[str, int], outputs: set[str]) -> None:
    """TensorRT holds bytes at its edges only: cast first and transpose then, and the other way round at the end."""
    uint8 = onnx.TensorProto.UINT8
    takes = node.op_type != "Cast" and any(types.get(name) == uint8 for name in node.input)
    inner = any(types.get(name) == uint8 and name not in outputs for name in node.output)
    if takes or inner:
        raise CheckFailedError(
            f"node {node.name} ({node.op_type}) works on uint8 values, which TensorRT takes only as an input that "
            "is cast at once and an output that was cast last: put the Cast first, or last at the end."
        )


def _profile(model: onnx.ModelProto, shapes: Shapes) -> None:
    for value in model.graph.input:
        axes = list(_axes(value))
        if value.name not in shapes:
            if None in axes:
                raise CheckFailedError(
                    f"the input {value.name} has a free size and no optimisation profile says which: give the "
                    "profile a shape for it."
                )
            continue
        for shape in shapes[value.name]:
            fits = len(shape) == len(axes) and all(a in (None, n) for a, n in zip(axes, shape, strict=True))
            if not fits:
                raise CheckFailedError(
                    f"the profile gives {value.name} the shape {list(shape)}, the graph says "
                    f"{[-1 if axis is None else axis for axis in axes]}: choose another --batch or --sides."
                )


def _axes(value: onnx.ValueInfoProto) -> Iterator[int | None]:
    for dim in value.type.tensor_type.shape.dim:
        yield dim.dim_value if dim.HasField("dim_value") else None


def _type_name(number: int) -> str:
    return str(onnx.TensorProto.DataType.Name(number)).lower()
