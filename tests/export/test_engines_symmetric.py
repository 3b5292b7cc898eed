"""INT8 for TensorRT from ONNX Runtime's: symmetric, no pairs behind layers, and the same image."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cgan_export.engines.engines import EngineWish, Source, build_engines
from cgan_export.engines.flavours import flavour
from cgan_export.engines.profiles import parse_batches
from cgan_export.engines.symmetric import symmetric_int8
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.manifest import Figure
from onnx import NodeProto, numpy_helper
from onnxruntime import InferenceSession

# x in -1..3 in steps of 1/64, zero at 64; c in steps of 0.05; a pair on the output of the graph; a bias in steps of
# the first scale times that of the weights.
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[N, 2, 4, 4] x) => (float[N, 2, 4, 4] y)
<float sx = {0.015625}, uint8 zx = {64}, float sc = {0.05}, uint8 zc = {128}, float sy = {0.0625},
 uint8 zy = {128}, int8[2, 2, 1, 1] w = {127, -64, 32, 100}, float[2] sw = {0.01, 0.02}, int8[2] zw = {0, 0},
 int32[2] b = {640, -320}, float[2] sb = {0.00015625, 0.0003125}, int32[2] zb = {0, 0}>
{
  [qx] xq = QuantizeLinear (x, sx, zx)
  [dx] xd = DequantizeLinear (xq, sx, zx)
  [dw] wd = DequantizeLinear <axis = 0> (w, sw, zw)
  [db] bd = DequantizeLinear <axis = 0> (b, sb, zb)
  [first] c = Conv (xd, wd, bd)
  [qc] cq = QuantizeLinear (c, sc, zc)
  [dc] cd = DequantizeLinear (cq, sc, zc)
  [tanh] t = Tanh (cd)
  [second] s = Conv (cd, wd)
  [add] a = Add (s, t)
  [qy] yq = QuantizeLinear (a, sy, zy)
  [dy] y = DequantizeLinear (yq, sy, zy)
}
"""
CONTRACT = Contract(
    conditions=(Condition(name="x", shape=(2, 4, 4)),),
    noise=(),
    outputs=(Output(name="y", shape=(2, 4, 4)),),
    statistics="none",
)
X = np.random.default_rng(0).uniform(-1, 1, (3, 2, 4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def unsigned() -> bytes:
    return bytes(onnx.parser.parse_model(GRAPH).SerializeToString())


@pytest.fixture(scope="module")
def made(unsigned: bytes) -> onnx.ModelProto:
    model = onnx.load_from_string(symmetric_int8(unsigned))
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: bytes) -> np.ndarray:
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


def node(model: onnx.ModelProto, name: str) -> NodeProto:
    found: NodeProto = next(one for one in model.graph.node if one.name == name)
    return found


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def test_zero_points_are_zero_and_no_value_that_the_unsigned_pair_holds_is_cut_off(made: onnx.ModelProto) -> None:
    values = stored(made)
    pairs = [one for one in made.graph.node if one.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert [(values[one.input[2]].dtype, values[one.input[2]].any()) for one in pairs] == [
        (np.dtype(np.int8), np.False_)
    ] * len(pairs)
    assert values["sx"] == np.float32((255 - 64) / 64 / 127)  # x reaches from -1 to 191/64
    assert values["sc"] == np.float32(128 * 0.05 / 127)


def test_layers_read_rounded_values_and_all_others_the_full_precision(made: onnx.ModelProto) -> None:
    """A tanh and a sum follow a layer here, as normalisations do in a net; the next layer computes in 8 bits."""
    assert node(made, "first").input[0] == "xd"
    assert node(made, "second").input[0] == "cd"
    assert list(node(made, "tanh").input) == ["c"]
    assert list(node(made, "add").input) == ["s", "t"]
    assert list(node(made, "add").output) == ["y"], "an output of the graph keeps its name"
    assert [one.name for one in made.graph.node] == ["qx", "dx", "dw", "first", "qc", "dc", "tanh", "second", "add"]


def test_weights_stay_and_biases_are_floating_point(made: onnx.ModelProto, unsigned: bytes) -> None:
    before, after = stored(onnx.load_from_string(unsigned)), stored(made)
    for name in ("w", "sw", "zw"):
        assert np.array_equal(before[name], after[name])
    np.testing.assert_allclose(after[node(made, "first").input[2]], [0.1, -0.1], rtol=1e-6)
    assert not {"b", "sb", "zb", "sy", "zy"} & set(after), "what nobody reads any more is gone"


def test_it_is_the_same_function_to_the_steps_of_both(made: onnx.ModelProto, unsigned: bytes) -> None:
    ours, theirs = run(made.SerializeToString()), run(unsigned)
    assert 1 < np.abs(theirs).max() < 7.9
    assert np.abs(ours - theirs).max() < 0.25  # steps of 0.0625, 0.05 and 0.0235, the last two weighted


def test_a_symmetric_file_of_an_older_release_stays_as_it_is(made: onnx.ModelProto) -> None:
    data = made.SerializeToString()
    assert symmetric_int8(data) is data
    plain = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[N] x) => (float[N] y) { y = Relu (x) }'
    ).SerializeToString()
    assert symmetric_int8(plain) is plain


def test_an_engine_is_built_of_the_unsigned_file_and_would_not_be_without_the_change(
    unsigned: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gates(*_: object) -> dict[str, Figure]:
        raise AssertionError("nothing runs here")

    wish = EngineWish(flavour=flavour("tensorrt-rtx"), batches=parse_batches(["1..2"]))
    source = Source(precision="int8", model=unsigned)
    (engine,) = build_engines([source], CONTRACT, wish, gates=gates)
    assert engine.artifact.precision == "int8"
    assert engine.data.startswith(b"vtrt")
    monkeypatch.setattr("cgan_export.engines.engines.symmetric_int8", lambda data: data)
    with pytest.raises(CheckFailedError, match="works on uint8 values"):
        build_engines([source], CONTRACT, wish, gates=gates)
