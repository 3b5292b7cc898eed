from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from cgan_bench import backends, cli
from cgan_runtime.cli.shell import run
from cgan_runtime.serving.server import TritonServer

from tests.bench.fakes import Fake
from tests.helpers import assert_one_sentence, hear_ctrl_c, run_command, run_here

AT = ("--url", "grpc://127.0.0.1:9", "--model", "m")
BRIEF = ("--rounds", "3", "--warmup", "1")


def test_json_is_exactly_one_object_with_raw_latencies(bundle_path: Path, tmp_path: Path) -> None:
    filed = tmp_path / "bench.json"
    done = run_command("cgan-bench", bundle_path, "--batch", "1,2", *BRIEF, "--json", "--out", filed)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert json.loads(filed.read_text()) == result
    assert [row["batch"] for row in result["rows"]] == [1, 2]
    for row in result["rows"]:
        assert row["backend"] == "ort_bundle"
        assert len(row["latencies_ms"]) == row["rounds"] == 3
        assert all(value > 0 for value in row["latencies_ms"])
    assert {"cpu", "cores", "os", "versions", "date"} <= set(result["environment"])
    assert {absent["key"] for absent in result["absent"]} == {"torch_eager", "torch_compile", "ort_plain"}


def test_the_table_names_every_row_and_every_absence(
    bundle_path: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no compiler: torch.compile is absent, and quickly so
    monkeypatch.delenv("CXX", raising=False)
    done = run_command(
        "cgan-bench", bundle_path, "--checkpoint", checkpoint, *BRIEF, "--html", tmp_path / "bench.html"
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "PyTorch eager",
        "ONNX Runtime, plain export",
        "ONNX Runtime, our bundle",
        "reference",
        "Not measured: torch.compile: no C++ compiler found",
    ):
        assert words in done.stdout
    assert "NOISY" in done.stdout or "our bundle is " in done.stdout.splitlines()[-1]
    assert "peak MB" in (tmp_path / "bench.html").read_text()


@pytest.mark.slow
def test_a_wrong_image_ends_with_5_after_the_result(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends, "local_backends", lambda *_: [Fake("right"), Fake("odd", "wrong")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, [str(bundle_path), *BRIEF])
    told = capsys.readouterr()
    assert ended.value.code == 5
    assert "INVALID: fake odd at batch 1" in told.out
    assert "error: other outputs than the generator's: fake odd at batch 1." in told.err


@pytest.mark.slow
def test_nothing_to_measure_is_an_error(bundle_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "local_backends", lambda *_: [Fake("gone", reason="not here")])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, [str(bundle_path), *BRIEF])
    assert ended.value.code == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--batch", "0"), "--batch"),
        (("--batch", "1,x"), "--batch"),
        (("--batch", ""), "--batch"),
        (("--seconds", "0"), "--seconds"),
        (("--seconds", "1", "--rounds", "2"), "give one of them"),
        (("--checkpoint", "best.pt"), "name the bundle too"),
        (("--require-signature", "key.pub"), "name the bundle too"),
        (("--train", "--require-signature", "key.pub"), "name the bundle too"),
        (("--train", "facades", "--require-signature", "key.pub"), "--train measures training"),
        (("--url", "grpc://127.0.0.1:1"), "--model"),
        (("--concurrency", "2"), "--url"),
        (("--rate", "2"), "--url"),
        ((*AT, "--concurrency", "0"), "--concurrency '0'"),
        ((*AT, "--concurrency", "1:2:0"), "FROM:TO:STEP"),
        ((*AT, "--concurrency", "4:1"), "FROM:TO:STEP"),
        ((*AT, "--concurrency", "1:1000"), "256"),
        ((*AT, "--rate", "0"), "--rate '0'"),
        ((*AT, "--rate", "nan"), "--rate 'nan'"),
        ((*AT, "--arrivals", "even"), "give --rate too"),
        ((*AT, "--rate", "1", "--arrivals", "uneven"), "--arrivals"),
        ((*AT, "--rounds", "3"), "measured for --seconds"),
        ((*AT, "--warmup", "3"), "measured for --seconds"),
        ((*AT, "--url", "grpc://b:1", "--url", "grpc://c:1"), "3 times"),
        (("facades", *AT, "--rate", "1"), "leave the bundle out"),
        (("facades", *AT, "--url", "grpc://b:1"), "leave the bundle out"),
        (("--train", *AT), "--train measures training"),
        (("--url", "ftp://x:1", "--model", "m"), "ftp://x:1"),
        (("--fail-under", "0.95"), "--compare FILE"),
        (("--fail-under", "0"), "--fail-under"),
        (("--train", "--compare", "old.json"), "inference on the CPU"),
        (("--device", "cuda", "--compare", "old.json"), "inference on the CPU"),
        ((*AT, "--compare", "old.json"), "inference on the CPU"),
        (("--layers", "--compare", "old.json"), "leave out --layers"),
        (("--scenario", "offline", "--compare", "old.json"), "leave out --scenario"),
        (("--layers", "--csv", "rows.csv"), "with --layers give --out"),
        (("--scenario", "offline", "--csv", "rows.csv"), "with --scenario give --out"),
        (("--layers", "--seconds", "3"), "leave out --seconds"),
        (("--layers", "--device", "cuda"), "leave out --device"),
        (("--csv", "nowhere/at/all.csv"), "nowhere"),
        (("--out", "nowhere/at/all.json"), "nowhere"),
        (("--html", "nowhere/at/all.html"), "nowhere"),
        (("--bach", "1"), "--batch"),
        (("facades", "--peers"), "give --checkpoint FILE too"),
        (("--peers", "--device", "cuda"), "leave out --url and --device"),
        (("--train", "--peers"), "--train measures training"),
    ],
)
def test_bad_options_are_one_sentence(
    words: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, list(words))
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    last = told.err.splitlines()[-1]
    assert last.startswith("cgan-bench: error: ")
    assert part in last


