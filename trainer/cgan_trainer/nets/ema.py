"""An exponential moving average of a network's weights: steadier than the newest ones."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """``average = decay * average + (1 - decay) * weights`` after every step.

    The decay starts low, ``min(decay, (1 + step) / (10 + step))``, so that the first weights, which are noise, are
    forgotten soon. Buffers are copied.

    Args:
        net: the network that is trained.
        decay: 0 < decay < 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights: list[torch.Tensor] = list(net.parameters())
        averages: list[torch.Tensor] = list(self.net.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for mine, new in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(new)
