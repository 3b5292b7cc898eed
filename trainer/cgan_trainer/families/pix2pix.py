"""The pix2pix generator: an image in, an image out, and dropout as the only noise.

Which decoder layers carry dropout differs by port and changes the distribution the net was trained with, so it
is part of the architecture:

    paper   the three innermost decoder layers: 2x2, 4x4, 8x8 (Lua, TensorFlow)
    port    one level shallower, the 8*ngf layers after the innermost: 4x4, 8x8, 16x16 at 256 (PyTorch)
    off     none: one picture per condition
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from jaxtyping import Float
from torch import Tensor

from cgan_trainer.contract import Condition, Contract, ImageEncoding, NoiseInput, Output
from cgan_trainer.families.base import Generator
from cgan_trainer.nets.unet import UNet, unet_widths

__all__ = ["DropoutPlacement", "Pix2pixGenerator", "Pix2pixOptions"]

DropoutPlacement = Literal["paper", "port", "off"]
SIZES = (64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class Pix2pixOptions:
    """Everything needed to build the network again.

    Attributes:
        size: side of the square pictures, a power of two from 64 to 512.
        in_channels: 3 (RGB) or 1 (grey).
        out_channels: 3 or 1.
        ngf: channels after the first convolution, 64 in the paper.
        dropout: which decoder layers carry dropout.
        source: what the condition shows ("map"), for the contract.
        target: what the picture shows ("satellite"), for the contract.
    """

    size: int = 256
    in_channels: int = 3
    out_channels: int = 3
    ngf: int = 64
    dropout: DropoutPlacement = "paper"
    source: str = "A"
    target: str = "B"

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"`size` (={self.size}) must be one of 64, 128, 256, 512.")
        if self.in_channels not in (1, 3) or self.out_channels not in (1, 3):
            raise ValueError("`in_channels` and `out_channels` must be 1 or 3.")
        if not 1 <= self.ngf <= 512:
            raise ValueError(f"`ngf` (={self.ngf}) must be between 1 and 512.")
        if self.dropout not in get_args(DropoutPlacement):
            raise ValueError(f"`dropout` (={self.dropout}) must be one of paper, port, off.")

    @property
    def dropout_sites(self) -> tuple[int, ...]:
        """Decoder layers followed by dropout, 0 being the innermost."""
        if self.dropout == "off":
            return ()
        if self.dropout == "paper":
            return (0, 1, 2)
        depth = self.size.bit_length() - 1
        return tuple(range(1, depth - 4))

    @property
    def mask_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """[C, H, W] of every mask, innermost first."""
        widths = unet_widths(self.size.bit_length() - 1, self.ngf)
        return tuple((widths[-2 - site], 2 ** (site + 1), 2 ** (site + 1)) for site in self.dropout_sites)


class Pix2pixGenerator(Generator):
    """U-Net, [b, c, size, size] in -1..1 to the same; statistics per sample in `eval()`, see nets/norm.py."""

    def __init__(self, options: Pix2pixOptions) -> None:
        super().__init__()
        self.options = options
        self.unet = UNet(
            widths=unet_widths(options.size.bit_length() - 1, options.ngf),
            c_in=options.in_channels,
            c_out=options.out_channels,
            dropout_sites=options.dropout_sites,
        )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Pix2pixGenerator:
        """From the plain values of a checkpoint. Raises TypeError or ValueError where they do not fit."""
        return cls(Pix2pixOptions(**options))

    @property
    def contract(self) -> Contract:
        """One image condition, one mask per dropout site, one picture."""
        options, side = self.options, self.options.size
        return Contract(
            conditions=(
                Condition(
                    name="condition",
                    shape=(options.in_channels, side, side),
                    meaning=options.source,
                    encoding=_encoding(options.in_channels),
                ),
            ),
            noise=tuple(
                NoiseInput(
                    name=f"mask_{index}",
                    index=index,
                    distribution="mask",
                    shape=shape,
                    parameters={"p": 0.5},
                    site=f"unet.up.{site}.dropout",
                )
                for index, (site, shape) in enumerate(zip(options.dropout_sites, options.mask_shapes, strict=True))
            ),
            outputs=(
                Output(
                    name="picture",
                    shape=(options.out_channels, side, side),
                    meaning=options.target,
                    encoding=_encoding(options.out_channels),
                ),
            ),
            statistics="per_sample",
        )

    def forward(  # type: ignore[override]  # narrower on purpose: a pix2pix call has exactly one condition
        self, condition: Float[Tensor, "b c h w"], *masks: Float[Tensor, "b _ _ _"]
    ) -> Float[Tensor, "b c_out h w"]:
        """One picture per row. No masks: they are drawn from torch's global random state."""
        expected = len(self.options.dropout_sites)
        if masks and len(masks) != expected:
            raise ValueError(f"{len(masks)} masks were given, but this generator takes {expected}, or none at all.")
        picture: Tensor = self.unet(condition, masks)
        return picture


def _encoding(channels: int) -> ImageEncoding:
    if channels == 1:
        return ImageEncoding(color="L", mean=(0.5,), std=(0.5,))
    return ImageEncoding()