def test_a_batch_beyond_the_bundles_is_refused(bundle_path: Path) -> None:
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--batch", "65"), 2, "64")


def test_a_damaged_bundle_ends_with_3(bundle_path: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    copied.mkdir()
    (copied / "bundle.json").write_bytes((bundle_path / "bundle.json").read_bytes())
    assert_one_sentence(run_here("cgan-bench", copied), 3, "missing")
    assert_one_sentence(run_here("cgan-bench", tmp_path / "none"), 3, "does not exist")


def test_a_missing_checkpoint_ends_with_3(bundle_path: Path) -> None:
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--checkpoint", "none.pt"), 3, "none.pt")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_unreachable_server_ends_with_4(scheme: str) -> None:
    done = run_here("cgan-bench", "--url", f"{scheme}://127.0.0.1:9", "--model", "m", "--seconds", "1")
    assert_one_sentence(done, 4, "cannot be reached")


@pytest.mark.slow
def test_a_gpu_that_is_not_there_ends_with_1(bundle_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--device", "cuda"), 1, "CUDA")


def test_a_server_is_measured_beside_its_bundle(bundle_path: Path, server: TritonServer) -> None:
    url = f"grpc://127.0.0.1:{server.options.ports.grpc}"
    done = run_here("cgan-bench", bundle_path, "--url", url, "--model", "facades", "--json", *BRIEF)
    assert done.returncode == 0, done.stderr
    ours, served = json.loads(done.stdout)["rows"]
    assert (ours["backend"], served["backend"]) == ("ort_bundle", "triton")
    assert served["psnr_db"] > 100
    assert served["peak_memory_mb"] is None
    assert served["ratio_to_reference"] is not None


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_no_process(bundle_path: Path) -> None:
    program = Path(sys.executable).with_name("cgan-bench")
    running = subprocess.Popen(
        [str(program), str(bundle_path), "--seconds", "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "measuring" in line:
            break
    time.sleep(0.2)
    workers = psutil.Process(running.pid).children(recursive=True)
    assert workers
    os.kill(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert told.splitlines()[-1] == "cgan-bench: error: interrupted."
    assert not any(worker.is_running() for worker in workers)


def test_help_needs_no_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_command("cgan-bench", "--help")
    assert done.returncode == 0, done.stderr
    assert "--checkpoint" in done.stdout
