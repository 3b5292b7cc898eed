"""Normalisation: over the whole batch in training, on however many ranks it lies; in use by one of two rules.

SampleNorm                  statistics of each sample (pix2pix at test time)
BatchNorm1d, BatchNorm2d    running averages of training (DCGAN, SRGAN, StackGAN)
InstanceNorm                statistics of each sample, in training too
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "InstanceNorm",
    "NormKind",
    "SampleNorm",
    "norm_layer",
    "normalised_per_sample",
]

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

    Trained by several processes, the batch is that of all of them: two with a batch of b each take the step that
    one would take with 2 b.
    """

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Zero mean and unit variance per channel, then weight and bias."""
        if self.training and _several_ranks():
            return _over_all_ranks(self, x)
        if self.training:
            normalised: Tensor = super().forward(x)
            return normalised
        return normalised_per_sample(x, self.weight, self.bias, self.eps)


class BatchNorm1d(nn.BatchNorm1d):
    """torch's BatchNorm1d; trained by several processes, the batch is that of all of them.

    A single row has no variance, and torch's layer refuses it. The last batch of a run may be one: it is normalised
    by the running averages, and leaves them as they are.
    """

    def forward(self, x: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
        """Batch statistics in `train()`, running averages in `eval()`; then weight and bias."""
        if self.training and _several_ranks():
            return _over_all_ranks(self, x)
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        normalised: Tensor = super().forward(x)
        return normalised


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm2d; trained by several processes, the batch is that of all of them."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Batch statistics in `train()`, running averages in `eval()`; then weight and bias."""
        if self.training and _several_ranks():
            return _over_all_ranks(self, x)
        normalised: Tensor = super().forward(x)
        return normalised


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _over_all_ranks(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch norm of [b, c, ...] whose batch lies in equal parts on all ranks; torch's SyncBatchNorm needs a GPU."""
    others = (0, *range(2, x.ndim))
    per_channel = (-1, *[1] * (x.ndim - 2))
    count = x.numel() // x.shape[1] * dist.get_world_size()
    mean = _Total.apply(x.sum(dim=others)) / count  # type: ignore[no-untyped-call]  # torch's, unannotated
    centred = x - mean.view(per_channel)
    variance = _Total.apply(centred.square().sum(dim=others)) / count  # type: ignore[no-untyped-call]  # same
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum or 0.0)
            norm.running_var.lerp_(variance * count / max(count - 1, 1), norm.momentum or 0.0)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    result: Tensor = centred * scale.view(per_channel) + norm.bias.view(per_channel)
    return result


class _Total(torch.autograd.Function):
    """The sum over all ranks, on every rank; what depends on it anywhere passes its gradient to all."""

    @staticmethod
    def forward(_ctx: object, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


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
