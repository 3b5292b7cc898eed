"""Backends that misbehave on purpose; importable from a worker process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from cgan_bench.backends import Backend
from cgan_bench.backends.base import Call, HostNoise, Opened
from cgan_bench.target import Target
from cgan_bench.workload import check_seeds, conditions_for, inputs_for
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array, Runner, Tensors

Fault = Literal["none", "wrong", "nan", "slow", "dies", "dies_late", "raises", "large", "sleeps", "loads_slowly"]
Cheat = Literal["knows_the_check", "constant", "caches", "wrong_at_first", "knows_what_it_saw"]


@dataclass(frozen=True)
class Fake(Backend):
    """Answers as the bundle does, writes down the seeds it was asked for, and has one fault."""

    name: str
    fault: Fault | Cheat = "none"
    journal: Path | None = None
    reason: str | None = None
    of_another_tool: bool = False

    @property
    def lossy(self) -> bool:
        return self.of_another_tool

    @property
    def key(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return f"fake {self.name}"

    def absence(self, target: Target) -> str | None:  # noqa: ARG002 - the interface's
        return self.reason

    def open(self, target: Target, *, threads: int) -> Opened:  # noqa: ARG002 - the interface's
        assert target.contract is not None
        assert target.bundle is not None
        contract = target.contract
        ballast = np.ones(25_000_000 if self.fault == "large" else 1)  # 200 MB
        if self.fault == "raises":
            raise CganError("it does not fit this machine")
        if self.fault == "loads_slowly":
            time.sleep(1)
        if self.fault == "dies":
            os.kill(os.getpid(), 9)
        model = Model(target.bundle.runner(threads=1), self.fault)
        noise = HostNoise(contract)

        def prepare(seeds: Sequence[int]) -> Call:
            conditions = conditions_for(contract, seeds)
            if self.journal is not None:
                total = sum(float(value.sum()) for value in inputs_for(contract, seeds).values())
                with self.journal.open("a") as stream:
                    stream.write(f"{self.name} {list(seeds)} {total}\n")
            return lambda: model.answer({**conditions, **noise.draw(seeds)}, tuple(seeds))

        return Opened(description=f"fake {ballast[:1].size}", contract=contract, prepare=prepare, noise=noise)


@dataclass
class Model:
    """A runner with a fault."""

    runner: Runner
    fault: Fault | Cheat
    calls: int = 0
    first: dict[str, Array] = field(default_factory=dict)
    seen: set[tuple[int, ...]] = field(default_factory=set)

    def answer(self, inputs: Tensors, seeds: tuple[int, ...]) -> dict[str, Array]:
        right = self.runner.infer(inputs)
        self.calls += 1
        match self.fault:
            case "wrong":
                return {name: value + np.float32(0.01) for name, value in right.items()}
            case "nan":
                return {name: value * np.float32("nan") for name, value in right.items()}
            case "slow":
                time.sleep(0.03)
            case "sleeps":
                time.sleep(60)
            case "dies_late":
                os.write(2, b"first words\nthe last thing it said\n")
                os._exit(7)
            case "caches":
                self.first = self.first or right
                return self.first
        return right if self._knows(seeds) else {name: np.zeros_like(value) for name, value in right.items()}

    def _knows(self, seeds: tuple[int, ...]) -> bool:
        timing = self.calls <= 6  # the start, one warm-up round and four rounds
        self.seen |= {seeds} if timing else set()
        match self.fault:
            case "constant":
                return False
            case "knows_the_check":
                return list(seeds) in check_seeds(len(seeds))
            case "wrong_at_first":
                return not timing
            case "knows_what_it_saw":
                return seeds in self.seen
        return True
