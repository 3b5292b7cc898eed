"""PyTorch as people run it: eager, inference mode, NCHW. The reference of every ratio and PSNR."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.target import Target

if TYPE_CHECKING:
    from cgan_runtime.contract import Contract
    from cgan_trainer.generator import Generator

__all__ = ["Device", "TorchEager", "generator_of", "torch_absence"]

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class TorchEager(Backend):
    """The generator of the checkpoint, called."""

    device: Device = "cpu"

    @property
    def key(self) -> str:
        """torch_eager, or torch_eager_cuda."""
        return "torch_eager" if self.device == "cpu" else "torch_eager_cuda"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "PyTorch eager" if self.device == "cpu" else "PyTorch eager, CUDA"

    def absence(self, subject: Target) -> str | None:
        """It needs torch and the checkpoint."""
        return torch_absence(subject)

    def open(self, subject: Target, *, threads: int) -> Opened:
        """Read the checkpoint and build the network."""
        from cgan_export.fidelity.torch_runner import TorchRunner

        generator, contract = generator_of(subject, threads=threads)
        return opened_runner(TorchRunner(generator, contract, device=self.device))


def torch_absence(subject: Target) -> str | None:
    """What both PyTorch rows need."""
    if subject.checkpoint is None:
        return "a bundle holds no PyTorch weights; add --checkpoint best.pt"
    return missing_package("torch", "jaxtyping", extra="export")


def generator_of(subject: Target, *, threads: int) -> tuple[Generator, Contract]:
    """The checkpoint's generator under the statistics of the subject's contract.

    Raises:
        BadInputError: the checkpoint cannot be used, or it is not the one the bundle was made from.
    """
    import torch
    from cgan_export.graph.statistics import with_statistics
    from cgan_runtime.contract import Contract
    from cgan_runtime.errors import BadInputError, CganError
    from cgan_trainer.checkpoint import read_checkpoint

    assert subject.checkpoint is not None  # noqa: S101 - `absence` was asked first
    if threads:
        torch.set_num_threads(threads)
    try:
        checkpoint = read_checkpoint(subject.checkpoint)
        generator = build_generator(checkpoint)
    except CganError as error:
        raise BadInputError(str(error)) from error
    contract = Contract.model_validate_json(json.dumps(checkpoint.contract))
    wanted = subject.contract.statistics if subject.contract else contract.statistics
    generator, contract = with_statistics(generator, contract, None if wanted == "none" else wanted)
    if subject.contract and contract != subject.contract:
        raise BadInputError(f"{subject.checkpoint} has another contract than the bundle; was it exported from it?")
    return generator, contract
