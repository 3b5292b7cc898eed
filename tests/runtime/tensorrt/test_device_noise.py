"""Noise that a TensorRT runner draws on the device: the images are those of noise drawn on the host."""

from __future__ import annotations

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output, SizeRule
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededGenerator, noise_tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from onnx import TensorProto, helper

from tests.runtime.tensorrt.conftest import Open, assert_same, inputs_of, open_on_fakes
from tests.runtime.tensorrt.fake_cuda import FakeDriver

SEEDS = [7, 2**64 - 1, 0, 7, 2**53 + 1, 3, 4]
DRAWS = [0, 1, 2**32 - 1, 1, 0, 0, 0]


def three_kinds() -> tuple[bytes, Contract]:
    """condition * mask + normal + truncated normal, of any size: the last one is drawn on the host."""
    axes: list[str | int | None] = ["batch", 3, "height", "width"]
    names = ["condition", "mask", "normal", "cut"]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["condition", "mask"], ["a"]),
            helper.make_node("Add", ["a", "normal"], ["b"]),
            helper.make_node("Add", ["b", "cut"], ["picture"]),
        ],
        "three",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name in names],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, axes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    kinds = {"mask": {"p": 0.5}, "normal": {}, "truncated_normal": {"threshold": 1.0}}
    contract = Contract(
        conditions=(Condition(name="condition", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        noise=tuple(
            NoiseInput(name=name, index=index, distribution=kind, shape=(3, "h", "w"), parameters=parameters)
            for index, (name, (kind, parameters)) in enumerate(zip(names[1:], kinds.items(), strict=True))
        ),
        outputs=(Output(name="picture", shape=(3, "h", "w")),),
        sides=SizeRule(multiple=4, min=8, max=32),
        statistics="none",
    )
    return model.SerializeToString(), contract


def test_the_host_draws_nothing(opened: Open, blends: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened(blends, (1, 8))
    conditions = {k: v for k, v in inputs_of(one.runner.contract, 3).items() if k != "z"}
    wanted = blends.generator().generate(conditions, SEEDS[:3], DRAWS[:3])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the host drew noise")

    monkeypatch.setattr("cgan_runtime.noise_tensors.noise", refuse)
    assert one.runner.drawn_inputs == {"z"}
    for _ in range(3):  # as it is, recorded, launched
        assert_same(SeededGenerator(one.runner).generate(conditions, SEEDS[:3], DRAWS[:3]), wanted)


def test_nothing_is_copied_for_what_is_drawn() -> None:
    """Conditions and seeds alone travel, 16 bytes a row, wherever the engine has the noise among its inputs."""
    model, contract = three_kinds()
    names = [tensor.name for tensor in contract.inputs]
    profile = dict.fromkeys(names, ((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16)))
    one = open_on_fakes(model, contract, [profile])
    with one.runner:
        condition = np.zeros((4, 3, 16, 16), dtype=np.float32)
        for _ in range(3):
            before = one.driver.bytes_to_device
            SeededGenerator(one.runner).generate({"condition": condition}, SEEDS[:4], DRAWS[:4])
            # The condition, and the truncated normal, which the host draws.
            assert one.driver.bytes_to_device - before == 2 * condition.nbytes + 16 * 4


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_each_launch_draws_the_seeds_of_its_own_call(opened: Open, blends: Bundle, rtx: bool) -> None:
    one = opened(blends, (1, 1), (2, 4), rtx=rtx)
    here, there = SeededGenerator(one.runner), blends.generator()
    for batch in (1, 3, 1, 7, 3, 1, 7, 3):  # 7 is cut, its last part of 3 or 1 fits or is filled up
        conditions = {k: v for k, v in inputs_of(one.runner.contract, batch, batch).items() if k != "z"}
        for shift in range(3):
            seeds = [(seed + shift) % 2**64 for seed in SEEDS[:batch]]
            wanted = there.generate(conditions, seeds, DRAWS[:batch])
            assert_same(here.generate(conditions, seeds, DRAWS[:batch]), wanted, exact=not rtx)


def test_given_noise_and_drawn_noise_do_not_disturb_each_other(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 8))
    reference = blends.runner()
    for seed in range(6):
        inputs = inputs_of(one.runner.contract, 3, seed)
        assert_same(one.runner.infer(inputs), reference.infer(inputs))
        conditions = {k: v for k, v in inputs.items() if k != "z"}
        seeds = [seed, seed + 1, seed + 2]
        wanted = SeededGenerator(reference).generate(conditions, seeds, [0, 0, 0])
        assert_same(SeededGenerator(one.runner).generate(conditions, seeds, [0, 0, 0]), wanted)


@pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])
def test_what_the_device_cannot_draw_comes_from_the_host(rtx: bool) -> None:
    """Free sizes, three distributions, a batch that is cut: every value is that of the host."""
    model, contract = three_kinds()
    names = [tensor.name for tensor in contract.inputs]
    profile = dict.fromkeys(names, ((1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 32, 32)))
    one = open_on_fakes(model, contract, [profile], rtx=rtx)
    assert one.runner.drawn_inputs == {"mask", "normal"}
    with one.runner, OnnxRuntimeRunner(model, contract) as reference:
        for batch, height, width in [(1, 8, 12), (7, 16, 8), (4, 32, 32), (1, 8, 12), (7, 16, 8)] * 2:
            condition = np.random.default_rng(batch).normal(size=(batch, 3, height, width)).astype(np.float32)
            wanted = SeededGenerator(reference).generate({"condition": condition}, SEEDS[:batch], DRAWS[:batch])
            answer = SeededGenerator(one.runner).generate({"condition": condition}, SEEDS[:batch], DRAWS[:batch])
            assert_same(answer, wanted)
    assert not one.driver.alive()


