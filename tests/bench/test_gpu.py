"""Rows of a GPU: the work of a generator, turns, what is said where something is missing, table, JSON and page."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from cgan_bench import measuring, options
from cgan_bench.gpu import backends, measure, meter, roofline
from cgan_bench.gpu.backends import gpu_backends
from cgan_bench.gpu.measure import Card, measure_card, measure_gpu
from cgan_bench.gpu.nvml import GpuState, gpu_state
from cgan_bench.gpu.report import GpuReport
from cgan_bench.gpu.roofline import measure_ceiling
from cgan_bench.page import write_report
from cgan_bench.printing import print_report
from cgan_bench.roofline.floor import Ceiling, Work, floor_ms
from cgan_bench.roofline.work import work_of_graph, work_of_target
from cgan_bench.rounds import Plan
from cgan_bench.target import Target
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.pytorch.mode import GPU_MODES
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import CganError, UsageError
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator
from onnx import TensorProto, helper
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.fake_gpu import FakeGpu
from tests.bench.test_report import MACHINE
from tests.helpers import assert_one_sentence, run_here
from tests.pages import check_page

STATE = GpuState(
    name="NVIDIA H100 of the tests",
    driver="580.1",
    sm_mhz=1980,
    sm_max_mhz=1980,
    memory_mhz=2619,
    power_w=341.4,
    power_limit_w=700.0,
    temperature_c=52,
    used_mb=1210.0,
)
CARD = Card(
    ceiling=Ceiling(tflops=800.0, gb_s=3000.0),
    work=Work(flops=12_096_000_000, weight_bytes=108_800_000, value_bytes=20_900_000),
    state=STATE,
)


def quiet(_: str) -> None:
    """Say nothing."""


def test_work_of_a_convolution_counted_by_hand() -> None:
    """3 -> 8 channels, 5x5 in groups of 1, stride 2 on 9x7 -> 5x4; then transposed 8 -> 3, 4x4; then a product."""
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [8, 3, 5, 5], np.zeros(600)),
        helper.make_tensor("t", TensorProto.FLOAT, [8, 3, 4, 4], np.zeros(384)),
        helper.make_tensor("m", TensorProto.FLOAT, [7, 6], np.zeros(42)),
        helper.make_tensor("shape", TensorProto.INT64, [1], [0]),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[2, 2, 2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "t"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Slice", ["c", "zero", "seven", "axis"], ["d"]),
        helper.make_node("MatMul", ["d", "m"], ["y"]),
    ]
    weights += [
        helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("zero", 0), ("seven", 7), ("axis", 3))
    ]
    axes: list[str | int | None] = ["batch", 3, 9, 7]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 10, 6])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    contract = Contract(
        conditions=(Condition(name="x", shape=(3, 9, 7)),),
        noise=(),
        outputs=(Output(name="y", shape=(3, 10, 6)),),
        statistics="none",
    )
    convolved = 5 * 4 * 8 * (3 * 5 * 5)
    transposed = 5 * 4 * 8 * (3 * 4 * 4)  # each element in spreads over a 4x4 patch of each channel out
    product = 3 * 10 * 6 * 7
    values = (3 * 9 * 7 + 8 * 5 * 4) + (8 * 5 * 4 + 3 * 10 * 8) + (3 * 10 * 7 + 3 * 10 * 6)
    assert work_of_graph(model, contract) == Work(
        flops=2 * (convolved + transposed + product),
        weight_bytes=2 * (600 + 384 + 42),
        value_bytes=2 * values,
    )


def test_the_work_of_a_generator_is_what_pytorch_counts(target: Target, generator: Pix2pixGenerator) -> None:
    contract = generator.contract
    given = [torch.zeros(1, *map(int, tensor.shape)) for tensor in contract.inputs]
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        generator(*given)
    plain = work_of_graph(onnx_from_generator(generator, contract), contract)
    assert plain.flops == counter.get_total_flops()
    parameters = sum(value.numel() for value in generator.parameters())
    assert plain.weight_bytes == pytest.approx(2 * parameters, rel=0.01)
    # The graph of a bundle leaves out weights that meet nothing but padding.
    bundled = work_of_target(target)
    assert 0.95 * plain.flops < bundled.flops <= plain.flops
    assert bundled.weight_bytes <= plain.weight_bytes


def test_the_floor_is_the_longer_of_computing_and_moving() -> None:
    """Of facts that are published: a U-Net-256 on an H100 that was measured at 798 TFLOP/s and 3.0 TB/s."""
    card = Ceiling(tflops=798.0, gb_s=3000.0)
    work = Work(flops=2 * 6_048_000_000, weight_bytes=108_800_000, value_bytes=20_900_000)
    assert floor_ms(work, 1, card) == pytest.approx(0.0432, rel=0.01)  # moving
    assert floor_ms(work, 8, card) == pytest.approx(0.121, rel=0.01)  # computing
    assert floor_ms(work, 32, card) == pytest.approx(0.485, rel=0.01)


def test_the_ceiling_is_the_best_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        times = iter(np.cumsum([0.0, *([2.0] * 19), 1.0, 0.0, *([4.0] * 19), 2.0]))

        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = float(next(Event.times))

        def elapsed_time(self, later: Event) -> float:
            return later.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert roofline.RUNS == 20
    found = measure_ceiling("cpu", side=8, copied_bytes=1000)
    assert found.tflops == pytest.approx(2 * 8**3 / 1.0e-3 / 1e12)
    assert found.gb_s == pytest.approx(2 * 1000 / 2.0e-3 / 1e9), "a copy reads and writes"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_what_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CganError, match="PyTorch cannot measure it"):
        measure_ceiling()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CganError, match=r"nvidia-ml-py is not installed; run: pip install .cgan-deploy\[gpu\]"):
        gpu_state()


def nvml(**fails: bool) -> Any:
    """The module, of a card that does not tell everything."""
    module: Any = ModuleType("pynvml")
    module.__spec__ = SimpleNamespace()

    class NVMLError(Exception):
        pass

    def told(name: str, value: object) -> Callable[..., object]:
        def call(*_: object) -> object:
            if fails.get(name):
                raise NVMLError("Not Supported")
            return value

        return call

    module.NVMLError = NVMLError
    module.NVML_CLOCK_SM, module.NVML_CLOCK_MEM, module.NVML_TEMPERATURE_GPU = 1, 2, 0
    for name, value in {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlSystemGetDriverVersion": b"580.1",
        "nvmlDeviceGetName": "NVIDIA L4",
        "nvmlDeviceGetPowerUsage": 71_500,
        "nvmlDeviceGetEnforcedPowerLimit": 72_000,
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=1_210_000_000),
        "nvmlDeviceGetMaxClockInfo": 2040,
        "nvmlDeviceGetTemperature": 61,
    }.items():
        setattr(module, name, told(name, value))
    module.nvmlDeviceGetClockInfo = lambda _, kind: {1: 1900, 2: 6251}[kind]
    module.nvmlDeviceGetHandleByIndex = lambda number: ("number", number)
    module.nvmlDeviceGetHandleByUUID = lambda uuid: ("uuid", uuid)
    return module


def test_the_state_of_the_card_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    state = gpu_state()
    assert (state.name, state.driver, state.used_mb) == ("NVIDIA L4", "580.1", 1210.0)
    assert state.words == "1900 of 2040 MHz, memory 6251 MHz, 72 of 72 W, 61 °C, 1210 MB used"
    monkeypatch.setitem(
        sys.modules, "pynvml", nvml(nvmlDeviceGetEnforcedPowerLimit=True, nvmlDeviceGetMemoryInfo=True)
    )
    assert gpu_state().words == "1900 of 2040 MHz, memory 6251 MHz, 72 W, 61 °C"
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=True))
    with pytest.raises(CganError, match=r"the driver does not tell \(Not Supported\)"):
        gpu_state()


def test_the_card_is_the_one_that_cuda_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, handle in (("", ("number", 0)), ("3,1", ("number", 3)), ("GPU-5f", ("uuid", "GPU-5f"))):
        module: Any = nvml()
        asked: list[object] = []
        module.nvmlDeviceGetName = lambda given, asked=asked: asked.append(given) or "x"
        monkeypatch.setitem(sys.modules, "pynvml", module)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        gpu_state()
        assert asked == [handle]


def test_rows_are_pytorch_first_then_what_the_bundle_has(target: Target) -> None:
    rows = gpu_backends(target)
    assert [row.title for row in rows[: len(GPU_MODES)]] == [f"PyTorch {mode.words}" for mode in GPU_MODES]
    assert rows[0].key == "torch_fp32_eager"
    assert [row.key for row in rows[len(GPU_MODES) :]] == ["ort_cuda_fp32", "tensorrt_plain"]
    assert [row.has_streams for row in rows] == [False, False, True, True, False, True]
    assert target.bundle is not None
    (fp32,) = target.bundle.manifest.artifacts
    others = [fp32.model_copy(update={"precision": of, "path": f"model.{of}.onnx"}) for of in ("fp16", "int8")]
    manifest = target.bundle.manifest.model_copy(update={"artifacts": (fp32, *others)})
    more = gpu_backends(replace(target, bundle=replace(target.bundle, manifest=manifest)))[len(GPU_MODES) : -1]
    # The CUDA provider has no 8-bit convolution, and TensorRT's takes no unsigned activations.
    assert [row.key for row in more] == ["ort_cuda_fp32", "ort_cuda_fp16", "ort_tensorrt_fp16"]


FAKES = (
    FakeGpu("PyTorch FP32 eager", 2540.0),
    FakeGpu("PyTorch FP16 NHWC graph", 640.0, "fp16", 1e-4, streams=True),
    FakeGpu("TensorRT FP16, our plan", 95.0, "fp16", 1e-4, host_draws=True, streams=True),
    FakeGpu("ONNX Runtime CUDA FP32", wall_only=True),
    FakeGpu("TensorRT FP16, plain export", reason="TensorRT is not installed; run: pip install tensorrt."),
)


@pytest.fixture(scope="module")
def measured(target: Target) -> GpuReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "gpu_state", lambda: STATE)
        blocks = tuple(
            measure_gpu(
                target,
                FAKES,
                batch=batch,
                streams=(1, 2, 4),
                plan=Plan(rounds=3, warm_up=1),
                card=CARD,
                say=quiet,
            )
            for batch in (1, 8)
        )
    return GpuReport(target=target, card=CARD, streams=(1, 2, 4), plan=Plan(), environment=MACHINE, blocks=blocks)


@pytest.mark.slow
def test_every_row_is_measured_stage_by_stage_or_says_why_not(measured: GpuReport) -> None:
    for block, batch in zip(measured.blocks, (1, 8), strict=True):
        eager, graph, plan, ort = block.rows
        assert block.absent[0].reason == "TensorRT is not installed; run: pip install tensorrt"
        assert set(eager.times_ms) == {"copy_in", "noise", "compute", "copy_out", "all", "wall"}
        assert "noise" not in plan.times_ms
        assert set(ort.times_ms) == {"wall"}
        assert len(eager.latencies_ms) == 3
        assert eager.p50_ms("compute") == pytest.approx(2.54 * batch**0.7, rel=0.07)
        assert eager.ratio is None
        assert graph.ratio is not None
        assert graph.ratio.median == pytest.approx(2540 / 640, rel=0.1)
        assert ort.ratio is not None
        assert ort.ratio.median == pytest.approx((eager.p50_ms("wall") or 0) / (ort.p50_ms("wall") or 1), rel=0.9)
        assert all(row.valid for row in block.rows)
        # Four streams have no memory on this fake: no figure, and the others are there.
        assert [sorted(row.images_per_s) for row in block.rows] == [[1], [1, 2], [1, 2], [1]]
        assert graph.images_per_s[2] == pytest.approx(graph.images_per_s[1] * 2**0.5, rel=0.01)
        floor = 0.0432 if batch == 1 else 0.121
        assert plan.share_of_roofline == pytest.approx(floor / (0.095 * batch**0.7), rel=0.1)
        assert ort.share_of_roofline is None


@pytest.mark.slow
def test_a_row_with_other_images_is_invalid(target: Target) -> None:
    wrong = FakeGpu("wrong", of="fp16", off=0.02)
    block = measure_gpu(
        target, [wrong], batch=1, streams=(1,), plan=Plan(rounds=1, warm_up=0), card=CARD, say=quiet
    )
    report = GpuReport(target=target, card=CARD, plan=Plan(), environment=MACHINE, blocks=(block,))
    assert not report.rows[0].valid
    assert report.complaint == "other outputs than FP32 on the CPU: wrong at batch 1."
    assert any(note.startswith("INVALID: wrong at batch 1: picture agrees to 40") for note in report.notes())


@pytest.mark.slow
def test_the_table_fits_100_columns_and_says_what_matters(
    measured: GpuReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(measured)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    told = " ".join(text.split())
    for words in (
        "batch 1, 3 turns, this card needs 43.2 µs at least; times in µs",
        "batch 1: images/s on several streams",
        "2 streams",
        "FP16 matrix product 800 TFLOP/s, copy 3.00 TB/s",
        "GPU before batch 1: 1980 of 1980 MHz, memory 2619 MHz, 341 of 700 W, 52 °C",
        "By the wall clock only: ONNX Runtime CUDA FP32;",
        "Not measured: TensorRT FP16, plain export: TensorRT is not installed",
        "TensorRT FP16, our plan is the fastest at batch 1:",
    ):
        assert words in told, words


@pytest.mark.slow
def test_json_and_page_hold_the_same(measured: GpuReport, tmp_path: Path) -> None:
    told = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert told["ceiling"] == {"fp16_matmul_tflops": 800.0, "copy_gb_per_s": 3000.0}
    assert told["gpu"]["before_and_after"]["8"][1]["power_w"] == pytest.approx(341.4)
    assert told["reference"] == {"1": "pytorch_fp32_eager", "8": "pytorch_fp32_eager"}
    assert set(told["rows"][0]["times_ms"]) == {"copy_in", "noise", "compute", "copy_out", "all", "wall"}
    write_report(tmp_path / "gpu.html", measured)
    page = (tmp_path / "gpu.html").read_text()
    check_page(page)
    for row in measured.rows:
        assert row.title in page
    assert "images/s on several streams" in page
    assert "compute time on the GPU" in page


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.slow
def test_a_card_that_is_not_there_is_two_lines(target: Target) -> None:
    card = measure_card(target, quiet)
    assert card.ceiling is None
    assert card.work is not None
    assert card.floor_ms(1) is None
    assert [problem.partition(":")[0] for problem in card.problems] == [
        "The roofline of the card is not known",
        "Clocks, power and memory of the GPU are not known",
    ]


@pytest.mark.slow
def test_the_command_measures_what_is_there(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without PyTorch's rates and without the driver's: the rows are there, and two lines say what is not known."""
    monkeypatch.setattr(measuring, "_require_gpu", lambda: None)
    monkeypatch.setattr(backends, "gpu_backends", lambda _: [FAKES[4], FAKES[2], FAKES[3]])
    said: list[str] = []
    report = measuring.gpu_report(target, (1,), (1,), Plan(rounds=2, warm_up=0), say=said.append)
    assert [row.key for row in report.rows] == ["tensorrt_fp16,_our_plan", "onnx_runtime_cuda_fp32"]
    assert [row.ratio for row in report.rows] == [None, None], "the reference is absent"
    assert all(row.valid for row in report.rows)
    assert "batch 1: comparing the outputs with FP32 on the CPU" in said
    print_report(report)
    told = " ".join(capsys.readouterr().out.split())
    assert "on CUDA" in told
    assert ("The roofline of the card is not known" in told) == (not torch.cuda.is_available())
    assert "is the fastest" not in told, "there is nothing to compare with"


