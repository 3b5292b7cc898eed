"""Many samples of one condition: the encoder runs once, and every sample is what it is alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from cgan_export.graph.lint import lint
from cgan_export.graph.onnx_graph import onnx_from_generator, with_metadata
from cgan_export.graph.rewrites.shared_conditions import LARGE, share_conditions
from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output
from cgan_runtime.errors import CganError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.onnx_file import CONTRACT_KEY, SHARED_CONDITIONS_KEY, metadata
from cgan_runtime.runners import runner_kind
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ROWS = 5
SEEDS = [1, 2, 3, 4, 2**64 - 1]


@pytest.fixture(scope="module")
def plain() -> tuple[onnx.ModelProto, Contract]:
    generator = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=4, dropout="paper")).eval()
    model = onnx_from_generator(generator, generator.contract)
    return with_metadata(model, name="u", family="pix2pix", contract=generator.contract), generator.contract


def shared(model: onnx.ModelProto, *, large: int = 0) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    assert share_conditions(copy, large=large) > 0
    lint(copy)
    return copy


def toy(nodes: str, *, noise: str = "float[n, 2, 4, 4] z") -> onnx.ModelProto:
    """A graph of an image x and noise z with stored weights w and v, and the contract that it has."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[n, 3, 4, 4] x{", " + noise if noise else ""}) => (float[n, c, 4, 4] y) {{ {nodes} }}"""
    )
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(2, 3, 3, 3)), "v": rng.normal(size=(2, 4, 1, 1))}
    stored = {name: value.astype(np.float32) for name, value in weights.items()}
    stored |= {name: np.array([value], dtype=np.int64) for name, value in (("from", 0), ("to", 4), ("axis", 3))}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in stored.items())
    for node in model.graph.node:
        node.name = node.output[0]
    given = (NoiseInput(name="z", index=0, distribution="normal", shape=(2, 4, 4), parameters={}),)
    contract = Contract(
        conditions=(Condition(name="x", shape=(3, 4, 4), encoding=ImageEncoding()),),
        noise=given if noise else (),
        outputs=(Output(name="y", shape=(2, 4, 4)),),
        statistics="none",
    )
    return with_metadata(model, name="toy", family="toy", contract=contract)


ENCODER = "e = Conv <pads = [1, 1, 1, 1], kernel_shape = [3, 3]> (x, w)"


def in_float64(model: onnx.ModelProto, inputs: dict[str, Array]) -> Array:
    """The output by ONNX's own reference implementation, of the same graph with doubles."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for item in wide.graph.initializer:
        if item.data_type == TensorProto.FLOAT:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float64), item.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del wide.graph.value_info[:]
    (output,) = ReferenceEvaluator(wide).run(None, inputs)
    return np.asarray(output)


def feed(contract: Contract, rows: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {tensor.name: rng.normal(size=(rows, *shape_of(tensor.shape, {}))) for tensor in contract.inputs}


@pytest.mark.parametrize("large", [0, LARGE])
def test_the_function_is_the_same_in_float64(plain: tuple[onnx.ModelProto, Contract], large: int) -> None:
    """One condition beside K rows of noise, against the plain graph with K equal conditions."""
    model, contract = plain
    inputs = feed(contract, ROWS)
    one = inputs | {c.name: inputs[c.name][:1] for c in contract.conditions}
    each = one | {c.name: np.repeat(one[c.name], ROWS, axis=0) for c in contract.conditions}
    made = shared(model, large=large)
    for plain_feed, made_feed in ((each, one), (each, each), (inputs, inputs)):
        expected, got = in_float64(model, plain_feed), in_float64(made, made_feed)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("large", [0, LARGE])
@pytest.mark.parametrize(("backend", "apart"), [("onnxruntime", 0.0), ("openvino", 2e-6)])
def test_a_sample_is_the_same_alone_and_beside_others_of_its_condition(
    plain: tuple[onnx.ModelProto, Contract], backend: str, apart: float, large: int
) -> None:
    """To the last bit on ONNX Runtime. OpenVINO rounds otherwise in any batch: 2e-6 of a level's 8e-3."""
    model, contract = plain
    conditions = {c.name: feed(contract, 1)[c.name].astype(np.float32) for c in contract.conditions}
    repeated = {name: np.repeat(value, ROWS, axis=0) for name, value in conditions.items()}
    runner = runner_kind(backend).open(shared(model, large=large).SerializeToString(), contract)
    with runner:
        assert runner.shares_conditions
        generator = SeededGenerator(runner)
        together = generator.generate(repeated, SEEDS, [0] * ROWS)
        for row, seed in enumerate(SEEDS):
            alone = generator.generate(conditions, [seed], [0])
            for name, value in alone.items():
                np.testing.assert_allclose(together[name][row : row + 1], value, rtol=0, atol=apart)


