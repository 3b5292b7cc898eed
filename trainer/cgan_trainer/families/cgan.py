"""The class-conditional GAN of dense layers, as the paper has it and as PyTorch-GAN has it.

            z            generator                    discriminator                  training
    paper   U(0, 1)^100  two branches, ReLU, sigmoid  maxout                         SGD, cross-entropy
    port    N(0, 1)^100  embedding, batch norm, tanh  embedding, leaky ReLU          Adam, least squares

Dropout is used in training alone, so it is no noise input. Its masks are drawn per image, as all noise is.

Source: Mirza & Osindero 2014, section 4.1. What it leaves open is taken from the code of Goodfellow et al. 2014,
which it builds on: the halved objective of D, log D maximised for G, and the range of the first weights.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.data.kinds.labelled import LabelledData, LabelledFacts
from cgan_trainer.evaluation.labelled import judge_labelled
from cgan_trainer.families.base import (
    Batch,
    Family,
    Losses,
    OptimizerSpec,
    Phase,
    Progress,
    Stage,
)
from cgan_trainer.families.class_conditional import (
    ClassRecipe,
    class_names,
    image_encoding,
    random_labels,
)
from cgan_trainer.families.label_mlp import LabelMlpGenerator, TwoBranchGenerator
from cgan_trainer.generator import Generator
from cgan_trainer.losses import GanMode, gan_loss
from cgan_trainer.nets.maxout import MaxoutDiscriminator
from cgan_trainer.nets.mlp import EmbeddingDiscriminator, TwoBranchMlp
from cgan_trainer.seeding import draw_noise

__all__ = ["CGAN", "PaperRecipe", "PortRecipe", "build_cgan"]

_PORT_WIDTHS: Final = (128, 256, 512, 1024)
_PORT_EPS: Final = 0.8  # PyTorch-GAN's BatchNorm1d(n, 0.8), which sets eps


class _CganRecipe(ClassRecipe[CganConfig]):
    """What both variants share: z serves both steps of a batch, and dropout is a mask per image."""

    distribution: ClassVar[Literal["normal", "uniform01"]]
    gan_mode: ClassVar[GanMode]
    dropout: ClassVar[tuple[int, float]]
    """Of the discriminator: elements of a mask, and the share set to zero."""

    def __init__(self, config: CganConfig, facts: LabelledFacts) -> None:
        super().__init__(config, facts)
        self.networks["generator"] = build_cgan(self.graph_options("main"))
        self.networks["discriminator"] = self.build_discriminator(math.prod(config.shape), len(facts.classes))
        self.averaged = ("generator",)

    @staticmethod
    @abstractmethod
    def build_discriminator(values: int, classes: int) -> nn.Module:
        """The variant's, for images of so many numbers."""

    @property
    def values(self) -> tuple[float, float]:
        """0..1 or -1..1, of the variant."""
        return self.config.values

    def noise(self, positions: range) -> dict[str, Tensor]:
        """The z of both steps."""
        return {"z": draw_noise(self.distribution, (self.config.latent,), self.config.seed, "z", positions)}

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """The mean of D's two losses, or G's: that its images pass for real ones."""
        judge, mode = self.networks["discriminator"], self.gan_mode
        count, share = self.dropout
        masks = draw_noise("mask", (2, count), self.config.seed, f"dropout/{phase.name}", batch.positions, p=share)
        of_fake, of_real = self.place(masks).unbind(dim=1)
        logits = judge(made["image"], made["label"], of_fake)
        if phase.name == "G":
            loss = gan_loss(logits, real=True, mode=mode)
            return Losses(total=loss, parts={"G_GAN": loss})
        fake = gan_loss(logits, real=False, mode=mode)
        real = gan_loss(judge(batch["image"], batch["label"], of_real), real=True, mode=mode)
        return Losses(total=(real + fake) / 2, parts={"D_real": real, "D_fake": fake})

    def graph_options(self, graph: str) -> dict[str, Any]:
        """What `build_cgan` takes."""
        del graph
        config = self.config
        return {
            "variant": config.variant,
            "classes": list(self.facts.classes),
            "latent": config.latent,
            "shape": list(config.shape),
        }


