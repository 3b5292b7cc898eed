"""Without --device the GPU is measured too where there is one; there is none here, so it is put in at the seam."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cgan_bench import backends, measuring
from cgan_bench.backends import BundleArtifact, TorchEager
from cgan_bench.gpu import backends as gpu_backends
from cgan_bench.measuring import Asked, has_gpu, inference_reports
from cgan_bench.rounds import Plan, measure
from cgan_bench.target import Server, Target
from cgan_bench.telling import Output, as_object, conclude, gpu_page, tell
from cgan_runtime.errors import CganError, CheckFailedError

from tests.bench.fakes import Fake
from tests.bench.test_gpu import FAKES
from tests.bench.test_report import report, row
from tests.bench.test_words import IMAGE

BRIEF = Plan(rounds=2, warm_up=0, gap_ms=0, threads=1)


def quiet(_: str) -> None:
    pass


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as it is asked; its rows compute on the CPU."""
    monkeypatch.setattr(measuring, "has_gpu", lambda: True)
    monkeypatch.setattr(measuring, "_require_gpu", lambda: None)
    monkeypatch.setattr(gpu_backends, "gpu_backends", lambda _: list(FAKES[2:3]))
    monkeypatch.setattr(backends, "local_backends", lambda *_: [Fake("right")])


@pytest.mark.slow
@pytest.mark.usefixtures("with_gpu")
def test_both_devices_are_measured_and_every_row_says_which(
    target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = inference_reports(target, (1,), BRIEF, Asked(), say=quiet)
    files = {kind: tmp_path / f"both.{kind}" for kind in ("csv", "html")}
    tell(reports, Output(as_json=True, out=tmp_path / "both.json", **files))
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "both.json").read_text())
    assert {one["device"] for one in told["rows"]} == {"cpu"}
    assert {one["device"] for one in told["on_gpu"]["rows"]} == {"cuda"}
    assert {path.name for path in tmp_path.iterdir()} == {"both.json", "both.csv", "both.html", "both-gpu.html"}
    with (tmp_path / "both.csv").open(newline="") as lines:
        assert [line["device"] for line in csv.DictReader(lines)] == ["cpu", "cuda"]
    assert "compute time on the GPU" in gpu_page(tmp_path / "both.html").read_text()
    conclude(reports)


@pytest.mark.slow
@pytest.mark.usefixtures("with_gpu")
@pytest.mark.parametrize("asked", [Asked(device="cpu"), Asked()])
def test_the_cpu_alone_where_it_is_asked_for_or_a_server_is_measured(target: Target, asked: Asked) -> None:
    served = target if asked.device else replace(target, server=Server(url="grpc://127.0.0.1:9", model="m"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "server_backends", lambda *_: [Fake("right")])
        assert len(inference_reports(served, (1,), BRIEF, asked, say=quiet)) == 1


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_that_fails_is_only_told_unless_asked_for(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise CganError("out of memory")

    monkeypatch.setattr(measuring, "gpu_report", fails)
    monkeypatch.setattr(measuring, "cpu_report", lambda *_, **__: report(row("a")))
    said: list[str] = []
    assert len(inference_reports(target, (1,), BRIEF, Asked(), say=said.append)) == 1
    assert said == ["the GPU here was not measured: out of memory"]
    with pytest.raises(CganError, match="out of memory"):
        inference_reports(target, (1,), BRIEF, Asked(device="cuda"), say=quiet)


def test_a_wrong_row_of_either_device_ends_with_5() -> None:
    right, wrong = report(row("a")), report(row("a"), replace(row("b"), agreements=(replace(IMAGE, psnr_db=9.0),)))
    conclude([right, right])
    assert as_object([right, wrong])["valid"] is False
    assert as_object([right])["valid"] is True
    assert "on_gpu" not in as_object([right])
    with pytest.raises(CheckFailedError, match="b at batch 1"):
        conclude([right, wrong])


def test_without_a_driver_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    started: list[str] = []
    monkeypatch.setattr("ctypes.CDLL", absent)
    monkeypatch.setattr(measuring, "Worker", started.append)
    assert not has_gpu()
    assert started == []


@pytest.mark.parametrize(("reason", "found"), [(None, True), ("PyTorch finds no CUDA GPU", False)])
def test_with_a_driver_a_process_asks_the_libraries(
    reason: str | None, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asking:
        def __init__(self, name: str) -> None:
            assert name == "CUDA"

        def __enter__(self) -> Asking:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def run(self, function: object, torch: bool) -> str | None:
            assert function is measuring.no_gpu_reason
            assert torch is False, "CUDA's own libraries are enough"
            return reason

    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    monkeypatch.setattr(measuring, "Worker", Asking)
    assert has_gpu() is found


@pytest.mark.slow
def test_every_row_of_the_cpu_names_it(target: Target) -> None:
    found = measure(target, [TorchEager(), BundleArtifact()], batch=1, plan=BRIEF, say=quiet)
    assert all("CPU" in one.description for one in found.rows)
