"""A TensorRT runner computes what ONNX Runtime computes of the same graph, whatever ran before or beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.precision.fp16 import half_precision
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, ImageEncoding, Output, SizeRule
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_runtime.runners.tensorrt import lane
from onnx import TensorProto, helper

from tests.runtime.tensorrt.conftest import Open, assert_same, inputs_of, open_on_fakes
from tests.runtime.tensorrt.fake_tensorrt import batches

ORDER = [1, 5, 1, 16, 3, 5, 5, 1, 16, 3, 3, 1]


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "no graphs"])
def test_every_batch_in_any_order_is_what_onnx_runtime_gives(
    opened: Open, blends: Bundle, rtx: bool, graphs: bool
) -> None:
    one = opened(blends, (1, 1), (1, 16), rtx=rtx, graphs=graphs)
    for seed, batch in enumerate(ORDER):
        inputs = inputs_of(one.runner.contract, batch, seed)
        assert_same(one.runner.infer(inputs), blends.runner().infer(inputs))
    assert ("launch_graph" in one.driver.faults.calls) == (graphs and not rtx)


def test_a_batch_is_its_rows(opened: Open, blends: Bundle) -> None:
    runner = opened(blends, (1, 1), (2, 8)).runner
    inputs = inputs_of(runner.contract, 19)
    together = runner.infer(inputs)
    for row in range(19):
        alone = runner.infer({name: value[row : row + 1] for name, value in inputs.items()})
        assert_same(alone, {name: value[row : row + 1] for name, value in together.items()}, exact=False)


@pytest.mark.parametrize("batch", [1, 3, 8, 9, 12, 17])
def test_a_batch_below_the_smallest_or_beyond_the_largest_is_run_in_parts(
    opened: Open, blends: Bundle, batch: int
) -> None:
    runner = opened(blends, (4, 8)).runner
    inputs = inputs_of(runner.contract, batch)
    for _ in range(3):
        assert_same(runner.infer(inputs), blends.runner().infer(inputs), exact=False)


def test_a_shape_that_comes_again_is_a_graph_with_new_data(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 8))
    for seed in range(5):
        inputs = inputs_of(one.runner.contract, 3, seed)
        assert_same(one.runner.infer(inputs), blends.runner().infer(inputs))
    calls = one.driver.faults.calls
    # Once as it is, once recorded, then only launched.
    assert (calls.count("execute_async_v3"), calls.count("launch_graph"), one.driver.alive()["graphs"]) == (2, 4, 1)


def test_memory_is_allocated_when_the_runner_is_made_and_never_again(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 1), (1, 8))
    before = one.driver.alive()
    for batch in (1, 8, 3, 8, 1, 20):
        one.runner.infer(inputs_of(one.runner.contract, batch))
    after = {kind: count for kind, count in one.driver.alive().items() if kind != "graphs"}
    assert after == before


def test_outputs_belong_to_the_caller(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 8))
    inputs = inputs_of(one.runner.contract, 2)
    answer = one.runner.infer(inputs)
    one.runner.infer(inputs_of(one.runner.contract, 2, seed=1))
    one.runner.close()
    assert_same(answer, blends.runner().infer(inputs))


def test_several_threads_get_what_one_gets(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 1), (1, 8), contexts=2)
    jobs = [inputs_of(one.runner.contract, 1 + seed % 5, seed) for seed in range(60)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(one.runner.infer, jobs))
    for inputs, answer in zip(jobs, answers, strict=True):
        assert_same(answer, blends.runner().infer(inputs))


def test_labels_reach_an_engine(opened: Open, shoes: Bundle) -> None:
    runner = opened(shoes, (1, 4)).runner
    inputs = inputs_of(runner.contract, 3)
    assert_same(runner.infer(inputs), shoes.runner().infer(inputs))


def test_a_seed_makes_the_image_that_onnx_runtime_makes(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 1), (1, 4))
    conditions = {k: v for k, v in inputs_of(one.runner.contract, 3).items() if k != "z"}
    here = SeededGenerator(one.runner)
    for _ in range(3):
        wanted = blends.generator().generate(conditions, [7, 2**63 + 1, 0], [0, 1, 0])
        assert_same(here.generate(conditions, [7, 2**63 + 1, 0], [0, 1, 0]), wanted)


@pytest.mark.parametrize("io_fp16", [True, False])
def test_half_precision_at_the_edge_is_the_contracts_float32(bundle: Bundle, io_fp16: bool) -> None:
    """A pix2pix generator with masks, in the form in which TensorRT gets it."""
    contract = bundle.manifest.contract
    model = half_precision(onnx.load(bundle.path / "model.onnx"), io_fp16=io_fp16).SerializeToString()
    samples = {tensor.name: tuple(map(int, tensor.shape)) for tensor in contract.inputs}
    one = open_on_fakes(model, contract, batches(samples, (1, 1), (1, 4)))
    with one.runner, OnnxRuntimeRunner(model, contract) as reference:
        conditions = {"condition": np.tanh(inputs_of(contract, 2)["condition"])}
        for _ in range(3):
            wanted = SeededGenerator(reference).generate(conditions, [7, 8], [0, 0])
            answer = SeededGenerator(one.runner).generate(conditions, [7, 8], [0, 0])
            assert_same(answer, wanted)
            assert answer["picture"].dtype == np.float32
    assert not one.driver.alive()


def free_size() -> tuple[bytes, Contract]:
    """An image of any size from 16 to 64 -> its hyperbolic tangent, and half of it at half the size."""
    axes: list[str | int | None] = ["batch", 3, "height", "width"]
    graph = helper.make_graph(
        [
            helper.make_node("Tanh", ["condition"], ["picture"]),
            helper.make_node("AveragePool", ["condition"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        "free",
        [helper.make_tensor_value_info("condition", TensorProto.FLOAT, axes)],
        [
            helper.make_tensor_value_info("picture", TensorProto.FLOAT, axes),
            helper.make_tensor_value_info("small", TensorProto.FLOAT, ["batch", 3, "half_height", "half_width"]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = Contract(
        conditions=(Condition(name="condition", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        noise=(),
        outputs=(
            Output(name="picture", shape=(3, "h", "w"), range=(-1.0, 1.0), encoding=ImageEncoding()),
            Output(name="small", shape=(3, "h/2", "w/2")),
        ),
        sides=SizeRule(multiple=4, min=16, max=64),
        statistics="none",
    )
    return model.SerializeToString(), contract


def sized(batch: int, height: int, width: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rng = np.random.default_rng((batch, height, width))
    return {"condition": rng.normal(size=(batch, 3, height, width)).astype(np.float32)}


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_free_sizes_in_any_order(rtx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More shapes than contexts are kept: those that were dropped are made again."""
    monkeypatch.setattr(lane, "MOST_CONTEXTS", 3)
    model, contract = free_size()
    small = {"condition": ((1, 3, 16, 16), (1, 3, 32, 32), (1, 3, 32, 32))}
    large = {"condition": ((1, 3, 16, 16), (2, 3, 48, 48), (4, 3, 48, 48))}
    one = open_on_fakes(model, contract, [small, large], rtx=rtx)
    with one.runner, OnnxRuntimeRunner(model, contract) as reference:
        for shape in [(1, 16, 32), (1, 48, 20), (4, 48, 48), (1, 16, 32), (2, 32, 16), (6, 20, 16)] * 3:
            for _ in range(2):
                assert_same(one.runner.infer(sized(*shape)), reference.infer(sized(*shape)))
        assert one.driver.alive().get("graphs", 0) <= 3
        with pytest.raises(
            UsageError, match=r"condition \[3, 48, 52\] was given and the plan was built for .*48\]"
        ):
            one.runner.infer(sized(1, 48, 52))
    assert not one.driver.alive()
