"""Backends that misbehave on purpose; importable from a worker process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from cgan_bench.backends import Backend
from cgan_bench.backends.base import Call, Opened
from cgan_bench.target import Target
from cgan_bench.workload import inputs_for
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

Fault = Literal["none", "wrong", "nan", "slow", "dies", "dies_late", "raises", "large", "sleeps"]


@dataclass(frozen=True)
class Fake(Backend):
    """Answers the mean of its inputs, writes down the seeds it was asked for, and has one fault."""

    name: str
    fault: Fault = "none"
    journal: Path | None = None
    reason: str | None = None

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
        contract = target.contract
        ballast = np.ones(25_000_000 if self.fault == "large" else 1)  # 200 MB
        if self.fault == "raises":
            raise CganError("it does not fit this machine")
        if self.fault == "dies":
            os.kill(os.getpid(), 9)

        def prepare(seeds: Sequence[int]) -> Call:
            inputs = inputs_for(contract, seeds)
            total = sum(float(value.sum()) for value in inputs.values())
            if self.journal is not None:
                with self.journal.open("a") as stream:
                    stream.write(f"{self.name} {list(seeds)} {total}\n")
            return lambda: self._answer(inputs, target)

        return Opened(description=f"fake {ballast[:1].size}", contract=contract, prepare=prepare)

    def _answer(self, inputs: dict[str, Array], target: Target) -> dict[str, Array]:
        assert target.contract is not None
        output = target.contract.outputs[0]
        shape = [axis for axis in output.shape if isinstance(axis, int)]
        mean = np.mean([value.mean(axis=tuple(range(1, value.ndim))) for value in inputs.values()], axis=0)
        answer = np.broadcast_to(mean[:, None, None, None], (len(mean), *shape)).astype(np.float32)
        match self.fault:
            case "wrong":
                answer = answer + np.float32(0.01)
            case "nan":
                answer = answer * np.float32("nan")
            case "slow":
                time.sleep(0.03)
            case "sleeps":
                time.sleep(60)
            case "dies_late":
                os.write(2, b"first words\nthe last thing it said\n")
                os._exit(7)
        return {output.name: answer}
