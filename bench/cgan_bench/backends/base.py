"""What a backend must tell: whether it is here, and how an inference is made with it.

Backends are frozen values, so that they travel to the worker process that opens them.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array, Runner

from cgan_bench.sizes import Size, at_size
from cgan_bench.target import Target
from cgan_bench.workload import inputs_for

__all__ = ["Backend", "Call", "Opened", "missing_package", "opened_runner"]

# One inference whose inputs are ready; what is timed.
Call = Callable[[], dict[str, Array]]


@final
@dataclass(frozen=True, kw_only=True)
class Opened:
    """A backend in its worker, ready to infer.

    Attributes:
        description: library, version and device.
        contract: with numbers for axes: what the inputs are made by.
        prepare: makes the inputs of some seeds, untimed.
    """

    description: str
    contract: Contract
    prepare: Callable[[Sequence[int]], Call]


@dataclass(frozen=True)
class Backend(ABC):
    """One row of the table."""

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


def opened_runner(runner: Runner, size: Size | None) -> Opened:
    """A runner as an opened backend: the time is that of ``runner.infer``, noise already drawn.

    Raises:
        UsageError: the generator does not take this size.
    """
    contract = at_size(runner.contract, size)

    def prepare(seeds: Sequence[int]) -> Call:
        inputs = inputs_for(contract, seeds)
        return lambda: runner.infer(inputs)

    return Opened(description=runner.description, contract=contract, prepare=prepare)


def missing_package(*names: str, extra: str) -> str | None:
    """Reason text when one of the packages is not installed; none of them is imported."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return f'{missing[0]} is not installed; run: pip install "cgan-deploy[{extra}]"' if missing else None
