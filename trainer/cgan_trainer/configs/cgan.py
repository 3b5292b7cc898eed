"""The options of the class-conditional GAN of dense layers."""

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Final, Literal

from cgan_runtime.errors import UsageError
from pydantic import Field

from cgan_trainer.configs.base import Count, TrainConfig

__all__ = ["CganConfig"]

Variant = Literal["paper", "port"]
# Options that only one variant has a use for.
_OWN: Final = {"paper": ("sgd_lr",), "port": ("lr", "beta1", "lr_policy", "step_epochs", "epochs_decay")}


@dataclass(frozen=True, kw_only=True)
class CganConfig(TrainConfig):
    """Everything that, with the images, decides the weights of a cGAN run."""

    family: ClassVar[str] = "cgan"
    title: ClassVar[str] = "Draw an image of a class with dense layers (Mirza & Osindero 2014)."

    variant: Variant = "paper"
    """The paper's networks and SGD, or those of PyTorch-GAN and Adam."""
    size: Annotated[int, Field(ge=4, le=128)] = 28
    """Side of the square images in pixels; others are resized."""
    mode: Literal["grey", "rgb"] = "grey"
    """Grey or colour images."""
    latent: Annotated[int, Field(ge=1, le=4096)] = 100
    """Length of z, the noise."""
    sgd_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    """First learning rate of the paper's SGD; every step divides it by 1.00004, down to 0.000001."""
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    """Learning rate of the port's Adam."""
    epochs: Annotated[int, Field(ge=0)] = 100
    """Passes over the training images (port: at the full learning rate)."""
    epochs_decay: Annotated[int, Field(ge=0)] = 0
    """Further passes of the port while the learning rate falls linearly to zero."""
    batch: Count = 100
    """Images per step; of every process, under torchrun."""
    save_images: Count = 20_000
    """Validate, add a row to metrics.csv, draw samples and write last.pt every so many images."""

    def check(self) -> None:
        """Refuse options of the other variant, which would change nothing.

        Raises:
            UsageError: says which.
        """
        super().check()
        other: Variant = "port" if self.variant == "paper" else "paper"
        for field in fields(self):
            if field.name in _OWN[other] and getattr(self, field.name) != field.default:
                raise UsageError(
                    f"--{field.name.replace('_', '-')} cannot be used with --variant {self.variant}: "
                    f"leave it out, or train with --variant {other}."
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """[c, h, w] of the images."""
        return (1 if self.mode == "grey" else 3, self.size, self.size)

    @property
    def values(self) -> tuple[float, float]:
        """The range of the images: that of the generator's last function."""
        return (0.0, 1.0) if self.variant == "paper" else (-1.0, 1.0)
