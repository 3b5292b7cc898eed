"""A rewritten graph is the same function: against PyTorch's own layers, at the edges of what is rewritten."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cgan_export.graph.onnx_graph import lint
from cgan_export.graph.rewrites.crop import crop_unused_taps
from cgan_export.graph.rewrites.subpixel import subpixel_transposed_convolutions
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


@pytest.mark.parametrize("side", [8, 9, 16])
@pytest.mark.parametrize("bias", [True, False])
def test_four_small_convolutions_are_the_transposed_one(side: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(5, 16, 4, 2, 1, bias=bias)
    model = model_of(layer, side, side)
    assert subpixel_transposed_convolutions(model) == 1
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
    assert_is(model, layer, side, side)


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(5, 16, 4, 2, 0), nn.ConvTranspose2d(5, 16, 3, 2, 1)])
def test_other_transposed_convolutions_are_left_alone(layer: nn.ConvTranspose2d) -> None:
    assert subpixel_transposed_convolutions(model_of(layer, 8, 8)) == 0


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
