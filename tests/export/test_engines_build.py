"""Real plans, built by TensorRT-RTX on the CPU: what it reads is the contract, and the plan is for its targets."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from cgan_export.engines import api
from cgan_export.engines.builder import BuildOptions, Built, Report, build_plan, unsupported_operators
from cgan_export.engines.edge import Edge
from cgan_export.engines.flavours import flavour
from cgan_export.engines.plan_header import BITS, targets_of
from cgan_export.engines.profiles import parse_batches, profiles_for
from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output
from cgan_runtime.errors import CganError, CheckFailedError, UsageError
from cgan_runtime.manifest import Batch
from onnx import TensorProto

from tests.export.engines import KINDS, graph_of, translator
from tests.export.sources.files import FILES
from tests.export.test_readers import load

RTX = flavour("tensorrt-rtx")
BATCHES = ("1", "1..4..16")
TYPES = {"float32": "FLOAT", "int64": "INT64"}  # TensorRT's words for those of a contract
Precision = Literal["fp16", "int8"]


def build(model: bytes, contract: Contract, *batches: str, sides: str | None = None, **options: object) -> Built:
    profiles = profiles_for(contract, parse_batches(batches or BATCHES), sides)
    return build_plan(RTX, model, contract, profiles, options=BuildOptions(**options))  # type: ignore[arg-type]  # of any option


def assert_is_the_contract(built: Built, contract: Contract, io: str = "FLOAT") -> None:
    """Names, types and shapes that TensorRT read, against the contract, computed here once more."""
    for read, tensors in ((built.inputs, contract.inputs), (built.outputs, contract.outputs)):
        wanted = [
            (
                t.name,
                io if t.dtype == "float32" else "INT64",
                [-1, *(a if isinstance(a, int) else -1 for a in t.shape)],
            )
            for t in tensors
        ]
        assert [(t.name, t.dtype, list(t.shape)) for t in read] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_that_is_read_is_the_contract(kind: str) -> None:
    model, contract = graph_of(KINDS[kind]())
    built = build(model, contract, targets=("sm86", "sm89"))
    assert_is_the_contract(built, contract)
    assert built.plan.targets == ("sm86", "sm89")
    assert len(built.shapes) == 2
    for batches, shapes in zip(((1, 1, 1), (1, 4, 16)), built.shapes, strict=True):
        assert shapes == {t.name: tuple((n, *t.shape) for n in batches) for t in contract.inputs}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unet, batch norm", "cgan, mlp", "every kind of tensor"])
def test_int8_is_read_from_its_explicit_scales(kind: str) -> None:
    model, contract = graph_of(KINDS[kind](), "int8")
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(model).graph.node)
    assert_is_the_contract(build(model, contract), contract)


def test_fp16_inputs_and_outputs_are_a_matter_of_the_file() -> None:
    model, contract = graph_of(KINDS["every kind of tensor"](), io="fp16")
    profiles = profiles_for(contract, parse_batches(["2"]))
    assert_is_the_contract(build_plan(RTX, model, contract, profiles, edge=Edge(io="fp16")), contract, "HALF")
    with pytest.raises(CheckFailedError, match=r"TensorRT reads content as HALF .* FLOAT"):
        build_plan(RTX, model, contract, profiles, edge=Edge())


@pytest.mark.slow
def test_super_resolution_of_other_code(tmp_path: Path) -> None:
    model, contract = graph_of(load(FILES["pytorch-gan-srgan"](), tmp_path, size=(16, 24)).generator)
    assert contract.outputs[0].shape == (3, 64, 96)
    assert_is_the_contract(build(model, contract), contract)


@pytest.mark.slow
def test_masks_follow_a_free_size_through_every_profile() -> None:
    model, contract = graph_of(translator(norm="instance"), free=True)
    built = build(model, contract, "1", "2..8", sides="64..128..256")
    assert_is_the_contract(built, contract)
    for batches, shapes in zip(((1, 1, 1), (2, 8, 8)), built.shapes, strict=True):
        assert list(shapes) == [tensor.name for tensor in contract.inputs]
        for tensor in contract.inputs:
            sizes = [{"h": side, "w": side} for side in (64, 128, 256)]
            wanted = tuple((n, *shape_of(tensor.shape, size)) for n, size in zip(batches, sizes, strict=True))
            assert shapes[tensor.name] == wanted
    assert built.shapes[0]["mask_0"][2][2:] == (8, 8)
    assert built.plan.profiles[1].min == (64, 64)


@pytest.mark.slow
def test_the_plan_is_for_the_targets_asked_for() -> None:
    """The mask in the header is read off real plans: this is where a release that moves it is noticed."""
    model, contract = graph_of(KINDS["no condition"]())
    for targets in [*((one,) for one in BITS), ("sm86", "sm89", "sm120"), tuple(BITS)]:
        built = build(model, contract, "1", targets=targets)
        assert targets_of(built.data) == built.plan.targets == targets


def test_without_targets_the_plan_says_for_which_it_is() -> None:
    model, contract = graph_of(KINDS["no condition"]())
    built = build(model, contract, "1")
    assert {"sm80", "sm86", "sm89", "sm120"} <= set(built.plan.targets)
    assert built.plan.gpu == ""


def test_a_target_that_this_version_does_not_build_for_is_named() -> None:
    model, contract = graph_of(KINDS["no condition"]())
    with pytest.raises(UsageError, match=r"--target sm90 is not known to TensorRT-RTX .*; choose from sm75, sm80"):
        build(model, contract, "1", targets=("sm86", "sm90"))


def test_bytes_that_are_no_plan_have_no_targets() -> None:
    for data in (b"", b"vtrt", b"\0" * 64, b"vtrt" + b"\0" * 60):
        with pytest.raises(CganError, match="header"):
            targets_of(data)


@pytest.mark.slow
def test_what_cannot_be_built_without_a_gpu_says_so() -> None:
    model, contract = graph_of(KINDS["no condition"]())
    with pytest.raises(CganError, match="--refit only where a GPU is"):
        build(graph_of(translator())[0], translator().contract, "1", refit=True)
    assert build(model, contract, "1", workspace=1 << 26).plan.refittable is False


@pytest.mark.slow
def test_progress_is_passed_on_and_an_exception_in_it_ends_the_build() -> None:
    model, contract = graph_of(KINDS["cdcgan"]())
    profiles = profiles_for(contract, parse_batches(["1"]))
    seen: list[str] = []
    build_plan(RTX, model, contract, profiles, report=Report(show=seen.append))
    assert seen[0] == "building engine: step 0 of 6"
    assert len(seen) > 20

    def interrupt(text: str) -> None:
        if text.startswith("optimizing graph"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(RTX, model, contract, profiles, report=Report(show=interrupt))


def test_a_graph_that_the_parser_refuses_is_one_sentence_with_the_node(capfd: pytest.CaptureFixture[str]) -> None:
    contract = Contract(
        conditions=(Condition(name="x", shape=(3, 8, 8), encoding=ImageEncoding()),),
        noise=(),
        outputs=(Output(name="y", shape=(3, 8, 8)),),
        statistics="none",
    )
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[N,3,8,8] x) => (float[N,3,8,8] y) { h = Cast <to = 10> (x)  y = Add (x, h) }"""
    model = onnx.parser.parse_model(text)
    model.graph.node[1].name = "sum"
    with pytest.raises(CganError, match=r"cannot take the graph: node sum \(Add\): .*same input types") as caught:
        build(model.SerializeToString(), contract, "1")
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)
    assert capfd.readouterr().err == ""


