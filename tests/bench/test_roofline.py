"""How near a row is to what the processor can do: operations and bytes by hand, rates that must be rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from cgan_bench.report import Report
from cgan_bench.roofline import processor
from cgan_bench.roofline.floor import Work
from cgan_bench.roofline.processor import Peaks, Processor, measure_peaks, measure_processor
from cgan_bench.roofline.work import work_of_graph
from cgan_bench.target import Target
from cgan_runtime.contract import Condition, Contract, Output
from onnx import TensorProto, helper

from tests.bench.test_report import report, row

PEAKS = Peaks(gops={"fp32": 200.0, "int8": 800.0}, gb_s=50.0)
# One convolution of 3x3 from 4 to 8 channels on 10x10 without a margin, by hand.
CONTRACT = Contract(
    conditions=(Condition(name="x", shape=(4, 10, 10)),),
    noise=(),
    outputs=(Output(name="y", shape=(8, 8, 8)),),
    statistics="none",
)
FLOPS = 2 * (8 * 8 * 8) * (4 * 3 * 3)
WEIGHTS, VALUES = 8 * 4 * 3 * 3, 4 * 10 * 10 + 8 * 8 * 8


def convolution() -> onnx.ModelProto:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [8, 4, 3, 3], [0.0] * WEIGHTS)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 10, 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 8, 8])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("element_bytes", [1, 2, 4])
def test_work_is_counted_in_elements_of_the_precision(element_bytes: int) -> None:
    work = work_of_graph(convolution(), CONTRACT, element_bytes=element_bytes)
    by_hand = Work(
        flops=FLOPS,
        weight_bytes=element_bytes * WEIGHTS,
        value_bytes=element_bytes * VALUES,
        element_bytes=element_bytes,
    )
    assert work == by_hand
    assert work_of_graph(convolution(), CONTRACT).in_elements_of(element_bytes) == by_hand


def test_the_least_time_is_that_of_the_rows_own_precision() -> None:
    """12 GFLOP at 200 and 800 GOP/s; then 200 MB of INT8 weights, of which FP32 has four times as many bytes."""
    computing = Processor(peaks=PEAKS, work=Work(flops=12_000_000_000, weight_bytes=2, value_bytes=2))
    assert computing.floor_ms(1, "fp32") == pytest.approx(60)
    assert computing.floor_ms(3, "int8") == pytest.approx(45)
    moving = Processor(peaks=PEAKS, work=Work(flops=1, weight_bytes=400_000_000, value_bytes=0))
    assert moving.floor_ms(7, "int8") == pytest.approx(4), "weights are read once for a batch"
    assert moving.floor_ms(7, "fp32") == pytest.approx(16)
    assert moving.floor_ms(1, "bf16") is None
    assert Processor(problem="no torch").floor_ms(1, "fp32") is None


def test_a_row_says_how_near_it_is() -> None:
    """The made-up rows have a median of 10.5 ms."""
    found: Report = replace(
        report(replace(row("a"), floor_ms=5.25), row("b")), processor=Processor(peaks=PEAKS, work=None)
    )
    assert found.rows[0].share_of_peak == pytest.approx(0.5)
    assert found.rows[1].share_of_peak is None
    column = found.table(found.blocks[0]).heads.index("of the peak")
    assert [cells[column] for cells in found.table(found.blocks[0]).rows] == ["50%", "-"]
    assert "Measured of this machine: matrix product FP32 200, INT8 800 GOP/s; copy 50 GB/s." in list(found.notes())
    assert "Nearest to what it can do: a at batch 1, 50% of the peak in FP32." in list(found.notes())
    assert found.to_json()["peaks"]["copy_gb_per_s"] == 50
    assert any(line.startswith("of the peak:") for line in found.definitions())


def test_rates_come_from_the_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says half a second for each run but one, which took a quarter."""
    run = iter([0.25 if number == 4 else 0.5 for number in range(processor.RUNS + 2)] * 9)
    now = 0.0
    starts = True

    def clock() -> float:
        nonlocal now, starts
        now += 0 if starts else next(run)
        starts = not starts
        return now

    monkeypatch.setattr("time.perf_counter", clock)
    monkeypatch.setattr(processor, "_has_bf16", lambda: False)
    threads = torch.get_num_threads()
    try:
        peaks = measure_peaks(1, side=64, copied_bytes=1000)
    finally:
        torch.set_num_threads(threads)
    assert set(peaks.gops) == {"fp32", "int8"}
    assert peaks.gops["fp32"] == pytest.approx(2 * 64**3 / 0.25 / 1e9)
    assert peaks.gb_s == pytest.approx(2 * 1000 / 0.25 / 1e9), "a copy reads and writes"


def test_an_integer_product_is_one() -> None:
    """The library that is timed computes what numpy does."""
    weights = torch.randint(-127, 128, (16, 16), dtype=torch.int8).numpy()
    (found,) = processor._integer_product(weights, 1)()
    assert (found == 77 * weights.astype("int32").sum(axis=0)).all()


@pytest.mark.parametrize(
    ("lines", "has"),
    [("flags : fma amx_bf16 avx\n", True), ("flags : fma avx512f\nbugs : bf16\n", False), ("", False)],
)
def test_bf16_is_measured_where_the_processor_says_it_has_it(
    lines: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(lines)
    monkeypatch.setattr(processor, "Path", lambda _: tmp_path / "cpuinfo")
    assert processor._has_bf16() is has


def test_without_torch_the_reason_is_told(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    told = replace(report(row("a")), processor=measure_processor(target, 1, lambda _: None))
    assert "torch is not installed" in told.processor.problem
    assert any(
        line.startswith("How near a row is to what this machine can do is not known") for line in told.notes()
    )
