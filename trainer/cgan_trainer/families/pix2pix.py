"""pix2pix: from one kind of image to another, learned from pairs of both.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds import Split
from cgan_trainer.data.kinds.paired import PairedData, PairedFacts
from cgan_trainer.evaluation.paired import judge_paired
from cgan_trainer.families.base import (
    Batch,
    Best,
    Family,
    Graphs,
    Losses,
    Networks,
    OptimizerSpec,
    Phase,
    Recipe,
    SampleGrid,
    Shapes,
    Stage,
)
from cgan_trainer.families.grids import grid_image
from cgan_trainer.families.pix2pix_ablations import ABLATIONS
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions, build_discriminator
from cgan_trainer.families.translator import fitting_options
from cgan_trainer.generator import Generator, as_used, device_of
from cgan_trainer.losses import gan_loss, gradient_penalty, l1_loss
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.nets.one_hot import OneHot
from cgan_trainer.seeding import derive_seed, draw_masks, spread_rows, to_float

__all__ = ["PIX2PIX", "Pix2pixRecipe"]

MAX_VALIDATION = 64  # enough for a steady figure, few enough to be quick
EXAMPLES = 8
_GRID_ROWS, _GRID_SEEDS = 4, 3
_BEST = Best(metric="val_L1", caution="val_L1 favours blur.")


class Pix2pixRecipe(Recipe[Pix2pixConfig, PairedFacts]):
    """One step of D, then one of G, on the same images; D is halved, G is never saturating."""

    validation = ("val_L1",)

    def __init__(self, config: Pix2pixConfig, facts: PairedFacts) -> None:
        super().__init__(config, facts)
        self.options = Pix2pixOptions(
            size=config.size,
            in_channels=1 if config.condition == "grey" else 3,
            out_channels=1 if config.picture == "grey" else 3,
            net=config.net,
            ngf=config.ngf,
            norm=config.norm,
            dropout=config.dropout,
            upsample=config.upsample,
            palette=facts.palette,
            source=facts.source,
            target=facts.target,
            limits=facts.limits,
        )
        self.generator = Pix2pixGenerator(self.options)
        self.networks = {"generator": self.generator}
        if config.uses_gan:
            # A critic with gradient penalty has no statistics over a batch.
            critic = config.gan_mode == "wgangp" and config.norm == "batch"
            self.networks["discriminator"] = build_discriminator(
                self.options,
                patch=config.patch,
                ndf=config.ndf,
                conditional=config.conditional,
                norm="instance" if critic else config.norm,
            )
        self.averaged = ("generator",)
        self.pools = {"fakes": ImagePool(config.buffer, config.seed)}
        self.one_hot = None if facts.palette is None else OneHot(facts.palette.colors)
        self.feature_nets = {} if self.one_hot is None else {"one_hot": self.one_hot}
        masks = self.generator.contract.noise
        self._masks = [(m.name, tuple(int(side) for side in m.shape), m.parameters["p"]) for m in masks]

    @property
    def loss_names(self) -> tuple[str, ...]:
        """G_GAN and G_L1 times their lambdas, as in the reference log; D_real and D_fake not yet halved; D_GP."""
        config = self.config
        names = ["G_GAN"] if config.uses_gan else []
        names += ["G_L1"] if config.uses_l1 else []
        names += ["D_real", "D_fake"] if config.uses_gan else []
        return (*names, "D_GP") if config.uses_gan and config.gan_mode == "wgangp" else tuple(names)

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage: per batch a step of D, then one of G; G alone where no GAN is asked for."""
        config = self.config
        adam = OptimizerSpec(lr=config.lr, betas=(config.beta1, 0.999))
        if not config.uses_gan:
            phases: tuple[Phase, ...] = (Phase(name="G", trains=("generator",), optimizer=adam, batches=1),)
        else:
            phases = (
                Phase(
                    name="D",
                    trains=("discriminator",),
                    optimizer=adam,
                    through_make=False,
                    batches=1,
                    second_order=config.gan_mode == "wgangp",
                ),
                Phase(name="G", trains=("generator",), optimizer=adam),
            )
        return (Stage(name="train", images=total, phases=phases, best=_BEST),)

    def noise(self, positions: range) -> dict[str, Tensor]:
        """A mask per dropout site; an image has the same in both phases."""
        shapes, shares = [shape for _, shape, _ in self._masks], [p for _, _, p in self._masks]
        masks = draw_masks(shapes, shares, self.config.seed, positions)
        return {name: mask for (name, _, _), mask in zip(self._masks, masks, strict=True)}

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """The image made of the condition."""
        del phase
        (picture,) = self.networks["generator"](batch["condition"], *(batch[name] for name, _, _ in self._masks))
        return {"picture": picture}

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """Equation 4 of the paper, or the part of it that --objective names."""
        condition = self._judged_condition(batch)
        if phase.name == "G":
            return self._generator_losses(batch, made["picture"], condition)
        return self._discriminator_losses(batch, made["picture"], condition)

    def _discriminator_losses(self, batch: Batch, picture: Tensor, condition: Tensor | None) -> Losses:
        mode, judge = self.config.gan_mode, self.networks["discriminator"]
        picture, beside = self._exchanged(picture, condition, batch.positions)
        fake = gan_loss(judge(picture, beside), real=False, mode=mode)
        real = gan_loss(judge(batch["target"], condition), real=True, mode=mode)
        parts = {"D_real": real, "D_fake": fake}
        total = (fake + real) / 2
        if mode == "wgangp":
            share = self._mixing(batch.positions)
            slope = gradient_penalty(lambda mixed: judge(mixed, condition), batch["target"], picture, share)
            parts["D_GP"] = self.config.lambda_gp * slope
            total = total + parts["D_GP"]
        return Losses(total=total, parts=parts)

    def _generator_losses(self, batch: Batch, picture: Tensor, condition: Tensor | None) -> Losses:
        config, parts = self.config, {}
        if config.uses_gan:
            logits = self.networks["discriminator"](picture, condition)
            parts["G_GAN"] = config.lambda_gan * gan_loss(logits, real=True, mode=config.gan_mode)
        if config.uses_l1:
            parts["G_L1"] = config.lambda_l1 * l1_loss(picture, batch["target"])
        return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)

    def _judged_condition(self, batch: Batch) -> Tensor | None:
        if not self.config.conditional:
            return None
        return batch["condition"] if self.one_hot is None else self.one_hot(batch["condition"])

    def _exchanged(
        self, picture: Tensor, condition: Tensor | None, positions: range
    ) -> tuple[Tensor, Tensor | None]:
        """Fakes for D, half of them older ones where there is a pool; each keeps its own condition."""
        if not self.config.buffer:
            return picture, condition
        seen = picture if condition is None else torch.cat((picture, condition), dim=1)
        seen = self.pools["fakes"].exchange(seen, positions)
        channels = picture.shape[1]
        return seen[:, :channels], None if condition is None else seen[:, channels:]

    def _mixing(self, positions: range) -> Tensor:
        """How much of the real image is in the mixture at which the penalty is taken; one per image."""
        rows = []
        for position in positions:
            draws = torch.Generator().manual_seed(derive_seed(self.config.seed, "penalty", position))
            rows.append(torch.rand((1, 1, 1), generator=draws))
        return torch.stack(rows).to(self.device)

    def graphs(self, networks: Networks) -> dict[str, Generator]:
        """One graph: the generator."""
        return {"main": _as_generator(networks["generator"])}

    def graph_options(self, graph: str) -> dict[str, Any]:
        """The generator's options."""
        del graph
        return asdict(self.options)

    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        """The first held-out conditions."""
        del graph
        return {"condition": held_out.arrays["condition"][:EXAMPLES]}

    def fitting(self, theirs: Shapes, wanted: Shapes) -> str:
        """See the base."""
        if theirs == wanted:
            return "choose another --dropout"
        if _double_otherwise(theirs, wanted):
            return "choose another --upsample"
        return fitting_options(theirs, wanted, channels="choose another --condition")

    def provenance(self) -> dict[str, Any]:
        """Which way, and by which objective."""
        return {"direction": self.config.direction, "objective": self.config.objective}

    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        """Mean L1 over at most 64 pairs, in units of the -1..1 range; image i always gets the same noise."""
        conditions, targets = held_out.arrays["condition"], held_out.arrays["target"]
        rows = spread_rows(len(conditions), MAX_VALIDATION)
        total = 0.0
        with as_used(graphs["main"]) as generator:
            for row in rows:
                torch.manual_seed(derive_seed(self.config.seed, "validation", row))
                (picture,) = generator.live([to_float(conditions[row : row + 1]).to(device_of(generator))], 1)
                total += l1_loss(picture.cpu(), to_float(targets[row : row + 1])).item()
        return {"val_L1": total / len(rows)}

    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        """Rows: four fixed pairs. Columns: condition, three seeds, target."""
        conditions, targets = held_out.arrays["condition"], held_out.arrays["target"]
        rows = []
        with as_used(graphs["main"]) as generator:
            for row in spread_rows(len(conditions), _GRID_ROWS):
                condition = to_float(conditions[row])
                cells = [condition]
                for number in range(_GRID_SEEDS):
                    torch.manual_seed(derive_seed(self.config.seed, "samples", number))
                    cells.append(generator.live([condition[None].to(device_of(generator))], 1)[0][0].cpu())
                rows.append([*cells, to_float(targets[row])])
        seeds = (f"seed {number + 1}" for number in range(_GRID_SEEDS))
        return SampleGrid(image=grid_image(rows), columns=("condition", *seeds, "target"))


