"""INT8 for OpenVINO, by NNCF's post-training quantisation: a pair of Q/DQ before each layer and on each weight.

NNCF is told to leave everything else alone. By itself it quantises sums and products too, also those inside a
normalisation, which costs 5 dB. Scales are kept out of normalisations by graph/rewrites/guarded_statistics.py.

It quantises every layer once. A layer that is kept in FP32 is put back in that graph: NNCF's own accuracy control,
which ranks every quantiser anew after each that it takes out, took four minutes and a half for a net of 64 x 64
pixels.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

import onnx
from cgan_runtime.errors import CganError, CheckFailedError
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.openvino import without_telemetry
from onnx import GraphProto, NodeProto, TensorProto

from cgan_export.artifacts.precision.layers import Layer, layers_with_weights
from cgan_export.graph.rewrites.unused import drop_unused

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["put_back", "quantizable_layers", "quantized"]

OPERATORS: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What only moves values: NNCF may put a pair before it, which the layers behind it share.
MOVES: Final = ("Concat", "DepthToSpace", "Pad", "Reshape", "Slice", "Transpose")
PAIR: Final = ("QuantizeLinear", "DequantizeLinear")


def quantizable_layers(model: onnx.ModelProto) -> list[Layer]:
    """Convolutions, transposed ones too, and matrix products with constant weights, in the order of the graph."""
    return layers_with_weights(model, OPERATORS)


def quantized(model: onnx.ModelProto, feeds: Sequence[dict[str, Array]]) -> onnx.ModelProto:
    """A copy of the graph with Q/DQ before every layer.

    Args:
        model: the FP32 graph.
        feeds: its inputs [1, ...], to calibrate on.

    Raises:
        CganError: NNCF is not installed.
        CheckFailedError: NNCF cannot quantise the graph.
    """
    nncf = _import_nncf()
    layers = {name for layer in quantizable_layers(model) for name in layer.nodes}
    others = [node.name for node in model.graph.node if node.name not in layers and node.op_type not in MOVES]
    try:
        # Its progress bars have no switch: rich writes them to the terminal.
        with contextlib.redirect_stdout(io.StringIO()):
            result = nncf.quantize(
                model,
                nncf.Dataset(list(feeds)),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(names=others, validate=False),  # it knows no constants
                fast_bias_correction=True,  # NNCF 3.4's other one cuts some graphs into parts that are not valid
            )
    except Exception as error:  # whatever NNCF, ONNX and ONNX Runtime raise inside it: several unrelated types
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckFailedError(f"NNCF cannot quantise the graph ({said}); leave out int8.") from error
    assert isinstance(result, onnx.ModelProto)  # noqa: S101 - as it was given; the package has no types for it
    del result.graph.value_info[:]
    return result


def put_back(whole: onnx.ModelProto, model: onnx.ModelProto, kept: Collection[Layer]) -> onnx.ModelProto:
    """A copy of the quantised graph in which these layers compute in FP32, with their own weights and biases.

    Each takes its activations as they are before the pair in front of it. A pair goes unless a layer in INT8 still
    takes what it gives, through nodes that only move it or directly.

    Args:
        whole: from `quantized`.
        model: the FP32 graph that it was made from.
        kept: some of the graph's layers.
    """
    result = onnx.ModelProto()
    result.CopyFrom(whole)
    names = {name for layer in kept for name in layer.nodes}
    _restore(result.graph, model.graph, names)
    _drop_pairs(result.graph, {name for layer in quantizable_layers(model) for name in layer.nodes} - names)
    drop_unused(result)
    return result


def _restore(graph: GraphProto, original: GraphProto, names: Collection[str]) -> None:
    """The nodes take again what they took; a bias that NNCF corrected gets a name of its own."""
    before = {node.name: node for node in original.node if node.name in names}
    weights = {item.name: item for item in original.initializer}
    stored = {item.name: item for item in graph.initializer}

    def constant(name: str) -> str:
        given = name if stored.get(name, weights[name]) == weights[name] else f"{name}_fp32"
        if given not in stored:
            stored[given] = TensorProto()
            stored[given].CopyFrom(weights[name])
            stored[given].name = given
            graph.initializer.append(stored[given])
        return given

    for node in graph.node:
        if node.name in before:
            activation, *constants = before[node.name].input
            node.input[:] = [activation, *map(constant, constants)]


def _drop_pairs(graph: GraphProto, quantised: Collection[str]) -> None:
    """Leave out each QuantizeLinear and DequantizeLinear whose values reach no layer in INT8."""
    needed: set[str] = set()
    for node in reversed(graph.node):
        if node.name in quantised or (node.op_type in (*MOVES, *PAIR) and not needed.isdisjoint(node.output)):
            needed.update(node.input)
    before: dict[str, str] = {}  # what is left out -> the tensor that it was made of
    nodes: list[NodeProto] = []
    for node in graph.node:
        node.input[:] = [before.get(name, name) for name in node.input]
        if node.op_type in PAIR and needed.isdisjoint(node.output):
            before[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _import_nncf() -> ModuleType:
    """nncf, silent on the network and on the terminal."""
    try:
        with without_telemetry():
            import nncf
    except ImportError as error:
        raise CganError('NNCF is not installed; run: pip install "cgan-deploy[openvino]"') from error
    nncf.set_log_level(logging.ERROR)
    return nncf  # type: ignore[no-any-return] # the package ships no types
