"""The options of CycleGAN."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from cgan_runtime.errors import UsageError
from pydantic import Field

from cgan_trainer.configs.base import TrainConfig, Weight, Width
from cgan_trainer.configs.pix2pix import least_size

__all__ = ["CycleganConfig", "size_problem"]


@dataclass(frozen=True, kw_only=True)
class CycleganConfig(TrainConfig):
    """Everything that, with the images, decides the weights of a CycleGAN run; the defaults are the paper's."""

    family: ClassVar[str] = "cyclegan"
    title: ClassVar[str] = "Learn to turn images of two kinds into each other without pairs (Zhu et al. 2017)."

    net: Literal["resnet-6", "resnet-9", "unet"] = "resnet-9"
    """The generators: a ResNet of 6 blocks (the paper's at 128 pixels) or 9 (at 256), or a U-Net."""
    ngf: Width = 64
    """Width of the generators: channels after their first convolution."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation in all networks; in use, batch is always over the one sample."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Pixels one output of a discriminator sees."""
    ndf: Width = 64
    """Width of the discriminators."""
    gan_mode: Literal["lsgan", "vanilla"] = "lsgan"
    """Least squares, or cross-entropy."""
    lambda_cycle: Weight = 10.0
    """Weight of the L1 between an image and what comes back after both translations."""
    lambda_identity: Weight = 0.5
    """Weight, times --lambda-cycle, of the L1 between an image and its translation into its own kind; 0 is off."""
    pool: Annotated[int, Field(ge=0, le=1000)] = 50
    """Show each discriminator every other time one of this many older generated images."""
    jitter: bool = True
    """Enlarge by 286/256 and cut a random square."""
    mirror: bool = True
    """Mirror every other image."""

    def check(self) -> None:
        """Refuse sizes that the networks do not take."""
        super().check()
        if (problem := size_problem(self.net, self.size)) is not None:
            raise UsageError(f"--size {self.size} cannot be used with --net {self.net}: {problem}.")
        if self.size < least_size(self.patch):
            raise UsageError(
                f"--patch {self.patch} cannot be used with --size {self.size}: it needs images of "
                f"{least_size(self.patch)} pixels; choose a smaller patch."
            )


def size_problem(net: str, size: int) -> str | None:
    """Why a generator does not take square images of this side, as advice; None where it does."""
    if net == "unet":  # halved down to one pixel
        return None if size in (64, 128, 256, 512) else "give 64, 128, 256 or 512"
    return None if size % 4 == 0 and 16 <= size <= 2048 else "give a multiple of 4 from 16 to 2048"
