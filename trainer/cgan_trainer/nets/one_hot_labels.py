"""From class numbers to one-hot vectors, inside the network."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ["one_hot_labels"]


def one_hot_labels(
    labels: Int64[Tensor, " b"], classes: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "b k"]:
    """1 in the column of the class, 0 elsewhere.

    A comparison with 0..k-1, which every ONNX runtime and TensorRT have, unlike the OneHot operator's variants.
    """
    numbers = torch.arange(classes, device=labels.device)
    return (labels[:, None] == numbers).to(dtype)
