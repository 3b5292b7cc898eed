"""The networks of pix2pix: an image in, an image out, and dropout as the only noise.

Which decoder layers carry dropout differs by port and changes the distribution the net was trained with, so it
is part of the architecture:

    paper   the three innermost decoder layers: 2x2, 4x4, 8x8 (Lua, TensorFlow)
    port    one level shallower, the 8*ngf layers after the innermost: 4x4, 8x8, 16x16 at 256 (PyTorch)
    off     none: one image per condition

A ResNet has its dropout inside every residual block, or none.

Source: Isola et al. 2017, sections 3.2 and 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cgan_runtime.contract import ImageEncoding
from cgan_runtime.image_values import PLAIN, Limits
from torch import nn

from cgan_trainer.configs.pix2pix import HALVINGS
from cgan_trainer.families.translator import ImageSpec, ImageTranslator
from cgan_trainer.nets.norm import NormKind
from cgan_trainer.nets.one_hot import OneHot
from cgan_trainer.nets.patchgan import Discriminator, patchgan, pixelgan
from cgan_trainer.nets.resnet import ResNet
from cgan_trainer.nets.unet import UNet, Upsampling, unet_widths
from cgan_trainer.palette import Palette

__all__ = [
    "SIZES",
    "Architecture",
    "DropoutPlacement",
    "Norm",
    "Pix2pixGenerator",
    "Pix2pixOptions",
    "build_discriminator",
]

Architecture = Literal["unet", "encoder-decoder", "resnet-6", "resnet-9"]
DropoutPlacement = Literal["paper", "port", "off"]
Norm = Literal["batch", "instance", "none"]
SIZES = (64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class Pix2pixOptions:
    """Everything needed to build the network again.

    Attributes:
        size: side of the square images, a power of two from 64 to 512.
        in_channels: 3 (RGB) or 1 (grey).
        out_channels: 3 or 1.
        net: U-Net, the same without skips, or a ResNet of 6 or 9 blocks.
        ngf: channels after the first convolution, 64 in the paper.
        norm: of every layer that has one.
        dropout: which layers carry dropout.
        upsample: how the decoder doubles a level.
        palette: the condition is a label map in these colours; the network sees one channel per class.
        source: what the condition shows ("map"), for the contract.
        target: what the image shows ("satellite"), for the contract.
        limits: the ranges that values of more than 8 bits of the condition are meant in, for the contract.
    """

    size: int = 256
    in_channels: int = 3
    out_channels: int = 3
    net: Architecture = "unet"
    ngf: int = 64
    norm: Norm = "batch"
    dropout: DropoutPlacement = "paper"
    upsample: Upsampling = "transposed"
    palette: Palette | None = None
    source: str = "A"
    target: str = "B"
    limits: Limits = PLAIN

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"`size` (={self.size}) must be one of 64, 128, 256, 512.")
        if self.in_channels not in (1, 3) or self.out_channels not in (1, 3):
            raise ValueError("`in_channels` and `out_channels` must be 1 or 3.")
        if self.palette is not None and self.in_channels != 3:
            raise ValueError("`in_channels` must be 3 where the condition is a label map in colours.")
        if not 1 <= self.ngf <= 512:
            raise ValueError(f"`ngf` (={self.ngf}) must be between 1 and 512.")
        chosen = (("net", Architecture), ("norm", Norm), ("dropout", DropoutPlacement), ("upsample", Upsampling))
        for name, choices in chosen:
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` (={getattr(self, name)}) must be one of {', '.join(get_args(choices))}."
                )

    @property
    def dropout_sites(self) -> tuple[int, ...]:
        """Decoder layers of a U-Net followed by dropout, 0 being the innermost."""
        if self.dropout == "off":
            return ()
        if self.dropout == "paper":
            return (0, 1, 2)
        return tuple(range(1, self.depth - 4))

    @property
    def depth(self) -> int:
        """How often a U-Net halves the image: down to one pixel."""
        return self.size.bit_length() - 1


class Pix2pixGenerator(ImageTranslator):
    """[b, c, size, size] in -1..1 to the same; statistics per sample in `eval()`, see nets/norm.py."""

    def __init__(self, options: Pix2pixOptions) -> None:
        palette = options.palette
        super().__init__(
            _network(options),
            c_in=options.in_channels,
            size=(options.size, options.size),
            source=ImageSpec(
                meaning=options.source,
                encoding=_encoding(options.in_channels, labels=palette is not None, limits=options.limits),
            ),
            target=ImageSpec(meaning=options.target, encoding=_encoding(options.out_channels)),
            statistics="none" if options.norm == "none" else "per_sample",
            name="resnet" if options.net.startswith("resnet") else "unet",
            one_hot=None if palette is None else OneHot(palette.colors),
        )
        self.options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Pix2pixGenerator:
        """From the plain values of a checkpoint. Raises TypeError or ValueError where they do not fit."""
        plain = dict(options)
        if (palette := plain.get("palette")) is not None:
            colors = tuple((int(red), int(green), int(blue)) for red, green, blue in palette["colors"])
            plain["palette"] = Palette(names=tuple(map(str, palette["names"])), colors=colors)
        plain["limits"] = Limits.from_plain(plain.get("limits", {}))
        return cls(Pix2pixOptions(**plain))


def build_discriminator(
    options: Pix2pixOptions, *, patch: int, ndf: int, conditional: bool, norm: Norm
) -> Discriminator:
    """The discriminator beside a generator.

    Args:
        options: of the generator.
        patch: pixels that one logit sees.
        ndf: channels after the first convolution.
        conditional: whether it sees the condition too.
        norm: of every layer that has one.
    """
    seen = options.in_channels if options.palette is None else len(options.palette)
    c_in = options.out_channels + (seen if conditional else 0)
    if patch == 1:
        return pixelgan(c_in=c_in, ndf=ndf, norm=norm)
    return patchgan(c_in=c_in, ndf=ndf, n_layers=HALVINGS[patch], norm=norm)


def _network(options: Pix2pixOptions) -> nn.Module:
    c_in = options.in_channels if options.palette is None else len(options.palette)
    norm: NormKind = options.norm
    bias = norm != "batch"  # batch norm has a bias of its own
    if options.net.startswith("resnet"):
        return ResNet(
            c_in=c_in,
            c_out=options.out_channels,
            ngf=options.ngf,
            blocks=int(options.net.removeprefix("resnet-")),
            norm=norm,
            bias=bias,
            dropout=options.dropout != "off",
            up="nearest" if options.upsample == "resize" else "transposed",
        )
    return UNet(
        widths=unet_widths(options.depth, options.ngf),
        c_in=c_in,
        c_out=options.out_channels,
        dropout_sites=options.dropout_sites,
        norm=norm,
        bias=bias,
        skips=options.net == "unet",
        upsample=options.upsample,
    )


def _encoding(channels: int, *, labels: bool = False, limits: Limits = PLAIN) -> ImageEncoding:
    return ImageEncoding(
        color="L" if channels == 1 else "RGB",
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        # A colour between two classes would be a third one: label maps are never resampled smoothly.
        filter="nearest" if labels else "bicubic",
        integers=limits.integers,
        floats=limits.floats,
    )