def test_streams_are_numbers_and_belong_to_a_gpu(bundle_path: Path) -> None:
    assert options.parse_streams("1, 2,2") == (1, 2)
    assert options.parse_streams(None) == (1,)
    for text in ("0", "17", "two", ""):
        with pytest.raises(UsageError, match=r"--streams .* whole numbers from 1 to 16, such as 1,2,4"):
            options.parse_streams(text)
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--streams", "2"), 2, "--device cuda")


def test_a_turn_uses_new_inputs_in_every_run(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Recording:
        stages = ("compute",)
        description = "x"

        def __init__(self) -> None:
            assert target.contract is not None
            self.contract = target.contract
            self.indices: list[int] = []

        def generate(self, conditions: object, seeds: list[int]) -> dict[str, Any]:
            del conditions
            asked.extend(seeds)
            return {}

        def elapsed_ms(self, stage: str, index: int) -> float:
            del stage
            self.indices.append(index)
            return float(index)

        def seconds_of(self, runs: int) -> float:
            return runs * 0.25

        def close(self) -> None:
            return

    monkeypatch.setattr(meter, "TURN_SECONDS", -1.0)
    recording = Recording()
    one = meter.Meter(recording, batch=2)  # type: ignore[arg-type]  # what a meter asks of it is there
    for turn in range(3):
        one.turn(turn)
    assert len(set(asked)) == len(asked)
    assert len(set(recording.indices)) == len(recording.indices) == 9
    assert one.images_per_s() == pytest.approx(2 / 0.25)
