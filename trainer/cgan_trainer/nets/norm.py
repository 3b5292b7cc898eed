"""Normalisation whose test-time form is the one the generators are judged by: statistics of each sample."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["InstanceNorm", "NormKind", "SampleNorm", "norm_layer", "normalised_per_sample"]

# batch     weight, bias and running averages;
# affine    weight and bias alone: instance norm with affine=True, or batch norm that keeps no averages;
# instance  nothing to learn and nothing kept;
# none      no normalisation.
NormKind = Literal["batch", "affine", "instance", "none"]


class SampleNorm(nn.BatchNorm2d):
    """Batch statistics in `train()`, the statistics of each sample on its own in `eval()`.

    pix2pix normalises with the statistics of its test batch of one. Over one sample that is instance
    normalisation with batch norm's weight and bias (both divide by h*w), so `eval()` does exactly that: the
    result of a sample does not depend on its neighbours in the batch, and evaluating never touches the running
    averages. Those are kept, unused here, so that the state dict has the layout every tool expects of a
    BatchNorm2d.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Zero mean and unit variance per channel, then weight and bias."""
        if self.training:
            normalised: Tensor = super().forward(x)
            return normalised
        return normalised_per_sample(x, self.weight, self.bias, self.eps)


class InstanceNorm(nn.Module):
    """Zero mean and unit variance per sample and channel, in `train()` and `eval()` alike; no parameters."""

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """``(x - mean) / sqrt(var + eps)`` over h and w."""
        return normalised_per_sample(x, None, None, self.eps)


def norm_layer(kind: NormKind, channels: int, eps: float = 1e-5) -> nn.Module | None:
    """The layer of a kind, or None."""
    if kind == "none":
        return None
    if kind == "instance":
        return InstanceNorm(eps)
    return SampleNorm(channels, eps=eps, track_running_stats=kind == "batch")


def normalised_per_sample(
    x: Float[Tensor, "b c h w"], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Float[Tensor, "b c h w"]:
    """``(x - mean) / sqrt(var + eps) * weight + bias``, mean and biased variance over h and w of each sample.

    A single pixel is its own mean, so what is left of it is the bias; torch's function refuses that case.
    """
    if x.shape[-2] * x.shape[-1] == 1:
        nothing = x * 0
        return nothing if bias is None else nothing + bias[:, None, None]
    return F.instance_norm(x, weight=weight, bias=bias, use_input_stats=True, eps=eps)
