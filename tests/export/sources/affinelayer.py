"""pix2pix-tensorflow's variables as numpy arrays, and its forward pass in numpy-like torch, NHWC as there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Variables = dict[str, npt.NDArray[np.float32]]


def variables(*, ngf: int = 4, c_in: int = 3, c_out: int = 3, seed: int = 0) -> Variables:
    rng = np.random.default_rng(seed)

    def draw(*shape: int, mean: float = 0.0, std: float = 0.2) -> npt.NDArray[np.float32]:
        return rng.normal(mean, std, shape).astype(np.float32)

    found: Variables = {}
    widths = [ngf * n for n in (1, 2, 4, 8, 8, 8, 8, 8)]

    def norm(scope: str, channels: int) -> None:
        base = f"{scope}/batch_normalization"
        found[f"{base}/gamma"] = draw(channels, mean=1.0)
        found[f"{base}/beta"] = draw(channels)
        found[f"{base}/moving_mean"] = draw(channels)
        found[f"{base}/moving_variance"] = np.abs(draw(channels, mean=1.0))

    for n, (a, b) in enumerate(zip([c_in, *widths[:-1]], widths, strict=True), start=1):
        found[f"generator/encoder_{n}/conv2d/kernel"] = draw(4, 4, a, b)
        found[f"generator/encoder_{n}/conv2d/bias"] = draw(b)
        if n > 1:
            norm(f"generator/encoder_{n}", b)
    for n in range(8, 0, -1):
        a = widths[n - 1] * (1 if n == 8 else 2)
        b = widths[n - 2] if n > 1 else c_out
        found[f"generator/decoder_{n}/conv2d_transpose/kernel"] = draw(4, 4, b, a)
        found[f"generator/decoder_{n}/conv2d_transpose/bias"] = draw(b)
        if n > 1:
            norm(f"generator/decoder_{n}", b)
    found["discriminator/layer_1/conv2d/kernel"] = draw(4, 4, 6, 4)
    return found


def forward(found: Variables, image: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """`picture` [1, h, w, c]; `masks` [1, h, w, c] for decoder_8, 7, 6. Batch norm as in training."""
    v = {name: torch.from_numpy(value) for name, value in found.items()}

    def norm(x: Tensor, scope: str) -> Tensor:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2), unbiased=False)
        base = f"{scope}/batch_normalization"
        return (x - mean) / torch.sqrt(var + 1e-5) * v[f"{base}/gamma"] + v[f"{base}/beta"]

    layers = []
    x = image
    for n in range(1, 9):
        scope = f"generator/encoder_{n}"
        x = x if n == 1 else torch.maximum(x, 0.2 * x)
        weight = v[f"{scope}/conv2d/kernel"].permute(3, 2, 0, 1)
        x = F.conv2d(F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1)), weight, v[f"{scope}/conv2d/bias"], 2).permute(
            0, 2, 3, 1
        )
        x = x if n == 1 else norm(x, scope)
        layers.append(x)
    for n in range(8, 0, -1):
        scope = f"generator/decoder_{n}"
        x = torch.relu(layers[-1] if n == 8 else torch.cat([x, layers[n - 1]], 3))
        weight = v[f"{scope}/conv2d_transpose/kernel"].permute(3, 2, 0, 1)
        full = F.conv_transpose2d(x.permute(0, 3, 1, 2), weight, v[f"{scope}/conv2d_transpose/bias"], 2)
        x = full[:, :, 1:-1, 1:-1].permute(0, 2, 3, 1)  # "SAME"
        x = norm(x, scope) if n > 1 else torch.tanh(x)
        x = x * masks[8 - n] if n >= 6 else x
    return x
