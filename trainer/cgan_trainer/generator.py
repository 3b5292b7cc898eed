"""A generator: the pure function that is trained, exported and served."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from cgan_runtime.contract import Contract, NoiseInput
from torch import Tensor, nn

__all__ = ["Generator", "as_used", "device_of", "live_noise"]


class Generator(nn.Module, ABC):
    """``outputs = G(*conditions, *noise)``: tensors batch first, in the order of the contract.

    It draws nothing and depends on its arguments only. A sample never depends on the others of its batch in
    `eval()`.
    """

    @property
    @abstractmethod
    def contract(self) -> Contract:
        """What this generator takes and gives."""

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Every condition, then every noise input; returns every output.

        It must run in float64 too, which the export asks where FP32 is itself the noise: tensors that it makes have
        the dtype of its inputs.
        """

    def live(self, conditions: Sequence[Tensor], rows: int) -> tuple[Tensor, ...]:
        """The outputs under noise by torch's own rules, drawn from its global random state.

        This is how a run is validated, and the reference that the spread over seeds is compared with. A family
        overrides it where its networks draw noise themselves (dropout).

        Args:
            conditions: every condition, batch first.
            rows: samples wanted; the batch of the conditions, where there are any.
        """
        device = device_of(self)
        noise = [live_noise(item, rows).to(device) for item in self.contract.noise]
        outputs: tuple[Tensor, ...] = self(*conditions, *noise)
        return outputs


@contextlib.contextmanager
def as_used(generator: Generator) -> Iterator[Generator]:
    """The generator in `eval()` (statistics per sample, running averages untouched), without gradients."""
    was_training = generator.training
    generator.eval()
    try:
        with torch.no_grad():
            yield generator
    finally:
        generator.train(was_training)


def device_of(module: nn.Module) -> torch.device:
    """Where its weights are; the CPU where it has none."""
    return next((parameter.device for parameter in module.parameters()), torch.device("cpu"))


def live_noise(item: NoiseInput, rows: int) -> Tensor:
    """A noise input [rows, ...] by torch's own functions, from its global random state, on the CPU.

    Raises:
        ValueError: a free axis: the size must be known.
    """
    if not all(isinstance(axis, int) for axis in item.shape):
        raise ValueError(f"{item.name} has a free size: {list(item.shape)}.")
    shape = (rows, *(int(axis) for axis in item.shape))
    match item.distribution:
        case "mask":
            share = 1 - item.parameters["p"]
            return torch.empty(shape).bernoulli_(share).div_(share)
        case "uniform01":
            return torch.rand(shape)
        case "uniform11":
            return torch.rand(shape) * 2 - 1
        case "truncated_normal":
            cut = item.parameters.get("c", 2.0)
            values = torch.empty(shape)
            nn.init.trunc_normal_(values, a=-cut, b=cut)
            return values
        case "hypersphere" | "hypersphere_sqrt_n":
            values = torch.randn(shape)
            length = values.flatten(1).norm(dim=1).reshape(-1, *[1] * (len(shape) - 1))
            count = math.prod(shape[1:]) if item.distribution == "hypersphere_sqrt_n" else 1
            return values.mul_(math.sqrt(count)).div_(length)
        case _:
            return torch.randn(shape)
