"""One way of running on a GPU, opened and on the clock. It lives in a worker, or in gpu_check itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from time import perf_counter
from typing import Final, final

from cgan_runtime.contract import Contract
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.on_device import OnDevice, Stage, sets_for

from cgan_bench.workload import conditions_for, round_seeds

__all__ = ["WALL", "Meter", "WallClock"]

WALL: Final = "wall"
TURN_SECONDS: Final = 0.1
TURN_RUNS: Final = (3, 50)  # at least, at most
FLOW_SECONDS: Final = 0.5


@final
class WallClock:
    """A runner that cannot tell its stages apart (`OnDevice` without any): only the clock on the wall is asked."""

    stages: tuple[Stage, ...] = ()

    def __init__(self, runner: Runner, contract: Contract) -> None:
        self._runner = runner
        self._generator = SeededGenerator(runner)
        self.contract = contract
        self.description = runner.description

    def generate(self, conditions: Tensors, seeds: Sequence[int]) -> dict[str, Array]:
        """The outputs, the noise drawn by the host."""
        self._asked = conditions, seeds
        return self._generator.generate(conditions, seeds, [0] * len(seeds))

    def elapsed_ms(self, stage: Stage, index: int) -> float:
        """Not known."""
        raise NotImplementedError(f"{stage} {index}")  # never asked: `stages` is empty

    def seconds_of(self, runs: int) -> float:
        """Wall-clock seconds, one after the other, of what `generate` was asked last."""
        started = perf_counter()
        for _ in range(runs):
            self.generate(*self._asked)
        return perf_counter() - started

    def close(self) -> None:
        """Release the runner."""
        self._runner.close()


@final
class Meter:
    """Measures an `OnDevice`, each of whose sets has inputs of its own from the start.

    Args:
        measured: what is measured; closed with the meter.
        batch: its rows.
        streams: what it was opened with.
    """

    def __init__(self, measured: OnDevice, batch: int, streams: int = 1) -> None:
        self._measured = measured
        self._batch = batch
        self._sets = sets_for(streams)
        for index in range(self._sets):
            seeds = round_seeds(index, batch)
            measured.generate(conditions_for(measured.contract, seeds), seeds)

    def about(self) -> tuple[str, Contract]:
        """The description, and the contract with numbers for axes."""
        return self._measured.description, self._measured.contract

    def turn(self, index: int) -> dict[str, float]:
        """Median milliseconds of each stage, and of the wall clock from conditions and seeds to outputs.

        A turn takes about TURN_SECONDS; each of its runs uses the next set, and seeds of its own.
        """
        times_ms: dict[str, list[float]] = {stage: [] for stage in (*self._measured.stages, WALL)}
        fewest, most = TURN_RUNS
        started = perf_counter()
        for run in range(most):
            if run >= fewest and perf_counter() - started > TURN_SECONDS:
                break
            number = index * most + run
            for stage in self._measured.stages:
                times_ms[stage].append(self._measured.elapsed_ms(stage, number))
            seeds = round_seeds(self._sets + number, self._batch)
            conditions = conditions_for(self._measured.contract, seeds)
            begun = perf_counter()
            self._measured.generate(conditions, seeds)
            times_ms[WALL].append((perf_counter() - begun) * 1e3)
        return {stage: statistics.median(values) for stage, values in times_ms.items()}

    def answers(self, seeds: list[int]) -> dict[str, Array]:
        """The outputs of one inference."""
        return self._measured.generate(conditions_for(self._measured.contract, seeds), seeds)

    def images_per_s(self) -> float:
        """Images a second, end to end, where runs follow each other without waiting."""
        once = self._measured.seconds_of(self._sets)
        runs = max(self._sets, round(self._sets * FLOW_SECONDS / max(once, 1e-6)))
        return self._batch * runs / self._measured.seconds_of(runs)

    def close(self) -> None:
        """Close what is measured."""
        self._measured.close()
