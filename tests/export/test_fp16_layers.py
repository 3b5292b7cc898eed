"""Layers that stay in FP32 in the FP16 file: all nodes belong to one, and those are chosen that need it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.artifacts.precision.fp16 import half_layers, half_precision, with_rounding
from cgan_export.export import Exported
from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output
from cgan_trainer.generator import Generator
from onnx import TensorProto
from torch import Tensor, nn

from tests.export.exporting import exported_toy, written
from tests.export.test_int8 import maker_of, run, with_weights
from tests.export.test_precision import GRAPH as TEXT

SIDE = 16


class Loud(Generator):
    """Its second convolution gives values of more than 1e5, which half precision does not hold; a norm follows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.loud = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.InstanceNorm2d(8)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        with torch.no_grad():
            self.first.weight.mul_(4)
            self.loud.weight.mul_(5e5)  # below 65504 itself: such a weight would be in FP32 in any case

    @property
    def contract(self) -> Contract:
        image = ImageEncoding()
        return Contract(
            conditions=(Condition(name="photo", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=image),),
            noise=(),
            outputs=(Output(name="picture", shape=(3, SIDE, SIDE), range=(-1.0, 1.0), encoding=image),),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (photo,) = inputs
        x = torch.tanh(self.first(photo))
        return (torch.tanh(self.last(torch.relu(self.norm(self.loud(x))))),)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = {"a": rng.standard_normal((5, 4, 3, 3)), "b": rng.standard_normal((5, 6, 4, 4))}
    made = with_weights(TEXT, **{name: (value / 4).astype(np.float32) for name, value in weights.items()})
    for number, node in enumerate(made.graph.node):
        node.name = f"node_{number}"
    return made


@pytest.fixture(scope="module")
def exported() -> Exported:
    return exported_toy(Loud(), ArtifactOptions(precisions=("fp32", "fp16")))


def test_every_node_is_in_one_layer(model: onnx.ModelProto) -> None:
    """The normalisation and the activation belong to the convolution before them."""
    layers = half_layers(model)
    assert [layer.nodes for layer in layers] == [("node_0", "node_1", "node_2"), ("node_3", "node_4", "node_5")]
    assert [layer.name for layer in layers] == ["node_0", "node_3"]
    # Each weight is used once a pixel: of the result of a convolution, of what a transposed one takes.
    assert [layer.macs for layer in layers] == [5 * 4 * 3 * 3 * 8 * 8, 5 * 6 * 4 * 4 * 8 * 8]


def test_a_graph_without_convolutions_is_one_layer() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[n, 3] x) => (float[n, 3] y) '
        "{ [double] d = Add (x, x) [square] y = Mul (d, d) }"
    )
    (layer,) = half_layers(model)
    assert layer.nodes == ("double", "square")


def test_with_every_layer_kept_it_is_the_fp32_graph(model: onnx.ModelProto) -> None:
    """Rounding of inputs and results apart: what is exact in half precision goes in, and the last cast rounds."""
    x = np.random.default_rng(1).integers(-8, 9, (2, 4, 8, 8)).astype(np.float32) / 8
    keep = [name for layer in half_layers(model) for name in layer.nodes]
    made = with_rounding(half_precision(model, keep=keep))
    expected = run(model, x).astype(np.float16)
    np.testing.assert_array_equal(run(made, x), expected)
    assert not np.array_equal(run(with_rounding(half_precision(model)), x), expected)


def test_the_layer_that_overflows_is_kept_and_no_other(exported: Exported) -> None:
    artifact = exported.artifacts[1]
    assert artifact.passed
    assert len(artifact.kept) == 1
    model = onnx.load_from_string(artifact.model)
    weights = {item.name: item.data_type for item in model.graph.initializer}
    convolutions = {node.name: weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"}
    assert list(convolutions.values()) == [TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.FLOAT16]
    assert [name for name, kind in convolutions.items() if kind == TensorProto.FLOAT] == list(artifact.kept)
    share = 8 * 8 / (3 * 8 + 8 * 8 + 8 * 3)  # kernels and maps are alike
    assert artifact.kept_share == pytest.approx(share)


def test_its_normalisation_reads_what_was_never_rounded(exported: Exported) -> None:
    model = onnx.load_from_string(exported.artifacts[1].model)
    (norm,) = (node for node in model.graph.node if node.op_type == "InstanceNormalization")
    before = maker_of(model, norm.input[0])
    assert before is not None
    assert before.op_type == "Conv"


def test_the_bundle_names_it(exported: Exported, tmp_path: Path) -> None:
    bundle = written(exported, tmp_path / "toy")
    artifact = next(one for one in bundle.manifest.artifacts if one.precision == "fp16")
    assert artifact.kept == exported.artifacts[1].kept
    card = (bundle.path / "README.md").read_text().replace("\\", "")
    assert f"Kept in FP32 in `model.fp16.onnx`: {artifact.kept[0]}." in card
    assert f"(57.1% of the multiply-adds): {artifact.kept[0]}." in (bundle.path / "report.html").read_text()
