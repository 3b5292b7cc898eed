"""Images in and out of a graph as bytes: the scaling and rounding of `ImageEncoding` as its first and last nodes.

They compute in float32, step by step as `cgan_runtime.image_bytes` does. TensorRT holds bytes at its edges only, so
they are cast first and transposed then, and the other way round at the end.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from cgan_runtime.contract import Contract, ImageEncoding, Tensor
from cgan_runtime.errors import UsageError
from cgan_runtime.runners.base import is_image
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["with_byte_images"]


def with_byte_images(model: bytes, contract: Contract) -> bytes:
    """The graph with every image of the contract as uint8 [N, H, W, C], under the same name.

    Args:
        model: a self-contained ONNX file whose tensors are the contract's, float32 or float16.
        contract: says which tensors are images, and how they are scaled.

    Raises:
        UsageError: none is an image.
    """
    if not any(is_image(tensor) for tensor in (*contract.conditions, *contract.outputs)):
        raise UsageError(
            "--byte-images is for generators that take or give images; this one does not: leave it out."
        )
    graph_file = onnx.load_from_string(model)
    graph = graph_file.graph
    first: list[NodeProto] = []
    last: list[NodeProto] = []
    for tensors, values in ((contract.conditions, graph.input), (contract.outputs, graph.output)):
        of = {value.name: value for value in values}
        for tensor in filter(is_image, tensors):
            value = of[tensor.name]
            inside = f"{tensor.name}_values"
            for node in graph.node:
                for names in (node.input, node.output):
                    names[:] = [inside if name == tensor.name else name for name in names]
            typed = value.type.tensor_type
            if tensors is contract.conditions:
                first += _scaled(graph, tensor, inside, typed.elem_type)
            else:
                last += _rounded(graph, tensor, inside)
            typed.elem_type = TensorProto.UINT8
            _move_channels_last(typed.shape)
    nodes = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(nodes)
    data: bytes = graph_file.SerializeToString()
    return data


def _move_channels_last(shape: onnx.TensorShapeProto) -> None:
    batch, channels, height, width = (copy.deepcopy(axis) for axis in shape.dim)
    del shape.dim[:]
    shape.dim.extend([batch, height, width, channels])


def _scaled(graph: onnx.GraphProto, tensor: Tensor, inside: str, elements: int) -> list[NodeProto]:
    """Bytes [N, H, W, C] to ``(pixel / 255 - mean) / std`` [N, C, H, W]."""
    mean, std = _figures(graph, tensor)
    steps = _Steps(tensor.name)
    steps.add("Cast", to=TensorProto.FLOAT)
    steps.add("Transpose", perm=[0, 3, 1, 2])
    steps.add("Div", _constant(graph, f"{tensor.name}_255", np.float32(255)))
    steps.add("Sub", mean)
    steps.add("Div", std)
    steps.add("Cast", to=elements)
    return steps.ending(inside)


def _rounded(graph: onnx.GraphProto, tensor: Tensor, inside: str) -> list[NodeProto]:
    """Values [N, C, H, W] to bytes [N, H, W, C]."""
    mean, std = _figures(graph, tensor)
    encoding = tensor.encoding  # type: ignore[attr-defined]  # chosen by `is_image`
    steps = _Steps(inside)
    steps.add("Cast", to=TensorProto.FLOAT)
    steps.add("Mul", std)
    steps.add("Add", mean)
    black, white = (_constant(graph, f"{tensor.name}_{value}", np.float32(value)) for value in (0, 255))
    steps.add("Mul", white)
    # Cut first: for what is left, rounding down is cutting off, and there is an operator for it.
    steps.add("Clip", black, white)
    steps.add("Round" if encoding.rounding == "nearest" else "Floor")
    steps.add("Transpose", perm=[0, 2, 3, 1])
    steps.add("Cast", to=TensorProto.UINT8)
    return steps.ending(tensor.name)


class _Steps:
    """Nodes one behind the other."""

    def __init__(self, begin: str) -> None:
        self._at, self._begin = begin, begin
        self._nodes: list[NodeProto] = []

    def add(self, operator: str, *others: str, **attributes: Any) -> None:
        name = f"{self._begin}_bytes_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, [self._at, *others], [name], name=name, **attributes))
        self._at = name

    def ending(self, name: str) -> list[NodeProto]:
        self._nodes[-1].output[0] = name
        return self._nodes


def _figures(graph: onnx.GraphProto, tensor: Tensor) -> tuple[str, str]:
    encoding = tensor.encoding  # type: ignore[attr-defined]  # chosen by `is_image`
    assert isinstance(encoding, ImageEncoding)  # noqa: S101 - chosen by `is_image`
    mean, std = (np.asarray(values, dtype=np.float32).reshape(-1, 1, 1) for values in (encoding.mean, encoding.std))
    return _constant(graph, f"{tensor.name}_mean", mean), _constant(graph, f"{tensor.name}_std", std)


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray | np.float32) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
    return name
