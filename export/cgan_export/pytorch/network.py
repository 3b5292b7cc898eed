"""A generator in a mode: cast, laid out, compiled, and called with tensors on its device."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from cgan_runtime.errors import UsageError
from torch import Tensor, nn

from cgan_export.pytorch.mode import TorchMode
from cgan_export.pytorch.strips import convolve_in_strips

if TYPE_CHECKING:
    from cgan_trainer.generator import Generator

__all__ = ["DTYPES", "Network", "network_in"]

Network = Callable[..., tuple[Tensor, ...]]
DTYPES: Final = {"fp16": torch.float16, "fp32": torch.float32, "fp64": torch.float64}  # by precision


class _InMode(nn.Module):
    """A network that takes and gives contiguous tensors of its precision, whatever its own memory layout is."""

    def __init__(self, network: nn.Module, mode: TorchMode) -> None:
        super().__init__()
        self.network = network
        self.mode = mode

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs of inputs [N, ...]; labels stay integers."""
        outputs: tuple[Tensor, ...] = self.network(*map(self._taken, inputs))
        return tuple(output.contiguous() for output in outputs)

    def _taken(self, value: Tensor) -> Tensor:
        if value.is_floating_point():
            value = value.to(DTYPES[self.mode.precision])
        if self.mode.channels_last and value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        return value


def network_in(generator: Generator, mode: TorchMode, device: torch.device) -> tuple[Generator, Network]:
    """The generator on a device in a mode, a copy where the mode changes it; and the call that runs it.

    The call takes tensors on the device and gives contiguous ones. It does not record a graph: see `graphs.py`. For
    the whole process TF32 is off from then on where the device is a GPU.

    Raises:
        UsageError: a CUDA graph on a CPU.
    """
    if mode.graph and not _has_graphs(device):
        raise UsageError(f"a CUDA graph was asked for on {device}; give the device cuda, or a mode without graph.")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    if mode.precision != "fp32" or mode.channels_last:
        generator = copy.deepcopy(generator).to(DTYPES[mode.precision])
    if mode.precision == "fp64":
        convolve_in_strips(generator)
    generator = generator.to(device).eval()
    if mode.channels_last:
        generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave it out
    network: Network = _InMode(generator, mode)
    if mode.compiled:
        # Tuned kernels are those of one shape; else a second batch size would make all of them general ones.
        dynamic = None if mode.compiled == "default" else False
        network = torch.compile(network, mode=mode.compiled, dynamic=dynamic)
    return generator, network


def _has_graphs(device: torch.device) -> bool:
    return device.type == "cuda"
