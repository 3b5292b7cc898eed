"""A rewritten graph is the same function: against PyTorch's own layers, at the edges of what is rewritten."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cgan_export.graph.lint import lint
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.graph.rewrites import FOR_ALL, FOR_CPUS, rewrite
from cgan_export.graph.rewrites.constants import fold_constants
from cgan_export.graph.rewrites.crop import crop_unused_taps
from cgan_export.graph.rewrites.guarded_statistics import guard_statistics
from cgan_export.graph.rewrites.sample_statistics import normalise_accurately, write_out_normalisation
from cgan_export.graph.rewrites.subpixel import subpixel_by_concatenation, subpixel_by_depth_to_space
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from onnx import TensorProto, helper, numpy_helper
from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d


def model_of(layer: Layer, height: int, width: int) -> onnx.ModelProto:
    """The layer as a one-node ONNX model for images of a fixed size and any batch."""
    parts = {"w": layer.weight, **({"b": layer.bias} if layer.bias is not None else {})}
    weights = [numpy_helper.from_array(value.detach().numpy(), name) for name, value in parts.items()]
    kind = "Conv" if isinstance(layer, nn.Conv2d) else "ConvTranspose"
    pads = [int(p) for p in layer.padding] * 2
    node = helper.make_node(
        kind, ["x", *parts], ["y"], strides=list(layer.stride), pads=pads, kernel_shape=list(layer.kernel_size)
    )
    with torch.no_grad():
        result = layer(torch.zeros(1, layer.in_channels, height, width)).shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", layer.in_channels, height, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *result[1:]])
    graph = helper.make_graph([node], "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def assert_is(model: onnx.ModelProto, layer: Layer, height: int, width: int) -> None:
    lint(model)
    x = torch.randn(3, layer.in_channels, height, width)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], layer(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("subpixel", [subpixel_by_concatenation, subpixel_by_depth_to_space])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 11), (16, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_four_small_convolutions_are_the_transposed_one(
    subpixel: Callable[[onnx.ModelProto], int], height: int, width: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(5, 16, 4, 2, 1, bias=bias)
    model = model_of(layer, height, width)
    assert subpixel(model) == 1
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
    assert_is(model, layer, height, width)


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(5, 16, 4, 2, 0), nn.ConvTranspose2d(5, 16, 3, 2, 1)])
def test_other_transposed_convolutions_are_left_alone(layer: nn.ConvTranspose2d) -> None:
    assert subpixel_by_concatenation(model_of(layer, 8, 8)) == 0


@pytest.mark.parametrize(
    ("layer", "height", "width", "kernel"),
    [
        (nn.Conv2d(5, 6, 4, 2, 1), 2, 2, [2, 2]),
        (nn.ConvTranspose2d(5, 6, 4, 2, 1), 1, 1, [2, 2]),
        (nn.Conv2d(5, 6, 4, 2, 1), 2, 8, [2, 4]),
        (nn.ConvTranspose2d(5, 6, 4, 2, 1, bias=False), 3, 1, [4, 2]),
        (nn.Conv2d(5, 6, 7, 1, 3), 2, 3, [3, 5]),
        (nn.Conv2d(5, 6, 3, 1, 1), 1, 1, [1, 1]),
    ],
)
def test_taps_on_padding_are_cut_and_nothing_else(layer: Layer, height: int, width: int, kernel: list[int]) -> None:
    torch.manual_seed(0)
    model = model_of(layer, height, width)
    assert crop_unused_taps(model) == 1
    weight = next(item for item in model.graph.initializer if item.name == "w")
    assert list(weight.dims[2:]) == kernel
    assert_is(model, layer, height, width)


@pytest.mark.parametrize("layer", [nn.Conv2d(5, 6, 4, 2, 1), nn.ConvTranspose2d(5, 6, 4, 2, 1), nn.Conv2d(5, 6, 3)])
def test_convolutions_that_use_all_their_taps_are_left_alone(layer: Layer) -> None:
    assert crop_unused_taps(model_of(layer, 8, 8)) == 0


def test_weights_that_two_layers_share_are_left_alone() -> None:
    model = model_of(nn.Conv2d(5, 5, 4, 2, 1, bias=False), 2, 2)
    second = helper.make_node("Conv", ["x", "w"], ["z"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[4, 4])
    model.graph.node.append(second)
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 5, 1, 1]))
    assert crop_unused_taps(model) == 0


def test_what_depends_on_weights_alone_is_stored_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0, 2, 3]),
        helper.make_node("Transpose", ["turned"], ["back"], perm=[1, 0, 2, 3]),
        helper.make_node("Mul", ["back", "two"], ["kernel"]),
        helper.make_node("Conv", ["x", "kernel"], ["middle"], kernel_shape=[3, 3]),
        helper.make_node("Mul", ["middle", "two"], ["y"]),
        helper.make_node("Add", ["two", "two"], ["four"]),  # an output of the graph: it has to be made
    ]
    weights = [
        numpy_helper.from_array(kernel, "w"),
        numpy_helper.from_array(np.asarray(2, dtype=np.float32), "two"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 6, 6])
    four = helper.make_tensor_value_info("four", TensorProto.FLOAT, [])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y, four], weights),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    image = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    before = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert fold_constants(model) == 3
    lint(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Mul", "Add"]
    stored = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert set(stored) == {"kernel", "two"}
    np.testing.assert_array_equal(stored["kernel"], kernel * 2)
    after = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        after.run(["y"], {"x": image})[0], before.run(["y"], {"x": image})[0], rtol=0, atol=1e-6
    )
    assert fold_constants(model) == 0


def test_what_a_branch_takes_from_around_it_stays_stored() -> None:
    inner = helper.make_node("Add", ["four", "two"], ["made"])
    made = helper.make_tensor_value_info("made", TensorProto.FLOAT, [])
    two = helper.make_tensor_value_info("two", TensorProto.FLOAT, [])
    nodes = [
        helper.make_node("Add", ["two", "two"], ["four"]),
        helper.make_node(
            "If",
            ["x"],
            ["y"],
            then_branch=helper.make_graph([inner], "then", [], [made]),
            else_branch=helper.make_graph(
                [helper.make_node("Neg", ["two"], ["less"])],
                "else",
                [],
                [helper.make_tensor_value_info("less", TensorProto.FLOAT, [])],
            ),
        ),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    weights = [numpy_helper.from_array(np.asarray(2, dtype=np.float32), "two")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y, two], weights),  # `two` is an output of the graph as it is
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    assert fold_constants(model) == 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [float(value) for value in session.run(None, {"x": np.asarray(True)})] == [6, 2]
    assert float(session.run(["y"], {"x": np.asarray(False)})[0]) == -2


def test_resizing_costs_a_served_graph_nothing() -> None:
    operators = []
    for upsample in ("transposed", "resize"):
        generator = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=4, upsample=upsample)).eval()
        model = onnx_from_generator(generator, generator.contract)
        for table in (FOR_ALL, FOR_CPUS["onnxruntime"]):
            rewrite(model, table)
        lint(model)
        stored = {item.name: tuple(item.dims) for item in model.graph.initializer}
        kernels = [stored[node.input[1]] for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
        operators.append(([node.op_type for node in model.graph.node], kernels))
    assert operators[0] == operators[1]


def normalisation(axes: tuple[int | str, ...], eps: float, scale: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """InstanceNormalization of [n, 3, *axes] as a one-node model."""
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=eps)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, *axes]) for name in "xy")
    weights = [numpy_helper.from_array(value, name) for name, value in (("s", scale), ("b", bias))]
    graph = helper.make_graph([node], "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("axes", [(33, 32), (25, 41), (1025, 1), (5, 13), (1, 65)])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_normalisation_keeps_to_its_definition(axes: tuple[int, int], eps: float) -> None:
    """Against the formula in float64: a variance over H and W that divides by their number, eps inside the root."""
    rng = np.random.default_rng(0)
    scale, bias = rng.normal(size=(2, 3)).astype(np.float32)
    model = normalisation(axes, eps, scale, bias)
    assert normalise_accurately(model) == 1
    lint(model)
    x = rng.normal(3, 2, (4, 3, *axes)).astype(np.float32)
    wide = x.astype(np.float64)
    mean, variance = wide.mean(axis=(2, 3), keepdims=True), wide.var(axis=(2, 3), keepdims=True)
    expected = (wide - mean) / np.sqrt(variance + eps) * scale[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(run(model, x), expected, atol=3e-6)


OPERATOR, MEAN = "InstanceNormalization", "ReduceMean"


@pytest.mark.parametrize(
    ("axes", "operators"),
    [
        ((1, 1), {OPERATOR}),
        ((8, 8), {OPERATOR}),
        ((5, 13), {MEAN, "Sub", OPERATOR}),
        ((32, 32), {MEAN, "Sub", OPERATOR}),
        ((33, 32), {MEAN, "Sub", "Mul", "Add", "Sqrt", "Div"}),
        (("h", 8), {MEAN, "Sub", "Mul", "Add", "Sqrt", "Div"}),
    ],
)
def test_the_larger_a_map_the_more_is_written_out(axes: tuple[int | str, ...], operators: set[str]) -> None:
    model = normalisation(axes, 1e-5, np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    assert normalise_accurately(model) == (operators != {OPERATOR})
    lint(model)
    assert {node.op_type for node in model.graph.node} == operators
    assert OPERATOR in operators or {item.name for item in model.graph.initializer}.isdisjoint({"s", "b"})


@pytest.mark.parametrize("axes", [(1, 1), (8, 8), (32, 32), (33, 32)])
def test_for_openvino_all_is_written_out_on_maps_of_every_size(axes: tuple[int, int]) -> None:
    model = normalisation(axes, 1e-5, np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    assert write_out_normalisation(model) == 1
    assert OPERATOR not in {node.op_type for node in model.graph.node}


def test_a_guard_stands_before_every_reader_of_what_is_normalised_and_changes_nothing() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]> g (float[n, 3, 9, 9] x) => (float[n, 3, 9, 9] y)
        <float[3] s = {1.0, 2.0, -1.0}, float[3] b = {0.0, 1.0, 0.5}> {
            given = InstanceNormalization (x, s, b)
            c = Mul (given, x)
            norm = InstanceNormalization (c, s, b)
            y = Add (norm, c)
        }"""
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float32) * 1e3
    before = run(model, x)
    assert guard_statistics(model) == 1  # x is an input: no layer computes it
    lint(model)
    readers = {node.op_type: list(node.input) for node in model.graph.node if node.output[0] in ("norm", "y")}
    assert readers == {"InstanceNormalization": ["c_guarded", "s", "b"], "Add": ["norm", "c_guarded"]}
    np.testing.assert_array_equal(run(model, x), before)
    assert guard_statistics(onnx.helper.make_model(helper.make_graph([], "g", [], []))) == 0


