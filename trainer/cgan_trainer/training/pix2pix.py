"""The rules of pix2pix: two networks, two optimisers, and one step of each per batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from cgan_runtime.errors import CganError
from jaxtyping import Float
from torch import Tensor, nn

from cgan_trainer.data.pairs import Domains
from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.losses import gan_loss, gradient_penalty, l1_loss
from cgan_trainer.nets.ema import WeightAverage
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.nets.init import init_weights
from cgan_trainer.nets.one_hot import OneHot
from cgan_trainer.nets.patchgan import HALVINGS, Discriminator, patchgan, pixelgan
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import derive_seed
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.ranks import ALONE, Ranks

__all__ = ["Batch", "Pix2pixTrainer", "build_discriminator", "generator_options", "loss_names"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one forward pass, on the device that trains.

    Attributes:
        positions: their numbers in the run.
        condition: [b, c, h, w] in -1..1.
        target: [b, c, h, w] in -1..1.
        masks: one per dropout site, batch first.
    """

    positions: range
    condition: Tensor
    target: Tensor
    masks: Sequence[Tensor]


def loss_names(config: Pix2pixConfig) -> tuple[str, ...]:
    """What `Pix2pixTrainer.step` reports."""
    names = ["G_GAN"] if config.uses_gan else []
    names += ["G_L1"] if config.uses_l1 else []
    names += ["D_real", "D_fake"] if config.uses_gan else []
    return (*names, "D_GP") if config.uses_gan and config.gan_mode == "wgangp" else tuple(names)


def generator_options(config: Pix2pixConfig, domains: Domains, palette: Palette | None = None) -> Pix2pixOptions:
    """The generator a run asks for."""
    forwards = config.direction == "AtoB"
    return Pix2pixOptions(
        size=config.size,
        in_channels=1 if config.condition == "grey" else 3,
        out_channels=1 if config.picture == "grey" else 3,
        net=config.net,
        ngf=config.ngf,
        norm=config.norm,
        dropout=config.dropout,
        palette=palette,
        source=domains.a if forwards else domains.b,
        target=domains.b if forwards else domains.a,
    )


def build_discriminator(config: Pix2pixConfig, options: Pix2pixOptions) -> Discriminator:
    """The discriminator a run asks for; a critic with gradient penalty has no statistics over a batch."""
    seen = options.in_channels if options.palette is None else len(options.palette)
    c_in = options.out_channels + (seen if config.conditional else 0)
    norm = "instance" if config.gan_mode == "wgangp" and config.norm == "batch" else config.norm
    if config.patch == 1:
        return pixelgan(c_in=c_in, ndf=config.ndf, norm=norm)
    return patchgan(c_in=c_in, ndf=config.ndf, n_layers=HALVINGS[config.patch], norm=norm)


