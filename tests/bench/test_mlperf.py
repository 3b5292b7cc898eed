"""MLPerf's own load generator against runners of known behaviour, and its words as we read them."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from cgan_bench.mlperf.scenarios import Outcome, Scenario, highest_valid, outcome_of
from cgan_bench.mlperf.under_test import UnderTest
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array, Runner, Tensors

from tests.helpers import assert_one_sentence, run_here

pytest.importorskip("mlperf_loadgen", exc_type=ImportError)
BRIEF = ("--seconds", "0.2")
SAMPLES = [{"x": np.full((1, 2), number, dtype=np.float32)} for number in range(8)]


class Sleeper(Runner):
    """Doubles its input after a time; notes how many samples came at once."""

    def __init__(self, sleep_s: float, *, fails: bool = False) -> None:
        x, y = Condition(name="x", shape=(2,)), Output(name="y", shape=(2,))
        super().__init__(Contract(conditions=(x,), noise=(), outputs=(y,), statistics="none"))
        self.sleep_s, self.fails = sleep_s, fails
        self.batches: list[int] = []

    @property
    def description(self) -> str:
        return "sleeper"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        self.batches.append(len(inputs["x"]))
        if self.fails and len(self.batches) > 3:
            raise RuntimeError("it broke")
        time.sleep(self.sleep_s)
        return {"y": 2 * inputs["x"]}

    def close(self) -> None:
        pass


def run(runner: Sleeper, scenario: Scenario, *, qps: float | None = None) -> Outcome:
    return UnderTest(runner, SAMPLES, batch=scenario.batch).run(scenario, runner.sleep_s, qps)


def test_a_single_stream_never_takes_less_than_its_runner() -> None:
    runner = Sleeper(0.002)
    found = run(runner, Scenario(name="singlestream", min_duration_s=0.3))
    assert found.valid
    assert found.tail_ms == found.figure >= found.p50_ms >= 2.0
    assert len(runner.batches) >= 100, "LoadGen's own least number of queries"
    assert set(runner.batches) == {1}
    assert found.satisfied == {"Min duration": True, "Min queries": True, "Early stopping": True}


def test_offline_samples_come_in_batches_and_are_all_answered() -> None:
    runner = Sleeper(0.002)
    found = run(runner, Scenario(name="offline", min_duration_s=0.3, batch=4))
    assert found.valid, "four at once are faster than the guess, so it is asked again"
    assert 0 < found.figure <= 4 / 0.002
    assert found.tail_ms is None
    assert max(runner.batches) == 4
    first = round(1.1 * 0.3 / 0.002)
    assert f"samples_per_query : {sum(runner.batches) - first}" in found.summary


@pytest.mark.parametrize("name", ["offline", "singlestream"])
def test_a_guess_from_a_busy_moment_does_not_end_the_run_early(name: Literal["offline", "singlestream"]) -> None:
    runner = Sleeper(0.002)
    scenario = Scenario(name=name, min_duration_s=0.5)
    found = UnderTest(runner, SAMPLES).run(scenario, 50 * runner.sleep_s, None)
    assert found.valid, found.summary
    assert sum(runner.batches) > 0.5 / 0.003, "more than the queries planned by the guess"


def test_the_bound_of_a_server_decides() -> None:
    wide = run(Sleeper(0.0005), Scenario(name="server", min_duration_s=1.0, latency_bound_ms=1e6), qps=900)
    assert wide.valid
    assert wide.qps == 900
    assert wide.tail_ms is not None
    narrow = run(Sleeper(0.002), Scenario(name="server", min_duration_s=0.2, latency_bound_ms=1.0), qps=100)
    assert not narrow.valid
    assert narrow.satisfied["Performance constraints"] is False


def test_a_runner_that_fails_is_one_sentence_and_nothing_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audit.config").write_text("*.*.mode = 3\n")  # LoadGen would obey it
    threads = threading.active_count()
    with pytest.raises(CganError, match="an inference failed: it broke"):
        run(Sleeper(0.001, fails=True), Scenario(name="singlestream", min_duration_s=0.1))
    assert threading.active_count() == threads
    assert [path.name for path in tmp_path.iterdir()] == ["audit.config"]


@pytest.mark.parametrize("limit", [3.0, 37.0, 99.0])
def test_halving_finds_the_highest_valid_rate(limit: float) -> None:
    asked = []

    def at(qps: float) -> Outcome:
        asked.append(qps)
        return Outcome(valid=qps <= limit, summary="", figure=qps, p50_ms=1.0, tail_ms=1.0, satisfied={}, qps=qps)

    found = highest_valid(at, 100.0, steps=6)
    assert found.valid
    assert limit - 100 / 64 <= found.figure <= limit
    assert len(asked) == 6
    assert not highest_valid(lambda qps: at(qps + 1000), 100.0).valid


def test_a_summary_without_its_figures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"90\.00 percentile"):
        outcome_of("Result is : VALID\n", "singlestream")


def test_the_command_tells_what_loadgen_said(bundle_path: Path) -> None:
    done = run_here("cgan-bench", bundle_path, "--scenario", "offline", *BRIEF, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (row,) = told["rows"]
    assert (row["backend"], row["valid"], told["official_submission"]) == ("ort_bundle", True, False)
    assert "MLPerf Results Summary" in row["loadgen_summary"]


def test_invalid_ends_with_5_after_the_result(bundle_path: Path) -> None:
    words = ("--scenario", "server", "--latency-bound-ms", "0.001", "--qps", "50", *BRIEF)
    done = run_here("cgan-bench", bundle_path, *words)
    assert_one_sentence(done, 5, "LoadGen says INVALID; not satisfied: Performance constraints")
    assert "no official MLPerf submission" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--qps", "3"), "give --scenario too"),
        (("--backend", "openvino"), "give --scenario too"),
        (("--scenario", "server"), "give --latency-bound-ms"),
        (("--scenario", "offline", "--qps", "3"), "about the server scenario"),
        (("--scenario", "singlestream", "--batch", "2"), "offline alone"),
        (("--scenario", "offline", "--batch", "2,4"), "offline alone"),
        (("--scenario", "offline", "--precision", "fp32,int8"), "names 2 artifacts"),
        (("--scenario", "offline", "--layers"), "leave out --layers"),
        (("--scenario", "offline", "--rounds", "3"), "leave out --rounds"),
        (("--scenario", "ofline"), "--scenario"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(bundle_path: Path, words: tuple[str, ...], part: str) -> None:
    assert_one_sentence(run_here("cgan-bench", bundle_path, *words), 2, part)


def test_an_artifact_that_is_not_there_ends_with_3(bundle_path: Path) -> None:
    done = run_here("cgan-bench", bundle_path, "--scenario", "offline", "--backend", "openvino")
    assert_one_sentence(done, 3, "no openvino fp32 artifact")