class PaperRecipe(_CganRecipe):
    """Mirza & Osindero's: generated images get the classes of the real batch."""

    distribution = "uniform01"
    gan_mode = "vanilla"
    dropout = (MaxoutDiscriminator.MASK, MaxoutDiscriminator.DROPOUT)

    @staticmethod
    def build_discriminator(values: int, classes: int) -> nn.Module:
        """The paper's maxout discriminator."""
        return MaxoutDiscriminator(values=values, classes=classes)

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage; per batch a step of D, then one of G on the same images."""
        sgd = OptimizerSpec(kind="sgd", lr=self.config.sgd_lr, momentum=0.5)
        d = Phase(name="D", trains=("discriminator",), optimizer=sgd, through_make=False, batches=1)
        g = Phase(name="G", trains=("generator",), optimizer=sgd)
        return (Stage(name="train", images=total, phases=(d, g)),)

    def initialise(self, network: nn.Module) -> None:
        """Uniform in -0.05..0.05 in the generator and -0.005..0.005 in the discriminator; biases 0.

        Those of the last layer of the generator give the mean training image, cut to 0.01..0.99: a generator that
        begins with grey is told apart at once, and learns nothing from then on.
        """
        bound = 0.05 if isinstance(network, Generator) else 0.005
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)
        if isinstance(network, TwoBranchGenerator) and self.facts.mean is not None:
            with torch.no_grad():
                network.net.last.bias.copy_(self.facts.mean.flatten().clamp(0.01, 0.99).logit())

    def noise(self, positions: range) -> dict[str, Tensor]:
        """The z of both steps, and the generator's dropout mask."""
        mask = draw_noise(
            "mask", (TwoBranchMlp.MASK,), self.config.seed, "dropout", positions, p=TwoBranchMlp.DROPOUT
        )
        return {**super().noise(positions), "mask": mask}

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """One image for each class of the batch, under dropout."""
        del phase
        (image,) = self.networks["generator"](batch["label"], batch["z"], batch["mask"])
        return {"image": image, "label": batch["label"]}

    def learning_rate(self, phase: Phase, progress: Progress) -> float:
        """The first rate divided by 1.00004 after every step, 0.000001 at least."""
        return max(phase.optimizer.lr / 1.00004**progress.steps, 1e-6)

    def momentum(self, phase: Phase, progress: Progress) -> float:
        """0.5 at the beginning, 0.7 at the end, in a straight line: the paper names no pace."""
        del phase
        return 0.5 + 0.2 * progress.images / progress.total


class PortRecipe(_CganRecipe):
    """PyTorch-GAN's: generated images get random classes, and the generator steps first."""

    distribution = "normal"
    gan_mode = "lsgan"
    dropout = (EmbeddingDiscriminator.MASK, EmbeddingDiscriminator.DROPOUT)

    @staticmethod
    def build_discriminator(values: int, classes: int) -> nn.Module:
        """Embedding and dense layers."""
        return EmbeddingDiscriminator(values=values, classes=classes)

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage; per batch a step of G, then one of D on the same images."""
        adam = OptimizerSpec(lr=self.config.lr, betas=(self.config.beta1, 0.999))
        g = Phase(name="G", trains=("generator",), optimizer=adam, batches=1)
        d = Phase(name="D", trains=("discriminator",), optimizer=adam, through_make=False)
        return (Stage(name="train", images=total, phases=(g, d)),)

    def initialise(self, network: nn.Module) -> None:
        """Torch's own first weights, which the constructors have drawn."""

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """Images of random classes."""
        del phase
        label = random_labels(len(self.facts.classes), self.config.seed, "label", batch.positions)
        label = self.place(label)
        (image,) = self.networks["generator"](label, batch["z"])
        return {"image": image, "label": label}


def build_cgan(options: Mapping[str, Any]) -> Generator:
    """The generator of a variant, from the plain values of a checkpoint.

    Raises:
        KeyError, TypeError, ValueError: they describe none.
    """
    names, latent = class_names(options), int(options["latent"])
    channels, height, width = map(int, options["shape"])
    shape = (channels, height, width)
    if channels not in (1, 3):
        raise ValueError(f"`shape` (={list(shape)}) must have 1 or 3 channels.")
    match options["variant"]:
        case "paper":
            return TwoBranchGenerator(names=names, latent=latent, shape=shape)
        case "port":
            return LabelMlpGenerator(
                names=names,
                embedding=len(names),
                latent=latent,
                widths=_PORT_WIDTHS,
                image=shape,
                eps=_PORT_EPS,
                encoding=image_encoding(channels, (-1.0, 1.0)),
            )
        case other:
            raise ValueError(f"`variant` (={other!r}) must be paper or port.")


def _data(config: CganConfig, size: int) -> LabelledData:
    values: Literal["-1..1", "0..1"] = "0..1" if config.variant == "paper" else "-1..1"
    return LabelledData(size, mode=config.mode, values=values, value_range=config.range)


def _recipe(config: CganConfig, facts: LabelledFacts) -> _CganRecipe:
    return (PaperRecipe if config.variant == "paper" else PortRecipe)(config, facts)


CGAN = Family(
    config=CganConfig,
    data=_data,
    recipe=_recipe,
    rebuild=lambda _graph, options: build_cgan(options),
    judge=judge_labelled,
)