class Pix2pixTrainer:
    """Generator, discriminator and their Adam states.

    Args:
        config: fixed for the life of the trainer; its seed decides the first weights.
        domains: what A and B show.
        palette: of the condition, where it is a label map.
        device: where the networks live.
        ranks: the processes that train together.
    """

    def __init__(
        self,
        config: Pix2pixConfig,
        domains: Domains,
        *,
        palette: Palette | None = None,
        device: str = "cpu",
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.ranks = ranks
        self.device = device
        self.options = generator_options(config, domains, palette)
        torch.manual_seed(derive_seed(config.seed, "weights"))
        self.generator = Pix2pixGenerator(self.options)
        self.discriminator = build_discriminator(config, self.options) if config.uses_gan else None
        self.one_hot = OneHot(palette.colors).to(device) if palette is not None else None
        self.layout = torch.channels_last if config.in_channels_last else torch.contiguous_format
        self.optimizer_g = self._prepare(self.generator)
        self.optimizer_d = None if self.discriminator is None else self._prepare(self.discriminator)
        self.average = WeightAverage(self.generator, config.ema) if config.ema else None
        self.history = ImagePool(config.buffer, config.seed)
        self.steps = 0
        self._generate: Any = torch.compile(self.generator) if config.torch_compile else self.generator
        self._judge: Any = torch.compile(self.discriminator) if config.torch_compile else self.discriminator

    @property
    def saved_generator(self) -> Pix2pixGenerator:
        """The one to validate, save and export: the average where there is one."""
        return self.generator if self.average is None else self.average.net  # type: ignore[return-value]  # its copy

    def step(self, batches: Sequence[Batch], lr: float) -> dict[str, float]:
        """One step of D, then one of G, at learning rate `lr`, on the mean gradient over all images of `batches`.

        Returns:
            G_GAN and G_L1 (times their lambdas, as in the reference log), D_real and D_fake (not yet halved), D_GP
            (times its lambda): those the objective has, means over the images, and over all ranks.

        Raises:
            CganError: a loss is not finite. The networks are spoilt then; last.pt is not.
        """
        self.generator.train()
        images = sum(len(batch.positions) for batch in batches)
        losses: dict[str, Tensor] = {}
        # The picture of a single batch serves both networks; of several, each is made again where it is needed.
        work = [
            (batch, len(batch.positions) / images, self._picture(batch) if len(batches) == 1 else None)
            for batch in batches
        ]
        if self.discriminator is not None:
            self._step_d(work, losses, lr)
        self._step_g(work, losses, lr)
        self.steps += 1
        if self.average is not None:
            self.average.update(self.generator, self.steps)
        names = loss_names(self.config)
        values = self.ranks.mean(torch.stack([losses[name] for name in names])).tolist()
        means = dict(zip(names, values, strict=True))
        _check_finite(means)
        return means

    def _step_d(
        self,
        work: Sequence[tuple[Batch, float, Tensor | None]],
        losses: dict[str, Tensor],
        lr: float,
    ) -> None:
        assert self.discriminator is not None  # noqa: S101 - asked by the caller
        assert self.optimizer_d is not None  # noqa: S101 - the same
        self.discriminator.requires_grad_(requires_grad=True)
        self.optimizer_d.zero_grad()
        mode = self.config.gan_mode
        for batch, share, made in work:
            with torch.no_grad():
                picture = self._picture(batch) if made is None else made.detach()
            condition = self._judged_condition(batch)
            picture, beside = self._exchanged(picture, condition, batch.positions)
            with self._precision():
                fake = gan_loss(self._judge(picture, beside), real=False, mode=mode)
                real = gan_loss(self._judge(batch.target, condition), real=True, mode=mode)
            loss = (fake + real) / 2
            if mode == "wgangp":
                penalty = self.config.lambda_gp * self._penalty(batch, picture, condition)
                loss = loss + penalty
                _add(losses, "D_GP", penalty, share)
            (loss * share).backward()  # type: ignore[no-untyped-call]  # torch ships it unannotated
            _add(losses, "D_real", real, share)
            _add(losses, "D_fake", fake, share)
        self._apply(self.optimizer_d, self.discriminator, lr)

    def _step_g(
        self,
        work: Sequence[tuple[Batch, float, Tensor | None]],
        losses: dict[str, Tensor],
        lr: float,
    ) -> None:
        config = self.config
        if self.discriminator is not None:
            # D only passes the gradient on to G here: its own weights need none.
            self.discriminator.requires_grad_(requires_grad=False)
        self.optimizer_g.zero_grad()
        for batch, share, made in work:
            picture = self._picture(batch) if made is None else made
            parts: list[Tensor] = []
            with self._precision():
                if self.discriminator is not None:
                    logits = self._judge(picture, self._judged_condition(batch))
                    parts.append(config.lambda_gan * gan_loss(logits, real=True, mode=config.gan_mode))
                    _add(losses, "G_GAN", parts[-1], share)
                if config.uses_l1:
                    parts.append(config.lambda_l1 * l1_loss(picture, batch.target))
                    _add(losses, "G_L1", parts[-1], share)
            (torch.stack(parts).sum() * share).backward()  # type: ignore[no-untyped-call]  # as above
        self._apply(self.optimizer_g, self.generator, lr)

    def _picture(self, batch: Batch) -> Float[Tensor, "b c h w"]:
        with self._precision():
            (picture,) = self._generate(batch.condition, *batch.masks)
        made: Tensor = picture.float()
        return made

    def _judged_condition(self, batch: Batch) -> Tensor | None:
        if not self.config.conditional:
            return None
        return batch.condition if self.one_hot is None else self.one_hot(batch.condition)

    def _exchanged(
        self, picture: Tensor, condition: Tensor | None, positions: range
    ) -> tuple[Tensor, Tensor | None]:
        """Fakes for D, half of them older ones where there is a history; each keeps its own condition."""
        if not self.config.buffer:
            return picture, condition
        seen = picture if condition is None else torch.cat((picture, condition), dim=1)
        seen = self.history.exchange(seen, positions)
        channels = picture.shape[1]
        return seen[:, :channels], None if condition is None else seen[:, channels:]

    def _penalty(self, batch: Batch, picture: Tensor, condition: Tensor | None) -> Tensor:
        rows = []
        for position in batch.positions:
            draws = torch.Generator().manual_seed(derive_seed(self.config.seed, "penalty", position))
            rows.append(torch.rand((1, 1, 1), generator=draws))
        share = torch.stack(rows).to(self.device)
        return gradient_penalty(lambda mixed: self._judge(mixed, condition), batch.target, picture, share)

    def _apply(self, optimizer: torch.optim.Optimizer, net: nn.Module, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        self.ranks.average_gradients(net.parameters())
        optimizer.step()

    def _prepare(self, net: nn.Module) -> torch.optim.Adam:
        init_weights(net)
        net.to(self.device, memory_format=self.layout)  # type: ignore[call-overload]  # torch leaves this form out
        # One fused pass over all tensors: on a CPU the many small ones of batch 1 cost as much as a layer.
        return torch.optim.Adam(net.parameters(), lr=self.config.lr, betas=(self.config.beta1, 0.999), fused=True)

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            yield

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the saved generator's weights."""
        state: dict[str, Any] = {"steps": self.steps, "optimizer_g": self.optimizer_g.state_dict()}
        if self.discriminator is not None and self.optimizer_d is not None:
            state |= {
                "discriminator": self.discriminator.state_dict(),
                "optimizer_d": self.optimizer_d.state_dict(),
            }
        if self.average is not None:
            state["newest_generator"] = self.generator.state_dict()
        if self.config.buffer:
            state["history"] = list(self.history.images)
        return state

    def load_state_dict(self, generator: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """The inverse of `state_dict`, with the saved generator's weights apart."""
        self.saved_generator.load_state_dict(generator)
        if self.average is not None:
            self.generator.load_state_dict(rest["newest_generator"])
        self._load_optimizer(self.optimizer_g, rest["optimizer_g"])
        if self.discriminator is not None and self.optimizer_d is not None:
            self.discriminator.load_state_dict(rest["discriminator"])
            self._load_optimizer(self.optimizer_d, rest["optimizer_d"])
        self.history.images = [picture.to(self.device) for picture in rest.get("history", [])]
        self.steps = int(rest["steps"])

    def _load_optimizer(self, optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
        optimizer.load_state_dict(state)
        for moments in optimizer.state.values():
            for name, value in moments.items():
                if value.ndim == 4:  # the fused step takes moments in the layout of their weights
                    moments[name] = value.contiguous(memory_format=self.layout)


def _add(losses: dict[str, Tensor], name: str, loss: Tensor, share: float) -> None:
    losses[name] = losses.get(name, 0) + loss.detach() * share


def _check_finite(losses: dict[str, float]) -> None:
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    if wrong:
        network = "generator" if wrong[0].startswith("G") else "discriminator"
        raise CganError(
            f"the loss of the {network} is no longer a finite number, so training stopped; last.pt still holds the "
            "last good state: start another run with a smaller --lr."
        )
