"""The options of the class-conditional DCGAN."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cgan_trainer.configs.base import Count, TrainConfig, Weight

__all__ = ["CdcganConfig"]


@dataclass(frozen=True, kw_only=True)
class CdcganConfig(TrainConfig):
    """Everything that, with the images, decides the weights of a cDCGAN run."""

    family: ClassVar[str] = "cdcgan"
    title: ClassVar[str] = (
        "Draw a 32x32 image of a class with convolutions (DCGAN, Radford et al. 2015, given a class)."
    )

    size: Literal[32] = 32
    """Side of the images in pixels; others are resized."""
    mode: Literal["grey", "rgb"] = "grey"
    """Grey or colour images."""
    width: Annotated[int, Field(ge=2, le=512, multiple_of=2)] = 128
    """Width of both networks: channels of the generator's last hidden layer."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Length of z, the noise."""
    lambda_ms: Weight = 0.0
    """Weight of the mode-seeking loss, which keeps two images of one class apart (Mao et al. 2019); 0 is off."""
    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the training images at the full learning rate."""
    epochs_decay: Annotated[int, Field(ge=0)] = 0
    """Further passes while the learning rate falls linearly to zero."""
    lr_policy: Literal["linear", "step", "cosine"] = "linear"
    """Constant then to zero; a tenth every --step-epochs; half a cosine."""
    batch: Count = 128
    """Images per step; of every process, under torchrun."""
    save_images: Count = 5000
    """Validate, add a row to metrics.csv, draw samples and write last.pt every so many images."""

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for grey, 3 for colour."""
        return 1 if self.mode == "grey" else 3
