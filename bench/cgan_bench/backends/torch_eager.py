"""PyTorch as people run it: eager, inference mode. NCHW is the reference of every ratio and figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.checkpoint import generator_of
from cgan_bench.target import Target

__all__ = ["NO_CHECKPOINT", "TorchEager", "torch_absence"]

NO_CHECKPOINT: Final = "a bundle holds no PyTorch weights; add --checkpoint FILE"


@dataclass(frozen=True)
class TorchEager(Backend):
    """The generator of the checkpoint, called; in `channels_last` memory where that is asked for."""

    channels_last: bool = False

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "torch_channels_last" if self.channels_last else "torch_eager"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "PyTorch eager, channels last" if self.channels_last else "PyTorch eager"

    def absence(self, target: Target) -> str | None:
        """It needs torch and the checkpoint."""
        return torch_absence(target)

    def open(self, target: Target, *, threads: int) -> Opened:
        """Read the checkpoint and build the network."""
        from cgan_export.pytorch.mode import TorchMode
        from cgan_export.pytorch.runner import TorchRunner

        generator, contract = generator_of(target, threads=threads)
        mode = TorchMode(channels_last=self.channels_last)
        return opened_runner(TorchRunner(generator, contract, mode=mode), target.size)


def torch_absence(target: Target) -> str | None:
    """Why there are no PyTorch rows and what to add or install; None where there can be."""
    if target.checkpoint is None:
        return NO_CHECKPOINT
    return missing_package("torch", "jaxtyping", extra="export")
