"""The INT8 file is what ONNX Runtime has 8-bit kernels for, and only the layers that were chosen are in INT8."""

from __future__ import annotations

import logging
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.artifacts.precision.int8 import activation_ranges, quantizable_layers, quantized
from cgan_export.cli.export import _say_calibration
from cgan_export.graph.rewrites import FOR_CPUS, FOR_INT8, rewrite
from cgan_runtime.bundle import Bundle
from cgan_trainer.generator import Generator
from onnx import NodeProto, TensorProto, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from tests.export.exporting import exported_toy
from tests.export.toys import EveryKind, Unconditional

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 4, 8, 8] x) => (float[N, 6, 8, 8] y)
<float[5, 4, 3, 3] a, float[5] scale = {1, 1, 1, 1, 1}, float[5] shift = {0, 0, 0, 0, 0},
 float[6, 5, 3, 3] b, float[6] bias = {0.1, -0.2, 0.3, 0, 0.5, -0.1}>
{
  [first] c = Conv <pads = [1, 1, 1, 1]> (x, a)
  [norm] n = InstanceNormalization <epsilon = 1e-05> (c, scale, shift)
  [act] r = LeakyRelu <alpha = 0.2> (n)
  [second] y = Conv <pads = [1, 1, 1, 1]> (r, b, bias)
}
"""


def with_weights(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    made = onnx.parser.parse_model(text)
    del made.graph.value_info[:]  # what the text declares without values
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return made


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    spread = np.geomspace(0.01, 1, 6, dtype=np.float32)[:, None, None, None]
    made = with_weights(GRAPH, a=normal(5, 4, 3, 3), b=normal(6, 5, 3, 3) * spread)
    made.producer_name = "cgan-deploy"
    onnx.helper.set_model_props(made, {"cgan.name": "toy"})
    return made


def data(count: int = 1) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 4, 8, 8)).astype(np.float32)


def int8(model: onnx.ModelProto, *left_out: str) -> onnx.ModelProto:
    layers = quantizable_layers(model)
    ranges = activation_ranges(model, layers, [{"x": row[None]} for row in data(8)])
    return quantized(model, [layer for layer in layers if layer.name not in left_out], ranges)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}


def maker_of(model: onnx.ModelProto, tensor: str) -> NodeProto | None:
    return next((node for node in model.graph.node if tensor in node.output), None)


def kernels(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The operators that ONNX Runtime executes."""
    options = SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def test_every_layer_becomes_one_8_bit_convolution_of_onnxruntime(model: onnx.ModelProto, tmp_path: Path) -> None:
    """A layer whose result is not quantised would be computed in FP32 between casts, slower than without them."""
    made = int8(model)
    executed = kernels(made, tmp_path)
    assert executed.count("QLinearConv") == 2
    assert not {"Conv", "FusedConv"} & set(executed)
    right = run(model, data())
    assert np.abs(run(made, data()) - right).max() < 0.04 * np.abs(right).max()


def test_activations_are_unsigned_and_weights_signed_with_a_scale_per_output_channel(
    model: onnx.ModelProto,
) -> None:
    made, original = int8(model), stored(model)
    values = stored(made)
    pairs = [node for node in made.graph.node if node.op_type == "QuantizeLinear"]
    assert {values[node.input[2]].dtype for node in pairs} == {np.dtype(np.uint8)}
    for name, layer in (("a", "first"), ("b", "second")):
        conv = next(node for node in made.graph.node if node.name == layer)
        weight = maker_of(made, conv.input[1])
        assert weight is not None
        whole, scale, zero = (values[part] for part in weight.input)
        assert [a.i for a in weight.attribute if a.name == "axis"] == [0]
        assert (whole.dtype, scale.shape, zero.any()) == (np.dtype(np.int8), (len(original[name]),), np.False_)
        step = scale[:, None, None, None]
        assert (np.abs(whole * step - original[name]) <= step / 2 + 1e-7).all()
    assert not {"a", "b"} & set(values)


@pytest.mark.parametrize("kept", ["first", "second"])
def test_a_kept_layer_is_really_in_fp32(model: onnx.ModelProto, kept: str, tmp_path: Path) -> None:
    made = int8(model, kept)
    conv = next(node for node in made.graph.node if node.name == kept)
    before = next(node for node in model.graph.node if node.name == kept)
    original, values = stored(model), stored(made)
    for name in before.input[1:]:
        assert np.array_equal(values[name], original[name])
    assert list(conv.input) == list(before.input), "nothing of it is quantised, what it reads included"
    assert {"Conv", "QLinearConv"} <= {name.replace("Fused", "") for name in kernels(made, tmp_path)}


def test_ranges_are_those_of_all_samples(model: onnx.ModelProto) -> None:
    layers = quantizable_layers(model)
    x = data(3)
    x[1, 0, 0, 0], x[2, 0, 0, 0] = 7.5, -9.0
    ranges = activation_ranges(model, layers, [{"x": row[None]} for row in x])
    assert sorted(ranges.keys()) == ["c", "r", "x", "y"]
    assert [float(end) for end in ranges["x"].range_value] == [-9.0, 7.5]
    results = run(model, x)
    np.testing.assert_allclose(ranges["y"].range_value, (results.min(), results.max()), rtol=1e-5)