def test_what_depends_on_the_condition_alone_is_computed_once(
    plain: tuple[onnx.ModelProto, Contract], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of every convolution, as ONNX Runtime computes them: of the 2 x 7 of the decoder 6 have one row."""
    model, contract = plain
    made = shared(model)
    convolutions = [n.output[0] for n in made.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in convolutions)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {name: value.astype(np.float32) for name, value in feed(contract, ROWS).items()}
    one = inputs | {c.name: inputs[c.name][:1] for c in contract.conditions}
    rows = [value.shape[0] for value in session.run(convolutions, one)]
    assert set(rows) == {1, ROWS}
    plain_count = sum(node.op_type in ("Conv", "ConvTranspose") for node in model.graph.node)
    assert rows.count(ROWS) == plain_count // 2 - 1  # the decoder but for its first layer, which sees no noise
    # Rows of one condition are found wherever they come from, as floats or as bytes.
    runner = OnnxRuntimeRunner(shared(model).SerializeToString(), contract)
    seen: list[int] = []
    run = runner._run

    def watched(inputs: dict[str, Array]) -> dict[str, Array]:
        seen.append(len(inputs[contract.conditions[0].name]))
        return run(inputs)

    monkeypatch.setattr(runner, "_run", watched)
    equal = np.repeat(one[contract.conditions[0].name], ROWS, axis=0)
    different = equal.copy()
    different[-1, 0, 0, 0] += 1
    for image in (equal, different, np.full((ROWS, 64, 64, 3), 7, dtype=np.uint8)):
        runner.infer(inputs | {contract.conditions[0].name: image})
    assert seen == [1, ROWS, 1]


@pytest.mark.parametrize(
    ("nodes", "operators"),
    [
        # Cut in two, through an activation.
        (f"{ENCODER} c = Concat <axis = 1> (e, z) r = LeakyRelu <alpha = 0.2> (c) y = Conv (r, v)", {"Expand": 0}),
        # Repeated: what takes it is no convolution, or takes it as weights.
        (f"{ENCODER} c = Concat <axis = 1> (e, z) y = Mul (c, c)", {"Expand": 1}),
        (f"{ENCODER} c = Concat <axis = 1> (e, z) r = Relu (c) t = Conv (r, v) y = Add (t, e)", {"Expand": 0}),
        (f"{ENCODER} c = Concat <axis = 1> (z, e, z) y = Sqrt (c)", {"Expand": 1}),
        (f"{ENCODER} c = Concat <axis = 3> (e, z) y = Slice (c, from, to, axis)", {"Expand": 1}),
        (f"{ENCODER} y = Mul (e, z)", {"Expand": 0}),
    ],
)
def test_concatenations_are_cut_where_convolutions_follow(nodes: str, operators: dict[str, int]) -> None:
    model = toy(nodes)
    made = shared(model)
    kinds = [node.op_type for node in made.graph.node]
    assert {kind: kinds.count(kind) for kind in operators} == operators
    assert metadata(made.SerializeToString())[SHARED_CONDITIONS_KEY] == "1"
    rng = np.random.default_rng(0)
    x, z = np.abs(rng.normal(size=(1, 3, 4, 4))), np.abs(rng.normal(size=(ROWS, 2, 4, 4)))
    expected = in_float64(model, {"x": np.repeat(x, ROWS, axis=0), "z": z})
    np.testing.assert_allclose(in_float64(made, {"x": x, "z": z}), expected, atol=1e-12)


def test_only_large_convolutions_are_cut() -> None:
    """v has 2 x 4 weights of which the condition's channels take half, on a map of 4 x 4: 64 multiply-adds."""
    model = toy(f"{ENCODER} c = Concat <axis = 1> (e, z) y = Conv (c, v)")
    for large, kinds in ((64, {"Conv": 3, "Expand": 0}), (65, {"Conv": 2, "Expand": 1})):
        found = [node.op_type for node in shared(model, large=large).graph.node]
        assert {kind: found.count(kind) for kind in kinds} == kinds


@pytest.mark.parametrize(
    ("nodes", "noise"),
    [
        (f"{ENCODER} y = Relu (e)", ""),
        ("y = Mul (z, z)", "float[n, 2, 4, 4] z"),  # nothing to compute once
        (f"{ENCODER} y = MatMul (e, z)", "float[n, 2, 4, 4] z"),
        (f"{ENCODER} y = Concat <axis = 0> (e, z)", "float[n, 2, 4, 4] z"),
        (f"{ENCODER} q = Add (e, z) y = Relu (e)", "float[n, 2, 4, 4] z"),  # the output is no sample
        (f"{ENCODER} s = Shape (e) y = Reshape (z, s)", "float[n, 2, 4, 4] z"),
    ],
)
def test_other_graphs_are_left_alone(nodes: str, noise: str) -> None:
    model = toy(nodes, noise=noise)
    before = model.SerializeToString(deterministic=True)
    assert share_conditions(model) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_a_graph_without_a_contract_is_left_alone(plain: tuple[onnx.ModelProto, Contract]) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(plain[0])
    del model.metadata_props[:]
    assert share_conditions(model) == 0


def test_a_file_that_only_says_that_it_shares_is_found_out() -> None:
    """It would give one image for many seeds."""
    model = toy(f"{ENCODER} y = Relu (e)")
    contract = Contract.model_validate_json({e.key: e.value for e in model.metadata_props}[CONTRACT_KEY])
    model.metadata_props.append(onnx.StringStringEntryProto(key=SHARED_CONDITIONS_KEY, value="1"))
    with (
        OnnxRuntimeRunner(model.SerializeToString(), contract) as runner,
        pytest.raises(CganError, match="answered y"),
    ):
        SeededGenerator(runner).generate({"x": np.zeros((2, 3, 4, 4), dtype=np.float32)}, [1, 2], [0, 0])
