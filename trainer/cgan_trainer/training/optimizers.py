"""Optimisers from their specification."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from cgan_trainer.families.base import OptimizerSpec

__all__ = ["make_optimizer"]


def make_optimizer(spec: OptimizerSpec, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """An optimiser over the parameters, without state.

    Adam and SGD take one fused pass over all tensors: on a CPU the many small ones of batch 1 cost as much as a
    layer.
    """
    match spec.kind:
        case "adam":
            return torch.optim.Adam(
                parameters, lr=spec.lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay, fused=True
            )
        case "sgd":
            return torch.optim.SGD(
                parameters, lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                parameters, lr=spec.lr, eps=spec.eps, momentum=spec.momentum, weight_decay=spec.weight_decay
            )
