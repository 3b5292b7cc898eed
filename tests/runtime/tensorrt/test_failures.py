"""What a TensorRT runner leaves behind when something fails: nothing, and never an old result."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
from cgan_runtime.runners.tensorrt.runner import TensorRtRunner
from onnx import TensorProto, helper

from tests.runtime.tensorrt.conftest import Open, assert_same, inputs_of, open_on_fakes
from tests.runtime.tensorrt.fake_cuda import FakeDriver, Faults
from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, batches, fake_plan

BATCHES = [1, 1, 1, 5, 5, 2]


Call = Callable[[Runner], dict[str, Array]]
Case = tuple[Call, dict[str, Array]]  # a call and what it must give


def generated(runner: Runner, inputs: dict[str, Array]) -> dict[str, Array]:
    """With seeds in place of the noise."""
    conditions = {name: value for name, value in inputs.items() if name != "z"}
    rows = len(inputs["z"])
    return SeededGenerator(runner).generate(conditions, range(rows), [rows] * rows)


def one_life(bundle: Bundle, cases: list[Case], driver: FakeDriver, trt: FakeTensorRt) -> None:
    """Open, use and close a runner; a failed call of `infer` is followed by a second try, which must succeed."""
    contract = bundle.manifest.contract
    samples = {tensor.name: tuple(map(int, tensor.shape)) for tensor in contract.inputs}
    plan = fake_plan(bundle.read(bundle.manifest.artifacts[0]), batches(samples, (1, 1), (2, 4)))
    flavour = TENSORRT_RTX if trt.is_rtx else TENSORRT
    with TensorRtRunner(plan, contract, driver=driver, flavour=flavour, module=trt, contexts=2) as runner:
        for call, wanted in cases:
            before = len(driver.faults.calls)
            try:
                answer = call(runner)
            except CganError as error:
                assert str(error).endswith(".")
                answer = call(runner)
            else:
                assert driver.faults.fail_at not in range(before, len(driver.faults.calls)), (
                    "a failure was passed over"
                )
            assert_same(answer, wanted, exact=False)


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_everything_is_given_back_whichever_call_fails(blends: Bundle, rtx: bool) -> None:
    given = [inputs_of(blends.manifest.contract, batch, seed) for seed, batch in enumerate(BATCHES)]
    calls_made: list[Call] = [partial(Runner.infer, inputs=inputs) for inputs in given]
    calls_made += [partial(generated, inputs=inputs) for inputs in given]
    with blends.runner() as reference:
        cases = [(call, call(reference)) for call in calls_made]
    driver = FakeDriver()
    one_life(blends, cases, driver, FakeTensorRt(driver, rtx=rtx))
    calls = driver.faults.calls
    assert {"load_module", "launch", "unload_module"} <= set(calls)
    assert {"allocate", "allocate_pinned", "copy_to_host", "synchronise", "free", "close"} <= set(calls)
    assert {"deserialize_cuda_engine", "infer_shapes", "set_tensor_address", "execute_async_v3"} <= set(calls)
    assert ("end_capture" in calls) == (not rtx)
    for number, name in enumerate(calls):
        driver = FakeDriver(Faults(fail_at=number))
        trt = FakeTensorRt(driver, rtx=rtx)
        with suppress(CganError):
            one_life(blends, cases, driver, trt)
        assert len(driver.faults.calls) > number, name
        assert not driver.alive(), f"call {number}, {name}, failed"
        if list(trt.alive):
            gc.collect()  # an error may keep the frames of its traceback
        assert not list(trt.alive), f"call {number}, {name}, failed"


def test_closing_twice_is_allowed_and_using_it_then_is_not(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 4), contexts=2)
    inputs = inputs_of(one.runner.contract, 1)
    one.runner.infer(inputs)
    one.runner.close()
    one.runner.close()
    assert not one.trt.freed_late
    for _ in range(2):
        with pytest.raises(CganError, match="was closed; open another one"):
            one.runner.infer(inputs)


def test_tensorrts_own_words_are_in_the_error(blends: Bundle) -> None:
    driver = FakeDriver()
    contract = blends.manifest.contract
    for plan in (b"something else", b""):
        with pytest.raises(
            BundleError, match=r"TensorRT 11\.4\.0\.106 cannot load the plan: the plan has another magic"
        ):
            TensorRtRunner(plan, contract, driver=driver, flavour=TENSORRT, module=FakeTensorRt(driver))
        assert not driver.alive()
        driver = FakeDriver()


@pytest.mark.parametrize(
    ("name", "spare"),
    [
        ("set_input_shape", 0),
        ("set_input_shape", 2),
        ("infer_shapes", 0),
        ("set_tensor_address", 0),
        ("set_tensor_address", 5),
        ("execute_async_v3", 0),
    ],
)
@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_shapes_that_failed_do_not_reach_those_that_worked(
    opened: Open, blends: Bundle, rtx: bool, name: str, spare: int
) -> None:
    """Batch 2 works, 3 fails half-way, 2 comes again: nothing of 3 may be left in the context."""
    faults = Faults()
    one = opened(blends, (1, 4), faults=faults, rtx=rtx)
    two, three = (inputs_of(one.runner.contract, batch) for batch in (2, 3))
    one.runner.infer(two)
    faults.fail_named, faults.spare = name, spare
    with pytest.raises(CganError, match=f"refused.*: {name} did not work"):
        one.runner.infer(three)
    faults.fail_named = ""
    assert_same(one.runner.infer(two), blends.runner().infer(two))


@pytest.mark.parametrize(
    ("invalid", "words"),
    [
        (2, r"TensorRT-RTX 11\.4\.0\.106 cannot run this plan here: it was not built for this GPU; build it"),
        (5, "another version of TensorRT-RTX built it and the NVIDIA driver is too old for it"),
        (0, "it gives no reason"),
    ],
)
def test_rtx_is_asked_whether_the_plan_suits_the_gpu(blends: Bundle, invalid: int, words: str) -> None:
    driver = FakeDriver(target="sm90")
    trt = FakeTensorRt(driver, rtx=True)
    trt.invalid = invalid
    with pytest.raises(BundleError, match=words):
        TensorRtRunner(
            fake_plan(b"", []), blends.manifest.contract, driver=driver, flavour=TENSORRT_RTX, module=trt
        )
    assert not driver.alive()


def test_no_context_is_refused(blends: Bundle) -> None:
    driver = FakeDriver()
    with pytest.raises(UsageError, match="contexts 0; give 1 or more"):
        open_on_fakes(b"", blends.manifest.contract, [], contexts=0, driver=driver)
    assert not driver.alive()


def graph(change: Callable[[dict[str, Any]], None]) -> bytes:
    """label, z -> picture, with one thing changed."""
    parts: dict[str, Any] = {
        "label": (TensorProto.INT64, ["batch"]),
        "z": (TensorProto.FLOAT, ["batch", 4]),
        "picture": (TensorProto.FLOAT, ["batch", 1, 16, 16]),
    }
    change(parts)
    nodes = [
        helper.make_node("Cast", [name], [f"{name}_out"], to=TensorProto.FLOAT)
        for name in parts
        if name != "picture"
    ]
    to = parts["picture"][0]
    nodes.append(helper.make_node("ConstantOfShape", ["shape"], ["zero"]))
    nodes.append(helper.make_node("Cast", ["zero"], ["picture"], to=to))
    shape = helper.make_tensor(
        "shape", TensorProto.INT64, [len(parts["picture"][1])], [1] * len(parts["picture"][1])
    )
    infos = {name: helper.make_tensor_value_info(name, *value) for name, value in parts.items()}
    made = helper.make_graph(
        nodes, "changed", [v for k, v in infos.items() if k != "picture"], [infos["picture"]], [shape]
    )
    return bytes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("label"), r"takes \['z'\], its contract says \['label', 'z'\]"),
        (lambda p: p.update(extra=(TensorProto.FLOAT, ["batch"])), r"takes \['extra', 'label', 'z'\]"),
        (
            lambda p: p.update(z=(TensorProto.UINT8, ["batch", 4])),
            r"takes z as UINT8 \[-1, 4\].*float32 \['N', 4\]",
        ),
        (lambda p: p.update(label=(TensorProto.FLOAT, ["batch"])), r"takes label as FLOAT \[-1\].*int64 \['N'\]"),
        (lambda p: p.update(z=(TensorProto.FLOAT, ["batch", 5])), r"takes z as FLOAT \[-1, 5\]"),
        (lambda p: p.update(z=(TensorProto.FLOAT, ["batch", 4, 1])), r"takes z as FLOAT \[-1, 4, 1\]"),
        (lambda p: p.update(picture=(TensorProto.INT64, ["batch", 1, 16, 16])), r"gives picture as INT64"),
        (lambda p: p.update(picture=(TensorProto.FLOAT, ["batch", 1, 16, 8])), r"gives picture as FLOAT"),
    ],
)
def test_another_signature_than_the_contracts_is_refused(
    shoes: Bundle, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    contract: Contract = shoes.manifest.contract
    driver = FakeDriver()
    with pytest.raises(BundleError, match=words):
        open_on_fakes(graph(change), contract, batches({"label": (), "z": (4,)}, (1, 4)), driver=driver)
    assert not driver.alive()
