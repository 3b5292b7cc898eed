"""What a backend must tell: whether it is here, and how an inference is made with it.

Backends are frozen values, so that they travel to the worker process that opens them.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Final, final

import numpy as np
from cgan_runtime.contract import Contract
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.runners.base import Array, Runner

from cgan_bench.sizes import Size, at_size
from cgan_bench.target import Precision, Target
from cgan_bench.workload import conditions_for

__all__ = ["Backend", "Call", "HostNoise", "Opened", "Timed", "kept_values", "missing_package", "opened_runner"]

KEPT_VALUES: Final = 256  # of each output of each round: 1 kB

# One inference from conditions and seeds in memory to outputs in memory; what is timed.
Call = Callable[[], dict[str, Array]]


@final
@dataclass(frozen=True, kw_only=True)
class Timed:
    """One inference on the clock.

    Attributes:
        elapsed_ms: from conditions and seeds to outputs.
        noise_ms: of it, drawing the noise; None where another process draws it.
        kept: some values of the outputs, see `kept_values`; taken after the clock stopped.
    """

    elapsed_ms: float
    noise_ms: float | None
    kept: dict[str, Array]


@final
class HostNoise:
    """The noise inputs of a contract, drawn from seeds on the host by our generator, in every row the same.

    Attributes:
        last_ms: how long the last drawing took.
    """

    def __init__(self, contract: Contract) -> None:
        self._inputs = contract.noise
        self.last_ms = 0.0

    def draw(self, seeds: Sequence[int]) -> dict[str, Array]:
        """Every noise input [N, ...] of draw 0, row i from seeds[i]."""
        started = perf_counter_ns()
        drawn = noise_tensors(self._inputs, seeds, [0] * len(seeds))
        self.last_ms = (perf_counter_ns() - started) / 1e6
        return drawn


@final
@dataclass(frozen=True, kw_only=True)
class Opened:
    """A backend in its worker, ready to infer.

    Attributes:
        description: library, version and device.
        contract: with numbers for axes: what the inputs are made by.
        prepare: makes the conditions of some seeds, untimed.
        noise: draws the noise inside the call; None where another process does.
        precision: what it computes in: decides how far outputs may be off, and by which peak its time is judged.
    """

    description: str
    contract: Contract
    prepare: Callable[[Sequence[int]], Call]
    noise: HostNoise | None = None
    precision: Precision = "fp32"


@dataclass(frozen=True)
class Backend(ABC):
    """One row of the table."""

    @property
    def lossy(self) -> bool:
        """Whether other people's tool chose the precision: what it loses is told, and is no error of ours."""
        return False

    @property
    @abstractmethod
    def key(self) -> str:
        """Name in JSON: "torch_eager"."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Name of the row."""

    @abstractmethod
    def absence(self, target: Target) -> str | None:
        """Why this machine or this target has no such row; None when it can be tried. Imports nothing heavy."""

    @abstractmethod
    def open(self, target: Target, *, threads: int) -> Opened:
        """Load it, in the worker. `threads` 0 leaves the number to the library.

        Raises:
            CganError: it cannot be loaded.
        """


def opened_runner(runner: Runner, size: Size | None, *, precision: Precision = "fp32") -> Opened:
    """A runner as an opened backend: the time is that of drawing the noise and of ``runner.infer``.

    Raises:
        UsageError: the generator does not take this size.
    """
    contract = at_size(runner.contract, size)
    noise = HostNoise(contract)

    def prepare(seeds: Sequence[int]) -> Call:
        conditions = conditions_for(contract, seeds)
        return lambda: runner.infer({**conditions, **noise.draw(seeds)})

    return Opened(
        description=runner.description, contract=contract, prepare=prepare, noise=noise, precision=precision
    )


def kept_values(outputs: dict[str, Array], seeds: Sequence[int]) -> dict[str, Array]:
    """[1, up to KEPT_VALUES] of each output, at places drawn from the seeds."""
    places = np.random.default_rng(list(seeds))
    return {
        name: value.reshape(1, -1)[:, places.integers(value.size, size=min(KEPT_VALUES, value.size))]
        for name, value in outputs.items()
    }


def missing_package(*names: str, extra: str) -> str | None:
    """Reason text when one of the packages is not installed; none of them is imported."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f'{missing[0]} is not installed; run: pip install "cgan-deploy[{extra}]"' if missing else None