def test_a_search_measures_once_and_one_set_of_layers_leaves_nothing_in_the_next(model: onnx.ModelProto) -> None:
    layers = quantizable_layers(model)
    ranges = activation_ranges(model, layers, [{"x": data()}])
    before = model.SerializeToString(deterministic=True)
    whole = [
        quantized(model, some, ranges).SerializeToString(deterministic=True)
        for some in (layers, layers[:1], layers)
    ]
    assert whole[0] == whole[2] != whole[1]
    assert model.SerializeToString(deterministic=True) == before


def test_the_file_says_what_the_fp32_file_says_of_itself(model: onnx.ModelProto) -> None:
    made = int8(model)
    assert (made.producer_name, made.producer_version) == ("cgan-deploy", "")
    assert {prop.key: prop.value for prop in made.metadata_props} == {"cgan.name": "toy"}


def test_the_quantiser_leaves_no_file_and_no_line(
    model: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))  # whoever wants a file there fails
        int8(model)
    assert not list(tmp_path.iterdir())
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("transposed", "axis"), [(1, 0), (0, 1)])
def test_a_matrix_has_a_scale_for_each_output(transposed: int, axis: int) -> None:
    """In either layout of Gemm: [out, in] where it is transposed, else [in, out]."""
    values = normal(5, 3)
    shape = "5, 3" if transposed else "3, 5"
    model = with_weights(
        f'<ir_version: 10, opset_import: ["" : 20]> g (float[n, 3] x) => (float[n, 5] y) <float[{shape}] w> '
        f"{{ [dense] y = Gemm <transB = {transposed}> (x, w) }}",
        w=np.ascontiguousarray(values if transposed else values.T),
    )
    layers = quantizable_layers(model)
    made = quantized(model, layers, activation_ranges(model, layers, [{"x": np.ones((1, 3), np.float32)}]))
    (dense,) = (node for node in made.graph.node if node.name == "dense")
    found = maker_of(made, dense.input[1])
    assert found is not None
    np.testing.assert_allclose(stored(made)[found.input[1]], np.abs(values).max(axis=1) / 127, rtol=1e-2)
    assert [a.i for a in found.attribute if a.name == "axis"] == [axis]


def test_what_computes_its_weights_is_no_layer() -> None:
    """A product of two activations, and a bias that is computed: the quantiser has nothing constant to round."""
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float[n, 3] x, float[3] moved) => (float[n, 3] y) <float[3, 3] w = {1, 0, 0, 0, 1, 0, 0, 0, 1}>
        { [scores] s = MatMul (x, x)  [shifted] t = Gemm (x, w, moved)  [dense] d = MatMul (x, w)
          [sum] y = Add (t, d) }"""
    )
    assert [layer.name for layer in quantizable_layers(model)] == ["dense"]


def test_transposed_convolutions_become_convolutions_of_int8_on_maps_of_any_size() -> None:
    """They have no 8-bit kernel; of FP32 only those on large maps are faster as convolutions."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[N, 4, 2, 2] x) => (float[N, 16, 4, 4] y) <float[4, 16, 4, 4] w>
    { [up] y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w) }"""
    for sides in ("2, 2", "h, v"):
        free = text.replace("N, 4, 2, 2", f"N, 4, {sides}").replace("4, 4] y", "p, q] y")
        model = with_weights(free, w=normal(4, 16, 4, 4))
        counts = []
        results = []
        for table in (FOR_CPUS["onnxruntime"], FOR_INT8["onnxruntime"]):
            made = onnx.ModelProto()
            made.CopyFrom(model)
            rewrite(made, table)
            counts.append([node.op_type for node in made.graph.node].count("ConvTranspose"))
            results.append(run(made, data()[:, :, :2, :2]))
        assert counts == [1, 0]
        np.testing.assert_allclose(results[0], results[1], atol=1e-5)
        (layer,) = quantizable_layers(made)
        assert (layer.name, len(layer.nodes)) == ("y", 4), "kept or quantised as a whole"


def test_the_layers_that_stayed_in_fp32_are_those_that_the_manifest_names(full_bundle: Bundle) -> None:
    artifact = next(a for a in full_bundle.manifest.artifacts if a.precision == "int8")
    model = onnx.load(full_bundle.path / artifact.path)
    weights = {w.name: w.data_type for w in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    whole = {node.name for node in convolutions if weights.get(node.input[1]) == TensorProto.FLOAT}
    assert {re.sub("_[01]{2}$", "", name) for name in whole} == set(artifact.kept) != set()


def test_the_same_export_gives_the_same_bytes() -> None:
    options = ArtifactOptions(precisions=("fp32", "int8"))
    first, second = (exported_toy(EveryKind(), options).artifacts[1] for _ in range(2))
    assert first.model == second.model
    assert first.kept == second.kept


@pytest.mark.parametrize(
    ("toy", "folder", "said"),
    [(EveryKind, None, 1), (EveryKind, Path("images"), 0), (Unconditional, None, 0)],
    ids=["the images of the check", "a folder", "no images"],
)
def test_who_names_no_folder_to_calibrate_on_is_told_what_it_costs(
    toy: type[Generator], folder: Path | None, said: int
) -> None:
    exported = exported_toy(toy(), ArtifactOptions(precisions=("fp32", "int8")))
    notes: list[str] = []
    _say_calibration(exported, folder, notes.append)
    assert len(notes) == said
    assert all("--calibrate" in note for note in notes)
