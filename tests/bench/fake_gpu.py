"""Ways of running on a GPU that there is not; importable from a worker process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cgan_bench.gpu.backends import GpuBackend
from cgan_bench.gpu.meter import WallClock
from cgan_bench.target import Precision, Target
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.on_device import OnDevice, Stage


class FakeOnDevice:
    """Computes with ONNX Runtime on the CPU, and tells the times that it was given."""

    def __init__(self, runner: Runner, fake: FakeGpu, batch: int, streams: int) -> None:
        self.generator = SeededGenerator(runner)
        self.fake, self.batch, self.streams = fake, batch, streams
        self.description = f"fake {fake.name}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        drawn: tuple[Stage, ...] = () if self.fake.host_draws else ("noise",)
        return ("copy_in", *drawn, "compute", "copy_out", "all")

    @property
    def contract(self) -> Contract:
        return self.generator.contract

    def generate(self, conditions: Tensors, seeds: Sequence[int]) -> dict[str, Array]:
        answer = self.generator.generate(conditions, seeds, [0] * len(seeds))
        return {name: value + np.float32(self.fake.off) for name, value in answer.items()}

    def elapsed_ms(self, stage: Stage, index: int) -> float:
        compute = self.fake.compute_us * math.pow(self.batch, 0.7) * (1 + 0.01 * (index % 7))
        times = {"copy_in": 20.0 * self.batch, "noise": 5.2, "compute": compute, "copy_out": 11.0 * self.batch}
        times["all"] = sum(times[name] for name in self.stages if name != "all")
        return times[stage] / 1e3

    def seconds_of(self, runs: int) -> float:
        return runs * self.elapsed_ms("all", 0) / 1e3 / math.sqrt(self.streams)

    def close(self) -> None:
        self.generator.close()


@dataclass(frozen=True)
class FakeGpu(GpuBackend):
    """One of them; `off` is added to what it answers."""

    name: str
    compute_us: float = 100.0
    of: Precision = "fp32"
    off: float = 0.0
    host_draws: bool = False
    wall_only: bool = False
    streams: bool = False
    reason: str = ""

    @property
    def key(self) -> str:
        return self.name.lower().replace(" ", "_")

    @property
    def title(self) -> str:
        return self.name

    @property
    def precision(self) -> Precision:
        return self.of

    @property
    def has_streams(self) -> bool:
        return self.streams

    def open(self, target: Target, *, batch: int, streams: int) -> OnDevice:
        if self.reason:
            raise CganError(self.reason)
        if streams > 2:
            raise CganError("no memory for so many.")
        assert target.bundle is not None
        runner = target.bundle.runner()
        if self.wall_only:
            return WallClock(runner, runner.contract)
        return FakeOnDevice(runner, self, batch, streams)
