"""The weights a GAN starts from: normal with standard deviation 0.02 (DCGAN, kept by pix2pix and CycleGAN)."""

from __future__ import annotations

from torch import nn

__all__ = ["init_weights"]

_Weighted = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_Norm = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)


def init_weights(net: nn.Module, *, norm_std: float = 0.02) -> None:
    """Draw weights in module order: dense layers and convolutions from N(0, 0.02), norms from N(1, `norm_std`).

    Biases are 0. Norms without weights and embeddings stay as they are. The draws come from torch's global
    random state: seed it first.

    Args:
        net: the network, changed in place.
        norm_std: of the norms' weights; 0 makes them 1, torch's own default.
    """
    for module in net.modules():
        if isinstance(module, _Weighted):
            mean, std = 0.0, 0.02
        elif isinstance(module, _Norm):
            mean, std = 1.0, norm_std
        else:
            continue
        if module.weight is not None:
            nn.init.normal_(module.weight, mean, std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
