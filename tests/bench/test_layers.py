"""Where the time goes: operations as PyTorch counts them, layers that are parts of their runs, the worst first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgan_bench.layers.measure import block_of, measure_layers
from cgan_bench.layers.onnxruntime import layers_of_profile, profile_onnxruntime
from cgan_bench.layers.openvino import profile_openvino
from cgan_bench.layers.profiled import Layer, ProfiledTensor, Profiler, least_ms, operations_of, precision_of
from cgan_bench.layers.report import LayersReport
from cgan_bench.printing import print_report
from cgan_bench.roofline.processor import Peaks, Processor
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.test_report import MACHINE
from tests.helpers import assert_one_sentence, run_here

PEAKS = Peaks(gops={"fp32": 100.0, "int8": 400.0}, gb_s=10.0)


def tensor(*shape: int, dtype: str = "float") -> ProfiledTensor:
    return ProfiledTensor(shape=shape, dtype=dtype)


@pytest.mark.parametrize(
    ("operator", "module", "shape"),
    [
        ("Conv", nn.Conv2d(6, 8, 3, stride=2, groups=2, bias=False), (2, 6, 9, 7)),
        ("ConvTranspose", nn.ConvTranspose2d(6, 4, 4, stride=2, bias=False), (2, 6, 5, 4)),
        ("Deconvolution", nn.ConvTranspose2d(6, 4, 4, stride=2, bias=False), (2, 6, 5, 4)),
        ("MatMul", nn.Linear(5, 7, bias=False), (3, 5)),
    ],
)
def test_operations_are_those_that_pytorch_counts(operator: str, module: nn.Module, shape: tuple[int, ...]) -> None:
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        written = module(torch.zeros(shape))
    (weights,) = module.parameters()
    told = operations_of(operator, [tensor(*shape), tensor(*weights.shape)], [tensor(*written.shape)])
    assert told == counter.get_total_flops() > 0


def test_operations_of_quantised_layers_and_of_groups_with_an_axis_of_their_own() -> None:
    small = tensor(dtype="uint8")
    values, weights, written = (
        tensor(1, 4, 8, 8, dtype="uint8"),
        tensor(6, 4, 3, 3, dtype="int8"),
        tensor(1, 6, 6, 6),
    )
    by_hand = 2 * (6 * 6 * 6) * (4 * 3 * 3)
    assert operations_of("QLinearConv", [values, small, small, weights, small], [written]) == by_hand
    assert precision_of("QLinearConv", [values, small, small, weights]) == "int8"
    assert operations_of("Convolution", [tensor(1, 4, 8, 8), tensor(2, 3, 2, 3, 3)], [written]) == by_hand / 2
    assert operations_of("Convert", [values, weights], [written]) == 0
    assert operations_of("Conv", [values], [written]) == 0
    assert precision_of("Add", [tensor(1, dtype="bf16")]) == "bf16"
    assert precision_of("Add", []) == "fp32"
    assert tensor(3, 5, dtype="int64").bytes == 120
    assert tensor(3, 5, dtype="u8").bytes == 15


def layer(title: str, ms: float, *, operations: int = 0, moved: int = 0, operator: str = "Conv") -> Layer:
    return Layer(
        title=title, operator=operator, batch=1, latencies_ms=(ms, ms, 9 * ms), operations=operations, bytes=moved
    )


def test_the_worst_layer_is_the_one_that_loses_most_against_its_own_least_time() -> None:
    """100 GOP/s and 10 GB/s: 800 MOP take 8 ms at least, 20 MB take 2."""
    layers = (
        layer("near its peak", 10.0, operations=800_000_000, moved=1_000_000),
        layer("far from it", 6.0, operations=100_000_000, moved=1_000_000),
        layer("moves", 4.0, moved=20_000_000, operator="Concat"),
    )
    found = block_of("ours", Profiler(description="d", layers=layers, whole_ms=(21.0,)), 1, Processor(peaks=PEAKS))
    assert [one.title for one in found.rows] == ["far from it", "near its peak", "moves"]
    assert [one.lost_ms for one in found.rows] == pytest.approx([5.0, 2.0, 2.0])
    assert [one.share for one in found.rows] == pytest.approx([0.3, 0.5, 0.2])
    assert found.rows[1].gops == pytest.approx(80)
    assert found.rows[2].gops is None
    told = LayersReport(target=Target(title="t"), environment=MACHINE, blocks=(found,))
    assert list(told.verdicts()) == [
        "ours at batch 1 loses most time in far from it (Conv): it takes 6.00 ms, 5.00 ms more than its least "
        "time; all layers together lose 45%"
    ]
    assert next(iter(told.notes())) == "ours at batch 1, by operator: Conv 80%, Concat 20%."
    assert least_ms(replace(layers[0], precision="bf16"), PEAKS) is None
    assert least_ms(layers[0], None) is None


def test_a_profile_gives_each_kernel_the_times_of_the_runs_that_count() -> None:
    def kernel(name: str, number: str, dur: int) -> dict[str, object]:
        shapes = {
            "input_type_shape": [{"float": [1, 4]}, {"float": [4, 6]}],
            "output_type_shape": [{"float": [1, 6]}],
        }
        return {
            "cat": "Node",
            "name": name,
            "dur": dur,
            "args": {"node_index": number, "op_name": "Gemm", **shapes},
        }

    events: list[dict[str, object]] = [{"cat": "Session", "name": "session_initialization", "dur": 10**6}]
    for slow in (10, 1, 2):  # the first is a warm-up
        events += [kernel("a_kernel_time", "0", 100 * slow), kernel("b_kernel_time", "1", 7 * slow)]
        events += [{"cat": "Session", "name": "model_run", "dur": 120 * slow}]
    layers, whole_ms = layers_of_profile(events, {}, batch=1, runs=2)
    assert [one.title for one in layers] == ["a", "b"]
    assert layers[0].latencies_ms == (0.1, 0.2)
    assert whole_ms == (0.12, 0.24)
    assert layers[0].operations == 2 * 4 * 6
    assert layers[0].bytes == 4 * (4 + 24 + 6)
    for event in events[1:]:  # as of a kernel that packed its weights: the bias follows the values
        event.get("args", {}).get("input_type_shape", [{}, {}])[1] = {"float": [6]}  # type: ignore[attr-defined]
    packed, _ = layers_of_profile(events, {"a": tensor(4, 6, dtype="float")}, batch=1, runs=2)
    assert packed[0].operations == 2 * 4 * 6
    assert packed[0].bytes == 4 * (4 + 24 + 6 + 6)


@pytest.mark.parametrize("profile", [profile_onnxruntime, profile_openvino])
def test_layers_are_parts_of_their_runs(profile: object, target: Target) -> None:
    """Whatever else the machine does: layers run one after the other, so they never take more than the run."""
    if profile is profile_openvino:
        pytest.importorskip("openvino", exc_type=ImportError)
    assert target.bundle is not None
    assert callable(profile)
    contract = at_size(target.bundle.manifest.contract, target.size)
    model = target.bundle.read(target.bundle.artifact())
    found = profile(model, contract, "fp32", batch=2, runs=5, warm_up=2, threads=1)
    assert len(found.whole_ms) == 5
    of_layers = sum(sum(one.latencies_ms) / len(one.latencies_ms) for one in found.layers)
    rounding = 0.002 * len(found.layers)  # both tell whole microseconds
    assert 0 < of_layers <= sum(found.whole_ms) / 5 + rounding
    convolutions = [one for one in found.layers if one.operations]
    assert len(convolutions) >= 11, "a U-Net of six levels has twelve"
    assert all(one.bytes > 0 for one in convolutions)


def test_the_command_has_all_layers_and_prints_fifteen(
    bundle_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filed = tmp_path / "layers.json"
    done = run_here("cgan-bench", bundle_path, "--layers", "--rounds", "3", "--warmup", "1", "--out", filed)
    assert done.returncode == 0, done.stderr
    (artifact,) = json.loads(filed.read_text())["artifacts"]
    assert artifact["runs"] == 3
    assert len(artifact["layers"]) > 15
    assert sum(one["share"] for one in artifact["layers"]) == pytest.approx(1)
    lost = [one["lost_ms"] for one in artifact["layers"]]
    assert lost == sorted(lost, reverse=True)
    assert "loses most time in" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    print_report(LayersReport(target=Target(title="t"), environment=MACHINE, blocks=()))
    assert "loses" not in capsys.readouterr().out


def test_an_artifact_whose_backend_tells_nothing_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgan_bench.layers.measure.PROFILERS", {})
    blocks = measure_layers(target, (1,), Processor(), runs=1, warm_up=0, threads=1, say=lambda _: None)
    told = LayersReport(target=target, environment=MACHINE, blocks=tuple(blocks))
    assert "its backend tells no times of layers" in told.failure


@pytest.mark.parametrize("words", [("--peers",), ("--seconds", "3"), ("--device", "cuda")])
def test_layers_stand_alone(bundle_path: Path, words: tuple[str, ...]) -> None:
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--layers", *words), 2, words[0])
