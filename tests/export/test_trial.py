"""Whoever asks for speed is told how fast it is here; what is said follows from the ratio, and costs no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cgan_export.artifacts import trial
from cgan_export.artifacts.trial import note_of_ratio, times_as_fast
from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.runners import Runner
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

from tests.helpers import run_here

CONTRACT = Contract(
    conditions=(Condition(name="x", shape=(64, 64)),),
    noise=(),
    outputs=(Output(name="y", shape=(64, 64)),),
    statistics="none",
)


def products(count: int) -> Runner:
    steps = " ".join(f"t{n + 1} = MatMul (t{n}, t{n})" for n in range(count))
    text = f"""<ir_version: 10, opset_import: ["" : 20]> g (float[N, 64, 64] x) => (float[N, 64, 64] y)
    {{ t0 = Identity (x) {steps} y = Identity (t{count}) }}"""
    return OnnxRuntimeRunner(onnx.parser.parse_model(text).SerializeToString(), CONTRACT)


def test_the_ratio_is_that_of_the_work() -> None:
    feed = {"x": np.zeros((1, 64, 64), dtype=np.float32)}
    assert times_as_fast(products(1), products(100), feed) > 3
    assert times_as_fast(products(100), products(1), feed) < 1 / 3


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (2.349, "INT8 is 2.3 times as fast as FP32 on ONNX Runtime here."),
        (
            1.02,
            "INT8 is about as fast as FP32 on ONNX Runtime here (1.02 times as fast): use FP32 on this machine.",
        ),
        (0.8, "INT8 is slower than FP32 on ONNX Runtime here (0.80 times as fast): use FP32 on this machine."),
    ],
)
def test_the_note_says_what_to_use(ratio: float, words: str) -> None:
    assert note_of_ratio(ratio, "int8", "ONNX Runtime") == words


@pytest.mark.slow
def test_a_slow_file_is_written_and_said_and_is_the_same_file(
    checkpoint: Path, calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disturbed trial must not cost the export, nor change a byte of it."""
    digests = []
    for name, ratio in (("slow", 0.5), ("fast", 2.0)):
        monkeypatch.setattr(trial, "times_as_fast", lambda *_, ratio=ratio: ratio)
        words = ("-o", tmp_path / name, "--name", "facades", "--precision", "int8", "--calibrate", calibration)
        done = run_here("cgan-export", checkpoint, *words, "--backend", "openvino", SOURCE_DATE_EPOCH="1700000000")
        assert done.returncode == 0, done.stderr
        for runtime in ("ONNX Runtime", "OpenVINO"):
            assert f"cgan-export: {note_of_ratio(ratio, 'int8', runtime)}\n" in done.stderr
        digests.append(read_bundle(tmp_path / name).digest)
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_without_int8_nothing_is_timed(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trial, "times_as_fast")
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "facades")
    assert done.returncode == 0, done.stderr
    assert "INT8" not in done.stderr
