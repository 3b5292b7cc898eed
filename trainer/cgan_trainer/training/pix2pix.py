"""The rules of pix2pix: two networks, two optimisers, and one step of each per batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cgan_trainer.data.pairs import Domains
from cgan_trainer.errors import TrainerError
from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.nets.init import init_weights
from cgan_trainer.nets.patchgan import patchgan
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.draws import derive

__all__ = ["LOSSES", "Pix2pixTrainer"]

LOSSES = ("G_GAN", "G_L1", "D_real", "D_fake")


class Pix2pixTrainer:
    """Generator, discriminator and their Adam states.

    Args:
        config: fixed for the life of the trainer; its seed decides the first weights.
        domains: what A and B show.
    """

    def __init__(self, config: Pix2pixConfig, domains: Domains) -> None:
        forwards = config.direction == "AtoB"
        self.config = config
        self.options = Pix2pixOptions(
            size=config.size,
            ngf=config.ngf,
            dropout=config.dropout,
            source=domains.a if forwards else domains.b,
            target=domains.b if forwards else domains.a,
        )
        torch.manual_seed(derive(config.seed, "weights"))
        self.generator = Pix2pixGenerator(self.options)
        self.discriminator = patchgan(c_in=6, ndf=config.ndf)
        init_weights(self.generator)
        init_weights(self.discriminator)
        # One fused pass over all tensors: on a CPU the many small ones of batch 1 cost as much as a layer.
        adam: dict[str, Any] = {"lr": config.lr, "betas": (0.5, 0.999), "fused": True}
        self.optimizer_g = torch.optim.Adam(self.generator.parameters(), **adam)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), **adam)

    def step(
        self, condition: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], lr: float
    ) -> dict[str, float]:
        """One step of D, then one of G, at learning rate `lr`. Dropout draws from torch's global state.

        Returns:
            G_GAN, G_L1 (times lambda, as in the reference log), D_real, D_fake (not yet halved).

        Raises:
            TrainerError: a loss is not finite; that network was not stepped.
        """
        for optimizer in (self.optimizer_g, self.optimizer_d):
            for group in optimizer.param_groups:
                group["lr"] = lr
        self.generator.train()
        picture = self.generator(condition)
        real, fake = self._step_d(condition, target, picture.detach())
        adversarial, distance = self._step_g(condition, target, picture)
        return dict(zip(LOSSES, (adversarial, distance, real, fake), strict=True))

    def _step_d(self, condition: Tensor, target: Tensor, picture: Tensor) -> tuple[float, float]:
        self.discriminator.requires_grad_(True)
        fake = gan_loss(self.discriminator(condition, picture), real=False)
        real = gan_loss(self.discriminator(condition, target), real=True)
        _check_finite("discriminator", real, fake)
        self.optimizer_d.zero_grad()
        ((fake + real) / 2).backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
        self.optimizer_d.step()
        return real.item(), fake.item()

    def _step_g(self, condition: Tensor, target: Tensor, picture: Tensor) -> tuple[float, float]:
        # D only passes the gradient on to G here: its own weights need none.
        self.discriminator.requires_grad_(False)
        adversarial = gan_loss(self.discriminator(condition, picture), real=True)
        distance = self.config.lambda_l1 * l1_loss(picture, target)
        _check_finite("generator", adversarial, distance)
        self.optimizer_g.zero_grad()
        (adversarial + distance).backward()  # type: ignore[no-untyped-call]  # as above
        self.optimizer_g.step()
        return adversarial.item(), distance.item()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the generator's weights."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer_g": self.optimizer_g.state_dict(),
            "optimizer_d": self.optimizer_d.state_dict(),
        }

    def load_state_dict(self, generator: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """The inverse of `state_dict`, with the generator's weights apart."""
        self.generator.load_state_dict(generator)
        self.discriminator.load_state_dict(rest["discriminator"])
        self.optimizer_g.load_state_dict(rest["optimizer_g"])
        self.optimizer_d.load_state_dict(rest["optimizer_d"])


def _check_finite(network: str, *losses: Tensor) -> None:
    if not all(math.isfinite(loss.item()) for loss in losses):
        raise TrainerError(
            f"the loss of the {network} is no longer a finite number, so training stopped; last.pt still holds the "
            "last good state: start another run with a smaller --lr."
        )
