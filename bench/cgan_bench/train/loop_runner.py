"""One loop inside its own process, and the comparison of two, which has a process of its own too."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from time import perf_counter_ns

import torch
from cgan_trainer.data.images import list_images
from cgan_trainer.training.device import keep_freed_memory

from cgan_bench.train.loops import Loop, Setup
from cgan_bench.train.ours import open_run
from cgan_bench.train.plain import PlainTraining, endless

__all__ = ["Stage", "Turn", "open_stage"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Means over the steps of one turn, in milliseconds. `total_ms` is the turn as a whole, measured on its own."""

    total_ms: float
    data_ms: float
    step_ms: float


class Stage(ABC):
    """A loop that can take steps."""

    def __init__(self, loop: Loop) -> None:
        self.device = loop.device
        self._data_ns = self._step_ns = 0

    def describe(self) -> str:
        """Library, version and threads."""
        threads = torch.get_num_threads()
        return f"PyTorch {torch.__version__.split('+')[0]}, {threads} thread{'s' if threads > 1 else ''}"

    def turn(self, steps: int) -> Turn:
        """So many steps, from the first image asked for to the last weight written."""
        self._synchronize()
        self._data_ns = self._step_ns = 0
        began_ns = perf_counter_ns()
        for _ in range(steps):
            self._step()
        self._synchronize()
        total_ns = perf_counter_ns() - began_ns
        return Turn(
            total_ms=total_ns / steps / 1e6,
            data_ms=self._data_ns / steps / 1e6,
            step_ms=self._step_ns / steps / 1e6,
        )

    @abstractmethod
    def _step(self) -> None:
        """One step, its two parts added to `_data_ns` and `_step_ns`."""

    def _synchronize(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


class _PlainStage(Stage):
    def __init__(self, loop: Loop, setup: Setup, batch: int) -> None:
        super().__init__(loop)
        torch.manual_seed(0)
        self.training = PlainTraining(
            size=setup.size,
            ngf=setup.ngf,
            ndf=setup.ndf,
            lambda_l1=loop.lambda_l1,
            device=loop.device,
        )
        paths = list_images(setup.data / "train")
        self.batches = endless(paths, size=setup.size, batch=batch, workers=loop.loader_workers)

    def _step(self) -> None:
        began_ns = perf_counter_ns()
        condition, target = next(self.batches)
        fed_ns = perf_counter_ns()
        self.training.step(condition, target)
        self._data_ns += fed_ns - began_ns
        self._step_ns += perf_counter_ns() - fed_ns


class _OurStage(Stage):
    def __init__(self, loop: Loop, setup: Setup, batch: int) -> None:
        super().__init__(loop)
        keep_freed_memory()
        self.run = open_run(loop, setup, batch)

    def _step(self) -> None:
        sums = self.run.sums
        data_seconds, step_seconds = sums.data_seconds, sums.step_seconds
        self.run.step()
        self._data_ns += round((sums.data_seconds - data_seconds) * 1e9)
        self._step_ns += round((sums.step_seconds - step_seconds) * 1e9)


def open_stage(loop: Loop, setup: Setup, batch: int) -> Stage:
    """The loop, ready for its first step. Allocator and threads are set for the whole process."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # a pool of compilers would idle beside the others
    if setup.threads:
        torch.set_num_threads(setup.threads)
    kind = _PlainStage if loop.kind == "plain" else _OurStage
    return kind(loop, setup, batch)
