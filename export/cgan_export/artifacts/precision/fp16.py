"""The FP32 graph in half precision, strongly typed: every type is written down, nothing is left to a builder flag.

TensorRT from 11 on takes the types of the graph as they are. So every tensor becomes FP16, and what must be
computed in FP32 is an island: a node between explicit Casts. Islands are the operators whose sums or squares
leave FP16's range or resolution (`FP32_OPS`), any node asked for by name, any node with a weight beyond 65504, and
all that a choice between classes follows from: a rounding there could give a pixel another class. Tensors keep
their names, so that the two graphs can be compared layer by layer.

Weights are rounded to the nearest half, including to subnormals and zero; nothing is clamped. (That, and
refusing what would overflow, is why this is not onnxconverter-common: it raises every weight below 1e-7 to
1e-7 and lowers large ones to 1e4 with no more than a warning.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import onnx
from cgan_runtime.errors import CheckFailedError
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cgan_export.artifacts.precision.layers import Layer, layers_with_weights

__all__ = ["FP32_OPS", "MAX_HALF", "half_layers", "half_precision", "measurable", "with_rounding"]

FP32_OPS: Final = frozenset(
    {
        "BatchNormalization",
        "CumSum",
        "Exp",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "Log",
        "LpNormalization",
        "MeanVarianceNormalization",
        "Pow",
        "Range",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Softmax",
    }
)
CHOICES: Final = frozenset({"ArgMax", "ArgMin"})
HEADS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # of layers
MAX_HALF: Final = 65504.0
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
# Inputs that the operator wants in FP32 whatever the type of its data.
ALWAYS_FLOAT: Final = {"Resize": (1, 2)}


def half_precision(model: onnx.ModelProto, *, io_fp16: bool = False, keep: Collection[str] = ()) -> onnx.ModelProto:
    """A strongly typed FP16 copy of an FP32 model.

    Args:
        model: opset 19 or newer, no control flow.
        io_fp16: float inputs and outputs of the graph are FP16 too; otherwise they stay FP32, with a Cast.
        keep: names of further nodes to compute in FP32.

    Raises:
        CheckFailedError: the graph has control flow, so types cannot be told node by node.
    """
    return _Rewriter(model, keep=frozenset(keep), io_fp16=io_fp16).run()


def half_layers(model: onnx.ModelProto) -> list[Layer]:
    """Every node of the graph in one layer: a convolution or matrix product with what follows it.

    What follows is the nodes up to the next of them in the order of the graph: its normalisation, its activation.
    With them a kept layer is rounded once, where it ends, and kept layers that follow each other are not rounded
    in between. Nodes before the first are part of it.
    """
    heads = {layer.nodes[0]: layer for layer in layers_with_weights(model, HEADS)}
    layers: list[Layer] = []
    before: list[str] = []
    for node in model.graph.node:
        if node.name in heads:
            layers.append(replace(heads[node.name], nodes=(*before, node.name)))
            before = []
        elif layers:
            layers[-1] = replace(layers[-1], nodes=(*layers[-1].nodes, node.name))
        else:
            before.append(node.name)
    return layers or [Layer(name="the whole graph", nodes=tuple(before), tensors=(), macs=0)]


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """The FP16 graph for measuring on a CPU: every FP16 result is really rounded, and overflows where FP16 does.

    ONNX Runtime's CPU provider computes FP16 operators in FP32 between casts, and removes casts that follow each
    other: what is left is an FP32 network with rounded weights, which hides rounding and overflow alike. Therefore
    a Max of one tensor follows every result: it changes nothing, has a kernel for FP16, and keeps the casts apart.
    Sums inside a convolution stay in FP32, as on a GPU's tensor cores.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    halves = {
        value.name for value in (*graph.value_info, *graph.output) if value.type.tensor_type.elem_type == HALF
    }
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
        for at, name in enumerate(node.output):
            if name in halves:
                copy.output[at] = f"{name}_unrounded"
                nodes.append(helper.make_node("Max", [copy.output[at]], [name], name=f"{name}_rounded"))
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    del result.graph.value_info[:]
    return result


def measurable(model: bytes, precision: str) -> bytes:
    """The bytes to run on a CPU in order to learn what the artifact does where it is meant to run."""
    if precision != "fp16":
        return model
    return bytes(with_rounding(onnx.load_from_string(model)).SerializeToString(deterministic=True))


