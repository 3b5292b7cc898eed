from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgan_bench import cli
from cgan_bench.rows import Ratio
from cgan_bench.train import loops, measure
from cgan_bench.train.loops import Loop, Setup
from cgan_bench.train.plain import PairFiles, PlainTraining, endless
from cgan_bench.train.rows import TrainingRow
from cgan_bench.train.sample_pairs import write_pairs
from cgan_bench.train.step_parity import LIMITS, Difference, compare
from cgan_bench.worker_client import GRACE_SECONDS, Worker
from cgan_runtime.cli.shell import run

PLAIN, WITH_LOADERS, OURS, BF16 = loops.loops("cpu")
SMALL = ("--size", "64", "--ngf", "4", "--ndf", "4", "--threads", "1")
BRIEF = ("--rounds", "2", "--warmup", "1")


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    root = write_pairs(tmp_path_factory.mktemp("pairs"), 64, count=5)
    return Setup(data=root, cache=root / "cache", size=64, ngf=4, ndf=4, threads=1)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "TURN_SECONDS", 0.05)


@pytest.mark.slow
def test_json_has_every_loop_with_its_turns_and_its_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, ["--train", "--batch", "2", *SMALL, *BRIEF, "--json"])
    assert not ended.value.code
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert told.out.count("\n") == 1
    assert result["measured"] == "training"
    assert result["valid"] is True
    assert {"cpu", "cores", "os", "versions", "date"} <= set(result["environment"])
    rows = {row["loop"]: row for row in result["rows"]}
    assert set(rows) == {"plain", "plain_workers", "ours", "ours_bf16"}
    first = result["rows"][0]["loop"]
    assert result["reference"] == {"cpu 2": first}
    assert first in ("plain", "plain_workers")
    for name, row in rows.items():
        assert row["batch"] == 2
        assert len(row["latencies_ms"]) == row["rounds"] == 2
        assert all(value > 0 for value in row["latencies_ms"])
        assert 0 < row["data_ms"] < row["p90_ms"]
        assert row["data_ms"] + row["step_ms"] == pytest.approx(row["p50_ms"], rel=0.5)
        assert row["images_per_s"] == pytest.approx(2e3 / row["p50_ms"])
        assert row["peak_memory_mb"] > 100
        assert (row["ratio_to_reference"] is None) is (name == first)
        assert (row["difference"] is None) is (name in ("plain", "plain_workers"))
    limits = result["limits"]
    assert all(rows["ours"]["difference"][name] <= limits[name] for name in limits)
    assert any(rows["ours_bf16"]["difference"][name] > limits[name] for name in limits)


@pytest.mark.slow
def test_another_step_than_the_plain_loops_ends_with_5_after_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loops, "loops", lambda _: (PLAIN, replace(OURS, lambda_l1=99.0)))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, ["--train", *SMALL, *BRIEF])
    told = capsys.readouterr()
    assert ended.value.code == 5
    assert "INVALID: cgan-train, FP32 at batch 1" in told.out
    assert "data ms" in told.out
    assert "another training step than the plain loop's" in told.err.splitlines()[-1]


@pytest.mark.parametrize("batch", [1, 3])
def test_both_loops_take_the_same_step(setup: Setup, batch: int) -> None:
    difference = compare(PLAIN, OURS, setup, batch)
    assert difference.within_limits
    assert difference.losses < 1e-4
    assert difference.gradients < 1e-4
    assert difference.weights < 1e-4


def test_a_slightly_wrong_loop_is_found_out(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = compare(replace(PLAIN, lambda_l1=99.0), OURS, setup, 1)
    assert wrong.losses > LIMITS.losses
    assert wrong.gradients > LIMITS.gradients
    monkeypatch.setattr("cgan_bench.train.plain.LEARNING_RATE", 2.01e-4)
    faster = compare(PLAIN, OURS, setup, 1)
    assert faster.weights > LIMITS.weights
    assert faster.gradients < LIMITS.gradients * 10


def test_a_difference_that_is_no_number_is_not_within_limits() -> None:
    assert not Difference(losses=float("nan"), gradients=0.0, weights=0.0).within_limits
    assert LIMITS.within_limits


def test_bf16_is_shown_but_not_held_to_the_limits() -> None:
    wide = Difference(losses=1.0, gradients=1.0, weights=1.0)
    assert row_of(BF16, difference=wide).valid
    assert not row_of(OURS, difference=wide).valid


def test_figures_follow_their_definitions() -> None:
    row = row_of(OURS, latencies_ms=(100.0, 200.0, 1000.0))
    assert row.images_per_s == pytest.approx(4 / 0.2)
    assert row.noisy
    told = row.to_json()["ratio_to_reference"]
    assert told == {"median": 2.0, "q1": 1.9, "q3": 2.1, "low_95": None, "high_95": None}


def row_of(
    loop: Loop, *, latencies_ms: tuple[float, ...] = (1.0,), difference: Difference | None = None
) -> TrainingRow:
    return TrainingRow(
        loop=loop,
        description="",
        batch=4,
        steps=1,
        latencies_ms=latencies_ms,
        data_ms=0.1,
        step_ms=0.9,
        peak_memory_mb=1.0,
        ratio=Ratio(median=2.0, q1=1.9, q3=2.1),
        difference=difference,
    )


def test_the_plain_loop_learns(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgan_bench.train.plain.LEARNING_RATE", 5e-3)
    torch.manual_seed(0)
    training = PlainTraining(size=64, ngf=4, ndf=4)
    batches = endless(sorted((setup.data / "train").iterdir()), size=64, batch=5, workers=0)
    given = next(batches)
    losses = [training.step(*given)["G_L1"] for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_visit_cuts_and_mirrors_both_sides_alike(setup: Setup) -> None:
    files = PairFiles(sorted((setup.data / "train").iterdir()), 64)
    visits = [files[0] for _ in range(8)]
    for condition, target in visits:
        assert condition.shape == target.shape == (3, 64, 64)
        assert condition.dtype == torch.float32
        assert condition.min() >= -1
        assert condition.max() <= 1
        # The target is made of the condition: its negative with the channels turned round.
        torch.testing.assert_close(target, -condition.flip(0), rtol=0, atol=0.02)
    assert len({condition.sum().item() for condition, _ in visits}) > 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("facades", "--train"), "a bundle"),
        (("--train", "--url", "grpc://127.0.0.1:1", "--model", "m"), "--url"),
        (("--ngf", "8"), "--train"),
        (("--data", "x"), "--train"),
        (("--train", "--size", "100"), "--size"),
        (("--train", "--ngf", "0"), "--ngf"),
        (("--train", "--batch", "0"), "--batch"),
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


@pytest.mark.parametrize("made", ["nothing", "train", "A/train B/train"])
def test_a_folder_without_side_by_side_pairs_ends_with_3(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in made.split():
        (tmp_path / "data" / folder).mkdir(parents=True)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, ["--train", "--data", str(tmp_path / "data" if made != "nothing" else tmp_path / "none")])
    assert ended.value.code == 3
    assert capsys.readouterr().err.startswith("cgan-bench: error: ")


def test_a_paused_worker_stands_still_and_still_ends() -> None:
    with Worker("a paused one") as worker:
        worker.hold(list, "abc")
        assert worker.call("index", "c") == 2
        worker.pause()
        time.sleep(0.05)
        assert state_of(worker.pid) == "T"
        worker.resume()
        assert worker.call("count", "a") == 1
        worker.pause()
        asked_s = time.monotonic()
    assert time.monotonic() - asked_s < GRACE_SECONDS  # by itself, not by force
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