def test_noise_of_the_host_where_it_is_asked_for(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 8), noise_on_device=False)
    assert not one.runner.drawn_inputs
    conditions = {k: v for k, v in inputs_of(one.runner.contract, 3).items() if k != "z"}
    wanted = blends.generator().generate(conditions, SEEDS[:3], DRAWS[:3])
    assert_same(SeededGenerator(one.runner).generate(conditions, SEEDS[:3], DRAWS[:3]), wanted)
    assert "launch" not in one.driver.faults.calls


@pytest.mark.parametrize(
    ("seeds", "draws", "words"),
    [
        ([1, 2**64], [0, 0], "seed must be 0 to 18446744073709551615, got 18446744073709551616"),
        ([1, -1], [0, 0], "seed must be 0"),
        ([1, 2], [0, 2**32], "draw must be 0 to 4294967295"),
        ([1, 2], [0], "2 seeds but 1 draws"),
        ([1, 2, 3], [0, 0, 0], "3 seeds but 2 rows"),
    ],
)
def test_seeds_out_of_range_are_refused_and_the_next_call_works(
    opened: Open, blends: Bundle, seeds: list[int], draws: list[int], words: str
) -> None:
    one = opened(blends, (1, 8))
    here = SeededGenerator(one.runner)
    conditions = {k: v for k, v in inputs_of(one.runner.contract, 2).items() if k != "z"}
    for _ in range(2):
        with pytest.raises(UsageError, match=words):
            here.generate(conditions, seeds, draws)
        wanted = blends.generator().generate(conditions, [1, 2], [0, 0])
        assert_same(here.generate(conditions, [1, 2], [0, 0]), wanted)


def test_drawn_inputs_cannot_be_given_as_well(opened: Open, blends: Bundle) -> None:
    one = opened(blends, (1, 8))
    inputs = inputs_of(one.runner.contract, 2)
    with pytest.raises(UsageError, match=r"inputs .*'z'.* given, .* needed"):
        one.runner.infer_seeded(inputs, [1, 2], [0, 0])
    del inputs["z"]
    with pytest.raises(UsageError, match="same batch"):
        one.runner.infer_seeded(inputs, [1, 2, 3], [0, 0, 0])


def test_a_generator_of_nothing_but_noise_takes_its_batch_from_the_seeds() -> None:
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["z"], ["picture"])],
        "noise",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 9])],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", 9])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    contract = Contract(
        conditions=(),
        noise=(NoiseInput(name="z", index=0, distribution="uniform11", shape=(9,), parameters={}),),
        outputs=(Output(name="picture", shape=(9,)),),
        statistics="none",
    )
    data = model.SerializeToString()
    one = open_on_fakes(data, contract, [{"z": ((2, 9), (4, 9), (4, 9))}], driver=FakeDriver())
    with one.runner:
        for rows in (1, 3, 7):
            answer = SeededGenerator(one.runner).generate({}, SEEDS[:rows], DRAWS[:rows])["picture"]
            noise = noise_tensors(contract.noise, SEEDS[:rows], DRAWS[:rows])["z"]
            np.testing.assert_allclose(answer, np.tanh(noise.astype(np.float64)), atol=1e-6)
    assert not one.driver.alive()