class _Rewriter:
    """One pass over the nodes in their order, then over inputs, outputs and weights."""

    def __init__(self, model: onnx.ModelProto, *, keep: frozenset[str], io_fp16: bool) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self._keep, self._io_fp16 = keep | _before_choices(model.graph), io_fp16
        graph = onnx.shape_inference.infer_shapes(self._model, strict_mode=True, data_prop=True).graph
        self._float = {
            value.name
            for value in (*graph.value_info, *graph.input, *graph.output)
            if value.type.tensor_type.elem_type == FLOAT
        }
        self._weights = {w.name: w for w in self._model.graph.initializer if w.data_type == FLOAT}
        self._float |= set(self._weights)
        self._inputs = {value.name for value in self._model.graph.input}
        self._outputs = {value.name for value in self._model.graph.output}
        self._stored: dict[str, TensorProto] = {}
        self._as_float: dict[str, str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> onnx.ModelProto:
        graph = self._model.graph
        self._cast_inputs()
        for node in graph.node:
            if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
                raise CheckFailedError(f"the graph has control flow ({node.op_type} {node.name}); FP16 needs none.")
            self._rewrite(node)
        self._cast_outputs()
        del graph.node[:]
        graph.node.extend(self._nodes)
        others = [w for w in graph.initializer if w.data_type != FLOAT]
        del graph.initializer[:]
        graph.initializer.extend([*others, *self._stored.values()])
        del graph.value_info[:]
        return self._model

    def _rewrite(self, node: NodeProto) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.op_type == "Constant":
            self._constant(copy)
        elif self._is_island(node):
            copy.input[:] = [self._in_float(name) if name in self._float else name for name in node.input]
            results = [name for name in node.output if name in self._float]
            copy.output[:] = [f"{name}_fp32" if name in results else name for name in node.output]
            self._nodes.append(copy)
            for name in results:
                self._cast(f"{name}_fp32", self._inner(name), HALF)
                self._as_float[name] = f"{name}_fp32"  # a chain of islands stays in FP32
        else:
            exact = ALWAYS_FLOAT.get(node.op_type, ())
            copy.input[:] = [
                self._in_float(name) if at in exact and name in self._float else self._in_half(name)
                for at, name in enumerate(node.input)
            ]
            copy.output[:] = [self._inner(name) for name in node.output]
            for attribute in copy.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                    attribute.i = HALF
                elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
                    attribute.t.CopyFrom(_half(attribute.t, attribute.t.name))
            self._nodes.append(copy)

    def _is_island(self, node: NodeProto) -> bool:
        if node.op_type in FP32_OPS or node.name in self._keep:
            return True
        return any(name in self._weights and _largest(self._weights[name]) > MAX_HALF for name in node.input)

    def _constant(self, node: NodeProto) -> None:
        """A float constant becomes a weight: those exist in both types as needed."""
        name = node.output[0]
        if name not in self._float:
            self._nodes.append(node)
            return
        attribute = node.attribute[0]
        value = helper.get_attribute_value(attribute)
        array = numpy_helper.to_array(value) if attribute.name == "value" else np.array(value, dtype=np.float32)
        self._weights[name] = numpy_helper.from_array(array, name)

    def _in_half(self, name: str) -> str:
        if name in self._weights:
            self._stored.setdefault(name, _half(self._weights[name], name))
            return name
        return self._inner(name)

    def _in_float(self, name: str) -> str:
        if name in self._weights:
            stored = f"{name}_fp32"
            if stored not in self._stored:
                weight = TensorProto()
                weight.CopyFrom(self._weights[name])
                weight.name = stored
                self._stored[stored] = weight
            return stored
        if name not in self._as_float:
            self._as_float[name] = f"{name}_fp32"
            self._cast(self._inner(name), f"{name}_fp32", FLOAT)
        return self._as_float[name]

    def _inner(self, name: str) -> str:
        """The FP16 name of a tensor: its own, except at an FP32 edge of the graph."""
        at_edge = name in self._inputs | self._outputs and name in self._float and not self._io_fp16
        return f"{name}_fp16" if at_edge else name

    def _cast_inputs(self) -> None:
        for value in self._model.graph.input:
            if value.name not in self._float:
                continue
            if self._io_fp16:
                value.type.tensor_type.elem_type = HALF
            else:
                self._cast(value.name, f"{value.name}_fp16", HALF)
                self._as_float[value.name] = value.name

    def _cast_outputs(self) -> None:
        for value in self._model.graph.output:
            if value.name not in self._float:
                continue
            if self._io_fp16:
                value.type.tensor_type.elem_type = HALF
            elif value.name not in self._inputs:
                self._cast(f"{value.name}_fp16", value.name, FLOAT)

    def _cast(self, source: str, target: str, to: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to))


def _before_choices(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the nodes that choose (ArgMax, ArgMin), and of all nodes that their choice depends on."""
    wanted: set[str] = set()
    names: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in CHOICES or not wanted.isdisjoint(node.output):
            wanted |= set(node.input)
            names.add(node.name)
    return frozenset(names)


def _half(weight: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(weight)
    if values.size and np.abs(values).max() > MAX_HALF:
        raise CheckFailedError(
            f"{name} holds {np.abs(values).max():.4g}, beyond FP16's largest number, {MAX_HALF}."
        )
    return numpy_helper.from_array(values.astype(np.float16), name)


def _largest(weight: TensorProto) -> float:
    return float(max((abs(v) for v in _extremes(numpy_helper.to_array(weight))), default=0.0))


def _extremes(values: np.ndarray) -> Iterator[float]:
    if values.size:
        yield from (float(values.min()), float(values.max()))
