"""Batch normalisation whose test-time form is the one pix2pix is judged by."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["SampleNorm"]


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
        return F.instance_norm(x, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps)
