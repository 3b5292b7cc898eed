"""FP16 and INT8 are the same function, to their floor, and say with every type what they compute in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.precision.fp16 import FP32_OPS, half_precision, with_rounding
from cgan_export.graph.tensor_values import tensor_values
from cgan_runtime.bundle import Bundle
from onnx import TensorProto, numpy_helper
from onnxruntime import InferenceSession

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 4, 8, 8] x) => (float[N, 6, 16, 16] y)
<float[5, 4, 3, 3] a, float[5] scale = {1, 1, 1, 1, 1}, float[5] bias = {0, 0, 0, 0, 0},
 float[5, 6, 4, 4] b, float half = {0.5}>
{
  c = Conv <pads = [1, 1, 1, 1]> (x, a)
  n = InstanceNormalization <epsilon = 1e-05> (c, scale, bias)
  r = LeakyRelu <alpha = 0.2> (n)
  t = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (r, b)
  m = Mul (t, half)
  y = Tanh (m)
}
"""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    made = onnx.parser.parse_model(GRAPH)
    for name, shape in (("a", (5, 4, 3, 3)), ("b", (5, 6, 4, 4))):
        weight = numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(np.float32), name)
        kept = [w for w in made.graph.initializer if w.name != name]
        del made.graph.initializer[:]
        made.graph.initializer.extend([*kept, weight])
    for number, node in enumerate(made.graph.node):
        node.name = f"node_{number}"
    onnx.checker.check_model(made, full_check=True)
    return made


def data(count: int = 1) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 4, 8, 8)).astype(np.float32)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    return np.asarray(session.run(None, {name: x})[0])


def types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return {**values, **{w.name: w.data_type for w in graph.initializer}}


def test_every_operator_computes_in_half_precision_but_the_islands(model: onnx.ModelProto) -> None:
    half = half_precision(model)
    known = types(half)
    for node in half.graph.node:
        floats = {known[name] for name in node.input if known[name] in (TensorProto.FLOAT, TensorProto.FLOAT16)}
        if node.op_type == "Cast":
            continue
        assert floats == {TensorProto.FLOAT if node.op_type in FP32_OPS else TensorProto.FLOAT16}, node.op_type
    assert [known[v.name] for v in (*half.graph.input, *half.graph.output)] == [TensorProto.FLOAT] * 2
    assert np.abs(run(half, data()) - run(model, data())).max() < 2e-3
    assert {w.data_type for w in half.graph.initializer if w.name in ("a", "b")} == {TensorProto.FLOAT16}


def test_half_precision_inputs_and_outputs_need_no_casts_at_the_edge(model: onnx.ModelProto) -> None:
    half = half_precision(model, io_fp16=True)
    known = types(half)
    assert [known[v.name] for v in (*half.graph.input, *half.graph.output)] == [TensorProto.FLOAT16] * 2
    assert [n.op_type for n in half.graph.node].count("Cast") == 2  # into the island and out of it
    assert np.abs(run(half, data().astype(np.float16)) - run(model, data())).max() < 2e-3


def test_an_island_saves_what_half_precision_cannot_hold(model: onnx.ModelProto) -> None:
    """Activations of 1e5 do not fit FP16; the nodes that make and take them can be kept in FP32."""
    wild = onnx.ModelProto()
    wild.CopyFrom(model)
    weight = next(w for w in wild.graph.initializer if w.name == "a")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(4e4), "a"))
    expected = run(wild, data())
    assert not np.isfinite(run(with_rounding(half_precision(wild)), data())).all()
    assert np.abs(run(with_rounding(half_precision(wild, keep=["node_0"])), data()) - expected).max() < 2e-3


def test_measuring_rounds_every_result_to_half_precision(model: onnx.ModelProto) -> None:
    """ONNX Runtime alone would compute in FP32 throughout: its tensors would carry more digits than FP16 has."""
    half = half_precision(model, io_fp16=True)
    x = data().astype(np.float16)
    names = [node.output[0] for node in half.graph.node if node.op_type in ("Conv", "LeakyRelu", "ConvTranspose")]
    plain, rounded = (next(iter(tensor_values(m, names, [{"x": x}]))) for m in (half, with_rounding(half)))
    assert all(value.dtype == np.float16 for value in rounded.values())
    conv = {w.name: numpy_helper.to_array(w).astype(np.float64) for w in half.graph.initializer}["a"]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    exact = np.einsum("ncijkl,ockl->noij", windows, conv)
    assert (rounded["c"] == exact.astype(np.float16)).mean() > 0.999
    assert not np.array_equal(run(with_rounding(half), x), run(half, x))
    assert plain.keys() == rounded.keys()


def test_tiny_weights_are_rounded_and_not_raised(model: onnx.ModelProto) -> None:
    small = onnx.ModelProto()
    small.CopyFrom(model)
    weight = next(w for w in small.graph.initializer if w.name == "b")
    weight.CopyFrom(numpy_helper.from_array(np.full((5, 6, 4, 4), 1e-9, dtype=np.float32), "b"))
    half = {w.name: w for w in half_precision(small).graph.initializer}
    assert not numpy_helper.to_array(half["b"]).any()


def test_each_artifact_was_held_to_its_own_floor(full_bundle: Bundle) -> None:
    artifacts = {a.precision: a for a in full_bundle.manifest.artifacts}
    assert list(artifacts) == ["fp32", "fp16", "int8"]
    assert {p: a.fidelity["parity_psnr"].limit for p, a in artifacts.items()} == {
        "fp32": 80.0,
        "fp16": 60.0,
        "int8": 35.0,
    }
    assert artifacts["fp16"].bytes < 0.6 * artifacts["fp32"].bytes
    assert artifacts["int8"].kept  # this net needs it: 30 dB with every layer in INT8
    half = onnx.load(full_bundle.path / "model.fp16.onnx")
    assert "DepthToSpace" not in {n.op_type for n in half.graph.node}  # native deconvolution for TensorRT
    assert "Layers kept in FP32" in (full_bundle.path / "report.html").read_text()


def test_every_precision_runs_from_the_bundle_as_the_gates_saw_it(full_bundle: Bundle) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    images = {}
    for precision, floor in (("fp32", 1e-6), ("fp16", 0.05), ("int8", 0.6)):
        generator = full_bundle.generator(precision=precision)
        images[precision] = generator.generate({"condition": x}, [7, 8], [0, 0])["picture"]
        assert images[precision].dtype == np.float32
        assert np.abs(images[precision] - images["fp32"]).max() <= floor
    assert not np.array_equal(images["fp16"], images["fp32"])
    assert not np.array_equal(images["int8"], images["fp16"])


def test_a_choice_between_classes_is_made_in_fp32() -> None:
    """Squares of 10,000 x 3 random numbers: rounded to halves, some of their order would turn."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[n, 3] x) => (int64[n, 1] choice, float[n, 3] rest)
        {
            doubled = Add(x, x)
            squares = Mul(x, x)
            choice = ArgMin <axis = 1> (squares)
            rest = Mul(doubled, doubled)
        }
        """
    )
    halves = half_precision(model)
    onnx.checker.check_model(halves, full_check=True)
    values = np.random.default_rng(0).standard_normal((10_000, 3)).astype(np.float32)
    answers = []
    for graph in (model, with_rounding(halves)):
        session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(session.run(["choice", "rest"], {"x": values}))
    choices, rests = zip(*answers, strict=True)
    np.testing.assert_array_equal(*choices)
    assert not np.array_equal(*rests)  # what chooses nothing is in halves
