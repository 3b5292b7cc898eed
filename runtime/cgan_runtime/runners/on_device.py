"""What is measured on a GPU: a generator at one batch size whose stages run and are timed one by one.

There are several sets of inputs and outputs, each in memory of its own, and they take turns: what one run left in
the caches of the GPU is not what the next one reads. TensorRT plans and PyTorch implement it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array, Tensors

__all__ = ["SETS", "OnDevice", "Stage", "sets_for"]

# copy_in    conditions from pinned memory of the host to the device, and the noise too where the host draws it
# noise      drawn on the device into the input buffers
# compute    inputs on the device to outputs on the device
# copy_out   outputs from the device to pinned memory of the host
# all        the four, one after the other, as one CUDA graph where there are graphs
Stage = Literal["copy_in", "noise", "compute", "copy_out", "all"]

SETS: Final = 8


class OnDevice(Protocol):
    """A generator on a GPU at one batch size. One thread at a time; whoever opens it closes it."""

    @property
    def description(self) -> str:
        """Backend, version and how it runs."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that can be timed alone, in order, then "all"; "noise" is missing where the host draws it."""

    @property
    def contract(self) -> Contract:
        """With numbers for axes."""

    def generate(self, conditions: Tensors, seeds: Sequence[int]) -> dict[str, Array]:
        """Outputs [N, ...] of conditions [N, ...] and seeds, draw 0, from and to host memory; uses the next set.

        Raises:
            UsageError: another number of rows than the batch, or noise that cannot be drawn.
            CganError: the device failed.
        """

    def elapsed_ms(self, stage: Stage, index: int) -> float:
        """GPU time of one run of a stage on set number `index` (modulo their number), by events.

        The whole of another set runs immediately before, so the device is busy while the stage is put on the
        stream: the time that the host takes for it counts only where it is longer than that.

        Raises:
            CganError: the device failed.
        """

    def seconds_of(self, runs: int) -> float:
        """Wall-clock seconds of so many runs of everything, spread over all streams without waiting between.

        Raises:
            CganError: the device failed.
        """

    def close(self) -> None:
        """Give everything back."""


def sets_for(streams: int) -> int:
    """How many sets there are for a number of streams: at least two for each, the same number for all."""
    return streams * max(2, -(-SETS // streams))
