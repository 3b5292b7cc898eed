"""NNCF quantises layers and nothing else, and a layer that is put back into FP32 is the layer that it was."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.precision.nncf_int8 import MOVES, put_back, quantizable_layers, quantized
from onnx import NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.export.test_int8 import maker_of, run, stored, with_weights

# Two layers take `x`, one takes a concatenation; between them stands what a normalisation is written out as.
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 4, 8, 8] x) => (float[N, 3, 16, 16] y)
<float[5, 4, 3, 3] a, float[5] a_bias = {0.3, -0.1, 0.2, 0, 0.1}, float[5, 4, 3, 3] b, float[3, 10, 3, 3] c,
 float[3] c_bias = {1, -1, 0.5}, float[3, 3, 4, 4] d, int64[2] axes = {2, 3}>
{
  [left] l = Conv <pads = [1, 1, 1, 1]> (x, a, a_bias)
  [right] r = Conv <pads = [1, 1, 1, 1]> (x, b)
  [mean] m = ReduceMean (l, axes)
  [centre] k = Sub (l, m)
  [square] s = Mul (k, r)
  [join] j = Concat <axis = 1> (k, s)
  [joined] t = Conv <pads = [1, 1, 1, 1]> (j, c, c_bias)
  [act] u = LeakyRelu <alpha = 0.2> (t)
  [up] y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (u, d)
}
"""
LAYERS = ["left", "right", "joined", "up"]
Nodes = dict[str, NodeProto]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 3


def data(count: int = 1) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 4, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    shapes = {"a": (5, 4, 3, 3), "b": (5, 4, 3, 3), "c": (3, 10, 3, 3), "d": (3, 3, 4, 4)}
    return with_weights(GRAPH, **{name: normal(at, *shape) for at, (name, shape) in enumerate(shapes.items())})


@pytest.fixture(scope="module")
def whole(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every layer in INT8; NNCF in a process of its own, whose crash would be this test's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(quantized, model, [{"x": row[None]} for row in data(8)]).result()


def with_kept(whole: onnx.ModelProto, model: onnx.ModelProto, kept: Sequence[str]) -> onnx.ModelProto:
    made = put_back(whole, model, [layer for layer in quantizable_layers(model) if layer.name in kept])
    onnx.checker.check_model(made, full_check=True)
    return made


def nodes(model: onnx.ModelProto) -> Nodes:
    return {node.name: node for node in model.graph.node}


def in_int8(model: onnx.ModelProto) -> list[str]:
    """The layers whose weight is stored in 8 bits."""
    return [name for name in LAYERS if maker_of(model, nodes(model)[name].input[1]) is not None]


def readers_of_pairs(model: onnx.ModelProto) -> list[NodeProto]:
    given = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return [node for node in model.graph.node if not given.isdisjoint(node.input)]


@pytest.mark.slow
def test_nothing_but_layers_takes_8_bits(model: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    """By itself NNCF quantises sums and products too, and with them the inside of a normalisation."""
    assert in_int8(whole) == LAYERS
    assert {node.op_type for node in readers_of_pairs(whole)} <= {"Conv", "ConvTranspose", *MOVES}
    error = np.abs(run(whole, data()) - run(model, data())).max()
    assert 0 < error < 0.1 * np.abs(run(model, data())).max()


@pytest.mark.slow
def test_with_every_layer_put_back_it_is_the_fp32_graph(model: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    made = with_kept(whole, model, LAYERS)
    assert [(n.name, n.op_type, n.input[0], *n.output) for n in made.graph.node] == [
        (n.name, n.op_type, n.input[0], *n.output) for n in model.graph.node
    ]
    corrected = {"a_bias": "a_bias_fp32", "c_bias": "c_bias_fp32"}
    found = stored(made)
    for name, value in stored(model).items():
        np.testing.assert_array_equal(found[name if name in found else corrected[name]], value)
    expected, found_image = (np.asarray(ReferenceEvaluator(one).run(["y"], {"x": data()})) for one in (model, made))
    np.testing.assert_array_equal(found_image, expected)


@pytest.mark.slow
@pytest.mark.parametrize("kept", LAYERS)
def test_a_layer_that_is_put_back_takes_what_it_took(
    model: onnx.ModelProto, whole: onnx.ModelProto, kept: str
) -> None:
    made = with_kept(whole, model, [kept])
    assert in_int8(made) == [name for name in LAYERS if name != kept]
    (activation, *constants), original = nodes(made)[kept].input, nodes(model)[kept].input
    for name, before in zip(constants, original[1:], strict=True):
        np.testing.assert_array_equal(stored(made)[name], stored(model)[before])
    shared = kept in ("left", "right")  # both take x
    pairs = [node.input[0] for node in made.graph.node if node.op_type == "QuantizeLinear"]
    assert activation == original[0]
    assert ("x" in pairs) or not shared, "the other layer still takes x in 8 bits"
    if kept == "up":
        assert "u" not in pairs, "nobody takes it in 8 bits any more"


@pytest.mark.slow
def test_a_corrected_bias_is_put_back_too(model: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    moved = onnx.ModelProto()
    moved.CopyFrom(whole)
    bias = next(item for item in moved.graph.initializer if item.name == nodes(moved)["joined"].input[2])
    bias.CopyFrom(numpy_helper.from_array(np.full(3, 9, dtype=np.float32), bias.name))
    made = with_kept(moved, model, ["joined"])
    np.testing.assert_array_equal(stored(made)[nodes(made)["joined"].input[2]], [1, -1, 0.5])
    assert not any((value == 9).all() for value in stored(made).values() if value.size == 3)
    assert moved.graph.initializer, "and the graph that was given is left alone"
    np.testing.assert_array_equal(stored(moved)[bias.name], 9)


@pytest.mark.slow
def test_the_fewer_layers_in_int8_the_smaller_the_error(model: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    right = run(model, data(4))
    errors = [float(np.square(run(with_kept(whole, model, LAYERS[:n]), data(4)) - right).mean()) for n in range(5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12 < errors[0]
