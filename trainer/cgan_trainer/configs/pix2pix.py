"""The options of pix2pix."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from cgan_runtime.errors import UsageError
from pydantic import Field

from cgan_trainer.configs.base import TrainConfig, Weight, Width

__all__ = ["HALVINGS", "Pix2pixConfig", "least_size"]

# Receptive field of one logit in pixels -> convolutions that halve the image; two more follow at stride 1.
HALVINGS: Final = {16: 1, 34: 2, 70: 3, 142: 4, 286: 5}


@dataclass(frozen=True, kw_only=True)
class Pix2pixConfig(TrainConfig):
    """Everything that, with the images, decides the weights of a pix2pix run."""

    family: ClassVar[str] = "pix2pix"
    title: ClassVar[str] = "Learn to turn one kind of image into another from pairs of both (Isola et al. 2017)."
    ablations: ClassVar[tuple[str, ...]] = ("losses", "generator", "patch", "dropout", "upsample")

    size: int = 256
    """Side of the square images in pixels: 64, 128, 256 or 512. Others are resized."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which half of a pair is the condition."""
    condition: Literal["rgb", "grey", "labels"] = "rgb"
    """What the condition is: a colour image, a grey one, or a label map (one channel per colour of it)."""
    picture: Literal["rgb", "grey"] = "rgb"
    """What is made: colour or grey images."""
    net: Literal["unet", "encoder-decoder", "resnet-6", "resnet-9"] = "unet"
    """The generator: U-Net, the same without its skips, or a ResNet of 6 or 9 blocks."""
    ngf: Width = 64
    """Width of the generator: channels after its first convolution."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation in both networks; in use, batch is always over the one sample."""
    dropout: Literal["paper", "port", "off"] = "paper"
    """Which decoder layers carry dropout, the only noise: the three innermost, or one level shallower."""
    upsample: Literal["transposed", "resize"] = "transposed"
    """How the generator doubles its layers: transposed convolutions, or nearest neighbour and a convolution."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Pixels one output of the discriminator sees: 1 is the PixelGAN, 286 the ImageGAN at 256."""
    ndf: Width = 64
    """Width of the discriminator."""
    objective: Literal["L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN"] = "L1+cGAN"
    """The paper's objectives; a cGAN's discriminator sees the condition, a GAN's does not."""
    gan_mode: Literal["vanilla", "lsgan", "wgangp"] = "vanilla"
    """Cross-entropy, least squares, or Wasserstein with gradient penalty."""
    lambda_l1: Weight = 100.0
    """Weight of the L1 loss."""
    lambda_gan: Weight = 1.0
    """Weight of the GAN loss of the generator."""
    lambda_gp: Weight = 10.0
    """Weight of the gradient penalty, in wgangp."""
    jitter: bool = True
    """Enlarge by 286/256 and cut a random square, A and B alike."""
    mirror: bool = True
    """Mirror every other pair, A and B alike."""
    buffer: Annotated[int, Field(ge=0, le=1000)] = 0
    """Show the discriminator every other time one of this many older images (CycleGAN: 50)."""

    @property
    def uses_gan(self) -> bool:
        """Whether there is a discriminator."""
        return "GAN" in self.objective

    @property
    def conditional(self) -> bool:
        """Whether the discriminator sees the condition."""
        return "cGAN" in self.objective

    @property
    def uses_l1(self) -> bool:
        """Whether the generator is drawn to the target itself."""
        return "L1" in self.objective

    def check(self) -> None:
        """Refuse sizes the networks do not have, a patch larger than the image, a penalty in half precision."""
        super().check()
        if self.size not in (64, 128, 256, 512):
            raise UsageError(f"--size {self.size} cannot be used: give 64, 128, 256 or 512.")
        if not self.uses_gan and not self.uses_l1:
            raise UsageError(f"--objective {self.objective} cannot be used: give L1, GAN, cGAN or a sum.")
        if self.uses_gan and self.size < least_size(self.patch):
            raise UsageError(
                f"--patch {self.patch} cannot be used with --size {self.size}: it needs images of "
                f"{least_size(self.patch)} pixels; choose a smaller patch."
            )
        if self.precision == "bf16" and self.gan_mode == "wgangp" and self.uses_gan:
            raise UsageError(
                "--precision bf16 cannot be used with --gan-mode wgangp: its penalty is a small difference."
            )


def least_size(patch: int) -> int:
    """The smallest side of an image, in pixels, that gives at least one logit: a power of two."""
    side = 1  # the last two convolutions, of 4 with padding 1, take one pixel each
    while patch > 1 and side // 2 ** HALVINGS[patch] < 3:
        side *= 2
    return side