def fp8_graph() -> bytes:
    """A convolution with 8-bit floats in explicit Q/DQ."""
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[N,4,8,8] x) => (float[N,4,8,8] y) <float scale = {0.1}, float[4,4,3,3] w>
    { q = QuantizeLinear (x, scale, zero)  d = DequantizeLinear (q, scale, zero)
      qw = QuantizeLinear (w, scale, zero)  dw = DequantizeLinear (qw, scale, zero)
      y = Conv <pads = [1, 1, 1, 1]> (d, dw) }"""
    model = onnx.parser.parse_model(text)
    weight = onnx.numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w")
    zero = onnx.helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    kept = [w for w in model.graph.initializer if w.name != "w"]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, weight, zero])
    return bytes(model.SerializeToString())


def test_fp8_is_built_for_gpus_that_have_it_and_refused_for_others() -> None:
    contract = Contract(
        conditions=(Condition(name="x", shape=(4, 8, 8)),),
        noise=(),
        outputs=(Output(name="y", shape=(4, 8, 8)),),
        statistics="none",
    )
    assert build(fp8_graph(), contract, "1", targets=("sm89", "sm120")).plan.targets == ("sm89", "sm120")
    with pytest.raises(CganError, match="cannot build the engine"):
        build(fp8_graph(), contract, "1", targets=("sm75",))


def test_the_parser_is_asked_which_operators_it_has() -> None:
    assert unsupported_operators(RTX, ["Conv", "Det", "Tanh", "Unique"]) == {"Det", "Unique"}


def test_a_batch_is_in_the_plan_as_it_was_asked_for() -> None:
    model, contract = graph_of(KINDS["no condition"]())
    built = build(model, contract, "2", "1..8")
    assert [profile.batch for profile in built.plan.profiles] == [
        Batch(min=2, opt=2, max=2),
        Batch(min=1, opt=8, max=8),
    ]


@pytest.mark.parametrize(
    "name",
    ["Builder", "Config", "Network", "NetworkTensor", "OptimizationProfile", "Parser", "ParserError", "TensorRT"],
)
def test_the_installed_bindings_have_what_the_types_name(name: str) -> None:
    trt = RTX.load()
    theirs = {
        "Config": "IBuilderConfig",
        "Network": "INetworkDefinition",
        "NetworkTensor": "ITensor",
        "OptimizationProfile": "IOptimizationProfile",
        "Parser": "OnnxParser",
    }.get(name, name)
    ours = getattr(api, name)
    wanted = {key for key in (*vars(ours), *ours.__annotations__) if not key.startswith("_")}
    assert wanted
    assert wanted <= set(dir(trt if name == "TensorRT" else getattr(trt, theirs)))
