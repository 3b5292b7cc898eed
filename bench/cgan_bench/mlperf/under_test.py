"""The system under test: a runner of ours that LoadGen asks, in the process of a worker.

Samples are the inputs of the workload. What is timed is LoadGen's: from the instant a query is issued (in the
server scenario from the instant it was planned for) to the answer, waiting and putting batches together included.
"""

from __future__ import annotations

import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array, Runner

from cgan_bench.backends import BundleArtifact
from cgan_bench.mlperf.scenarios import Outcome, Scenario, ScenarioName, highest_valid, outcome_of
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from cgan_bench.workload import inputs_for, round_seeds

__all__ = ["UnderTest", "run_scenario"]

SAMPLES: Final = 64
FIRST_RUNS: Final = 5
ATTEMPTS: Final = 4
SHORTER: Final = 0.8  # of what was measured: the next run then lasts longer than LoadGen asks
NAMES: Final[dict[ScenarioName, str]] = {"singlestream": "SingleStream", "offline": "Offline", "server": "Server"}


def run_scenario(target: Target, artifact: BundleArtifact, scenario: Scenario, threads: int) -> tuple[str, Outcome]:
    """Open the artifact and let LoadGen ask it; the runner's description and what LoadGen said.

    Raises:
        CganError: it cannot be loaded, or LoadGen wrote no summary.
    """
    assert target.bundle is not None  # noqa: S101 - the command needs one
    runner = target.bundle.runner(backend=artifact.runtime, precision=artifact.precision, threads=threads)
    contract = at_size(runner.contract, target.size)
    samples = [inputs_for(contract, round_seeds(index, 1)) for index in range(SAMPLES)]
    system = UnderTest(runner, samples, batch=scenario.batch)
    each_s = system.seconds_of_one()
    if scenario.name == "server" and scenario.qps is None:
        return runner.description, highest_valid(lambda qps: system.run(scenario, each_s, qps), 1 / each_s)
    return runner.description, system.run(scenario, each_s, scenario.qps)


class UnderTest:
    """A runner and its samples, as LoadGen calls them.

    Args:
        runner: what is measured.
        samples: inputs [1, ...].
        batch: samples of one inference where several wait.
    """

    def __init__(self, runner: Runner, samples: Sequence[dict[str, Array]], *, batch: int = 1) -> None:
        self._runner, self._samples, self._batch = runner, samples, batch
        self._waiting: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._problem: Exception | None = None

    def seconds_of_one(self) -> float:
        """Time of an inference, from a few: LoadGen asks for a guess."""
        times = []
        for index in range(FIRST_RUNS):
            started = time.perf_counter()
            self._runner.infer(self._samples[index % len(self._samples)])
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def run(self, scenario: Scenario, each_s: float, qps: float | None) -> Outcome:
        """A whole run of LoadGen, again with a better guess where it ended before the least duration.

        LoadGen plans its queries by the guess: a time that was measured on a busy moment gives too few of them.

        Args:
            scenario: what it is told.
            each_s: guess of the time of a sample.
            qps: of the server scenario.

        Raises:
            CganError: an inference failed, or LoadGen wrote no summary.
        """
        for _ in range(ATTEMPTS):
            found = self._run(scenario, each_s, qps)
            if scenario.name == "server" or found.satisfied.get("Min duration", True):
                break
            measured_s = 1 / found.figure if scenario.name == "offline" else found.p50_ms / 1e3
            each_s = SHORTER * min(measured_s, each_s)
        return found

    def _run(self, scenario: Scenario, each_s: float, qps: float | None) -> Outcome:
        """One run; its log files are in a folder that is removed."""
        import mlperf_loadgen

        settings = mlperf_loadgen.TestSettings()
        settings.scenario = getattr(mlperf_loadgen.TestScenario, NAMES[scenario.name])
        settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
        settings.min_duration_ms = round(scenario.min_duration_s * 1e3)
        settings.single_stream_expected_latency_ns = round(each_s * 1e9)
        settings.offline_expected_qps = 1 / each_s
        if qps is not None and scenario.latency_bound_ms is not None:
            settings.server_target_qps = qps
            settings.server_target_latency_ns = round(scenario.latency_bound_ms * 1e6)
        answering = threading.Thread(target=self._answer, daemon=True)
        answering.start()
        with tempfile.TemporaryDirectory(prefix="cgan-bench-") as folder:
            log = mlperf_loadgen.LogSettings()
            log.log_output.outdir = folder
            log.enable_trace = False
            under_test = mlperf_loadgen.ConstructSUT(self._waiting.put, lambda: None)
            library = mlperf_loadgen.ConstructQSL(
                len(self._samples), len(self._samples), lambda _: None, lambda _: None
            )
            try:
                # Without a name LoadGen would obey an audit.config in the working directory.
                mlperf_loadgen.StartTestWithLogSettings(under_test, library, settings, log, f"{folder}/none")
            finally:
                self._waiting.put(None)
                answering.join()
                mlperf_loadgen.DestroyQSL(library)
                mlperf_loadgen.DestroySUT(under_test)
            if self._problem is not None:
                raise CganError(f"an inference failed: {self._problem}") from self._problem
            summary = Path(folder) / "mlperf_log_summary.txt"
            try:
                return outcome_of(summary.read_text(encoding="utf-8"), scenario.name, qps=qps)
            except (OSError, ValueError) as error:
                raise CganError(f"LoadGen measured nothing: {error}") from error

    def _answer(self) -> None:
        """Answer what LoadGen issues, in its order, until there is nothing more."""
        import mlperf_loadgen

        while (query := self._waiting.get()) is not None:
            for first in range(0, len(query), self._batch):
                part = query[first : first + self._batch]
                if self._problem is None:
                    self._infer([self._samples[sample.index] for sample in part])
                # No data: LoadGen keeps answers in its accuracy mode alone.
                mlperf_loadgen.QuerySamplesComplete(
                    [mlperf_loadgen.QuerySampleResponse(sample.id, 0, 0) for sample in part]
                )

    def _infer(self, given: Sequence[dict[str, Array]]) -> None:
        """One inference. After one that failed the others are answered at once: LoadGen waits for all of them."""
        try:
            self._runner.infer({name: np.concatenate([one[name] for one in given]) for name in given[0]})
        except Exception as error:  # noqa: BLE001 - whatever a runner raises is told when LoadGen has ended
            self._problem = error