def _as_generator(network: nn.Module) -> Generator:
    assert isinstance(network, Generator)  # noqa: S101 - the recipe put one there
    return network


def _data(config: Pix2pixConfig, size: int) -> PairedData:
    return PairedData(
        size=size,
        condition=config.condition,
        picture=config.picture,
        direction=config.direction,
        jitter=config.jitter,
        mirror=config.mirror,
        value_range=config.range,
    )


def _double_otherwise(theirs: Shapes, wanted: Shapes) -> bool:
    """Whether two U-Nets, or two ResNets, double their layers in different ways.

    Kernels of a U-Net have 4x4 weights or 3x3; those of a ResNet are 3x3, with inputs or with outputs first.
    """
    name, only_in_a_resnet = "up.0.conv.weight", "head.conv.weight"
    if (only_in_a_resnet in theirs) != (only_in_a_resnet in wanted) or name not in theirs or name not in wanted:
        return False
    one, other = theirs[name], wanted[name]
    return one[2:] != other[2:] or (one != other and one[:2] == other[1::-1])


def _rebuild(graph: str, options: Mapping[str, Any]) -> Generator:
    del graph
    return Pix2pixGenerator.from_options(options)


PIX2PIX = Family(
    config=Pix2pixConfig,
    data=_data,
    recipe=Pix2pixRecipe,
    rebuild=_rebuild,
    judge=judge_paired,
    ablations=ABLATIONS,
)