@pytest.mark.parametrize("side", [9, 16, 32])
def test_a_channel_of_one_value_becomes_its_bias(side: int) -> None:
    """It has no variance, so an error of its mean is divided by the root of eps: the operator alone is 3e-4 off."""
    scale, bias = np.ones(3, dtype=np.float32), np.array([0.5, -0.25, 0], dtype=np.float32)
    values = np.random.default_rng(0).uniform(0.3, 3, (8, 3, 1, 1)).astype(np.float32)
    model = normalisation((side, side), 1e-5, scale, bias)
    normalise_accurately(model)
    result = run(model, np.broadcast_to(values, (8, 3, side, side)).copy())
    np.testing.assert_allclose(result, np.broadcast_to(bias[:, None, None], result.shape), atol=2e-6)


def test_on_the_largest_small_map_drawings_are_accurate() -> None:
    """Nearly all pixels are equal: there the rounding errors of a sum all have one sign."""
    rng = np.random.default_rng(0)
    x = np.full((2, 3, 32, 32), 0.9371, dtype=np.float32) * rng.uniform(0.1, 3, (2, 3, 1, 1)).astype(np.float32)
    x[rng.random(x.shape) < 0.02] = -1
    model = normalisation((32, 32), 1e-5, np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    normalise_accurately(model)
    exact = nn.functional.instance_norm(torch.from_numpy(x).double(), eps=1e-5).numpy()
    np.testing.assert_allclose(run(model, x), exact, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axes", [(2000,), (4, 16, 32)])
def test_normalisation_of_sequences_and_volumes_is_left_alone(axes: tuple[int, ...]) -> None:
    model = normalisation(axes, 1e-5, np.ones(3, dtype=np.float32), np.zeros(3, dtype=np.float32))
    assert normalise_accurately(model) == 0
    assert [node.op_type for node in model.graph.node] == ["InstanceNormalization"]
