"""The weights a GAN starts from: normal with standard deviation 0.02 (DCGAN, kept by pix2pix)."""

from __future__ import annotations

from torch import nn

__all__ = ["init_weights"]


def init_weights(net: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02) and norm weights from N(1, 0.02), in module order; biases are 0.

    The draws come from torch's global random state: seed it first.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
