"""Graphs that no engine can be made of, or a wrong one: each is refused by name, before TensorRT is asked."""

from __future__ import annotations

import onnx
import pytest
from cgan_export.engines.edge import Edge
from cgan_export.engines.engines import EngineWish, Source, build_engines
from cgan_export.engines.flavours import flavour
from cgan_export.engines.lint import lint_for_tensorrt
from cgan_export.engines.profiles import Shapes, parse_batches, profiles_for, shapes_of
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.manifest import Figure

from tests.export.engines import KINDS, graph_of

CONTRACT = Contract(
    conditions=(Condition(name="x", shape=(3, 8, 8)),),
    noise=(),
    outputs=(Output(name="y", shape=(3, 8, 8)),),
    statistics="none",
)
FLOAT, DOUBLE, UINT8 = 1, 11, 2
X, Y = "float[N,3,8,8] x", "float[N,3,8,8] y"


def graph(
    body: str, *, weights: str = "", takes: str = X, gives: str = Y, opset: str = '"" : 20'
) -> onnx.ModelProto:
    text = f"<ir_version: 10, opset_import: [{opset}]> g ({takes}) => ({gives}) <{weights}> {{ {body} }}"
    model = onnx.parser.parse_model(text if weights else text.replace("<> ", ""))
    for number, node in enumerate(model.graph.node):
        node.name = f"node_{number}"
    return model


NORM = "float[3] s = {1,1,1}, float[3] b = {0,0,0}, float[3] m = {0,0,0}, float[3] v = {1,1,1}"
BROKEN = {
    "dropout in training mode": (
        graph("y, mask = Dropout (x, r, t)", weights="float r = {0.5}, bool t = {1}"),
        ["draws random numbers itself (Dropout node_0)", "noise input"],
    ),
    "batch norm in training mode": (
        graph("y, a, c = BatchNormalization <training_mode = 1> (x, s, b, m, v)", weights=NORM),
        ["normalises over the batch (BatchNormalization node_0)", "--statistics"],
    ),
    "random op": (
        graph("z = RandomNormalLike (x)  y = Add (x, z)"),
        ["draws random numbers itself (RandomNormalLike node_0)", "noise input"],
    ),
    "bernoulli": (
        graph("z = Bernoulli (x)  y = Add (x, z)"),
        ["draws random numbers itself (Bernoulli node_0)", "noise input"],
    ),
    "uint8 transposed first": (
        graph(f"c = Cast <to = {UINT8}> (x) t = Transpose <perm = [0, 1, 3, 2]> (c) y = Cast <to = {FLOAT}> (t)"),
        ["node node_0 (Cast) works on uint8", "put the Cast first"],
    ),
    "double inside": (
        graph(f"c = Cast <to = {DOUBLE}> (x)  d = Relu (c)  y = Cast <to = {FLOAT}> (d)"),
        ["node node_0 (Cast) works on double", "float32 or int64"],
    ),
    "wrong type of an input": (
        graph(f"y = Cast <to = {FLOAT}> (x)", takes="double[N,3,8,8] x"),
        ["x is double in the graph, float in the contract", "export the checkpoint again"],
    ),
    "wrong type of an output": (
        graph("y = Cast <to = 10> (x)", gives="float16[N,3,8,8] y"),
        ["y is float16 in the graph, float in the contract"],
    ),
    "another name": (graph("y = Relu (z)", takes="float[N,3,8,8] z"), ["tensors ['z'], the contract says ['x']"]),
    "operator without importer": (
        graph(
            "d = Det (x)  u = Unsqueeze (d, a)  y = Add (x, e) ", weights="int64[2] a = {2, 3}, float[1] e = {0}"
        ),
        ["has no Det (node node_0)", "other operators"],
    ),
    "operator of another domain": (
        graph("y = my.Swirl (x)", opset='"" : 20, "my" : 1'),
        ["node node_0 is the operator my.Swirl", "plugin"],
    ),
    "opset too new": (graph("y = Relu (x)", opset='"" : 26'), ["opset 26", "9 to 25", "version_converter"]),
    "batch of one fixed number": (
        graph("y = Relu (x)", takes="float[1,3,8,8] x", gives="float[1,3,8,8] y"),
        ["the profile gives x the shape [2, 3, 8, 8], the graph says [1, 3, 8, 8]", "--batch"],
    ),
}


def no_gates(*_: object) -> dict[str, Figure]:
    raise AssertionError("nothing runs here")


def build(model: bytes, contract: Contract = CONTRACT) -> None:
    wish = EngineWish(flavour=flavour("tensorrt-rtx"), batches=parse_batches(["2"]))
    build_engines([Source(precision="fp16", model=model)], contract, wish, gates=no_gates)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_graph_is_refused_with_the_node_and_the_way_out(what: str) -> None:
    model, parts = BROKEN[what]
    with pytest.raises(CheckFailedError) as caught:
        build(model.SerializeToString())
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_sound_graph_that_the_broken_ones_vary_is_built() -> None:
    build(graph("y = Relu (x)").SerializeToString())
    build(graph("y = BatchNormalization (x, s, b, m, v)", weights=NORM).SerializeToString())


def lint_with(model: onnx.ModelProto, shapes: list[Shapes], unsupported: set[str] | None = None) -> None:
    lint_for_tensorrt(
        model.SerializeToString(),
        CONTRACT,
        shapes,
        edge=Edge(),
        unsupported=lambda names: set(names) & (unsupported or set()),
        who="TensorRT 1.0",
    )


def test_tensors_in_other_files_are_refused() -> None:
    model = graph("y = Add (x, w)", weights="float[8] w = {1, 1, 1, 1, 1, 1, 1, 1}")
    weight = model.graph.initializer[0]
    weight.raw_data = onnx.numpy_helper.to_array(weight).tobytes()
    del weight.float_data[:]
    onnx.external_data_helper.set_external_data(weight, location="secret.bin")
    weight.ClearField("raw_data")
    with pytest.raises(CheckFailedError, match="keeps tensors in other files: save it as one"):
        lint_with(model, [])


def test_a_free_input_without_a_profile_is_refused() -> None:
    with pytest.raises(CheckFailedError, match="input x has a free size and no optimisation profile"):
        lint_with(graph("y = Relu (x)"), [{}])


def test_the_operator_that_the_installed_version_lacks_is_looked_for_inside_branches_too() -> None:
    inner = graph("y = Tanh (x)").graph
    del inner.input[:]
    branch = onnx.helper.make_node("If", ["c"], ["y"], name="choice", then_branch=inner, else_branch=inner)
    model = graph("y = Relu (x)", takes=f"{X}, bool c")
    model.graph.node.pop()
    model.graph.node.append(branch)
    with pytest.raises(CheckFailedError, match=r"TensorRT 1.0 has no Tanh \(node node_0\)"):
        lint_with(model, [], {"Tanh"})


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(CheckFailedError, match="no ONNX model"):
        build(b"\xff\xff")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet, batch norm", "palette", "every kind of tensor"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_we_export_has_nothing_to_refuse(kind: str, precision: str) -> None:
    model, contract = graph_of(KINDS[kind](), precision)  # type: ignore[arg-type]  # one of the two
    shapes = [shapes_of(contract, profile) for profile in profiles_for(contract, parse_batches(["1", "1..16"]))]
    lint_for_tensorrt(model, contract, shapes, edge=Edge(), unsupported=lambda _: set(), who="TensorRT")
