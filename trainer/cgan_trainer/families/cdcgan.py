"""The class-conditional DCGAN for 32x32 images: Adam, cross-entropy, running statistics.

The discriminator is not slowed down: its two losses are added, not averaged. Generated images get classes drawn
uniformly, and each of the two steps draws z and classes of its own.

With --lambda-ms the generator's step draws its classes in pairs, and minimises in addition the mode-seeking term
of Mao et al. 2019 (equation 3 turned round, as their code has it): the distance of two z over the distance of their
two images. It is largest where a class has one image whatever the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from cgan_runtime.contract import Contract
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.data.kinds.labelled import LabelledData, LabelledFacts
from cgan_trainer.evaluation.labelled import judge_labelled
from cgan_trainer.families.base import (
    Batch,
    Family,
    Losses,
    OptimizerSpec,
    Phase,
    Stage,
)
from cgan_trainer.families.class_conditional import (
    ClassRecipe,
    class_contract,
    class_names,
    image_encoding,
    random_labels,
)
from cgan_trainer.generator import Generator
from cgan_trainer.losses import gan_loss
from cgan_trainer.nets.dcgan32 import SIDE, Dcgan32Discriminator, Dcgan32Generator
from cgan_trainer.nets.init import init_weights
from cgan_trainer.seeding import draw_noise

__all__ = ["CDCGAN", "CdcganGenerator", "CdcganRecipe", "mode_seeking_loss"]

_VALUES = (-1.0, 1.0)
_LEAST_RATIO = 1e-5  # of the published code


class CdcganGenerator(Generator):
    """A label and z ~ N(0, 1) to [b, c, 32, 32] in -1..1.

    Args:
        names: of the classes.
        latent: length of z.
        channels: of the image, 1 or 3.
        width: d of nets/dcgan32.py.
    """

    def __init__(self, *, names: tuple[str, ...], latent: int, channels: int, width: int) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"`channels` (={channels}) must be 1 or 3.")
        self._contract = class_contract(
            names=names,
            latent=latent,
            distribution="normal",
            shape=(channels, SIDE, SIDE),
            values=_VALUES,
            encoding=image_encoding(channels, _VALUES),
            statistics="running",
        )
        self.net = Dcgan32Generator(latent=latent, classes=len(names), c_out=channels, width=width)

    @property
    def contract(self) -> Contract:
        """A label, z, and an image."""
        return self._contract

    def forward(  # type: ignore[override]  # narrower on purpose: a label and z
        self, label: Int64[Tensor, " b"], z: Float[Tensor, "b z"]
    ) -> tuple[Float[Tensor, "b c h w"]]:
        """One image per row."""
        return (self.net(label, z),)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> CdcganGenerator:
        """From the plain values of a checkpoint. Raises TypeError or ValueError where they do not fit."""
        return cls(
            names=class_names(options),
            **{name: value for name, value in options.items() if name != "classes"},
        )


class CdcganRecipe(ClassRecipe[CdcganConfig]):
    """The rules that train it."""

    def __init__(self, config: CdcganConfig, facts: LabelledFacts) -> None:
        super().__init__(config, facts)
        self.networks: dict[str, nn.Module] = {
            "generator": CdcganGenerator.from_options(self.graph_options("main")),
            "discriminator": Dcgan32Discriminator(
                c_in=config.channels, classes=len(facts.classes), width=config.width
            ),
        }
        self.averaged = ("generator",)

    @property
    def values(self) -> tuple[float, float]:
        """-1..1, of the tanh."""
        return _VALUES

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Those of the base, and G_MS times its lambda where it is asked for."""
        names = super().loss_names
        return (*names, "G_MS") if self.config.lambda_ms else names

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage; per batch a step of the discriminator, then one of the generator."""
        adam = OptimizerSpec(lr=self.config.lr, betas=(self.config.beta1, 0.999))
        phases = (
            Phase(name="D", trains=("discriminator",), optimizer=adam, through_make=False, batches=1),
            Phase(name="G", trains=("generator",), optimizer=adam, reuse=False),
        )
        return (Stage(name="train", images=total, phases=phases),)

    def initialise(self, network: nn.Module) -> None:
        """Convolutions N(0, 0.02), biases 0; batch norm keeps torch's weight 1 and bias 0."""
        init_weights(network, norm_std=0.0)

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """Images of random classes; z and classes belong to the phase."""
        config, positions = self.config, batch.positions
        z = draw_noise("normal", (config.latent,), config.seed, f"z/{phase.name}", positions)
        classes, purpose = len(self.facts.classes), f"label/{phase.name}"
        if phase.name == "G" and config.lambda_ms:
            label = _paired_labels(classes, config.seed, purpose, positions)
        else:
            label = random_labels(classes, config.seed, purpose, positions)
        label, z = self.place(label), self.place(z)
        (image,) = self.networks["generator"](label, z)
        return {"image": image, "label": label, "z": z}

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """Cross-entropy; the generator maximises log D and does not minimise log(1 - D)."""
        judge = self.networks["discriminator"]
        logits = judge(made["image"], made["label"])
        if phase.name == "G":
            parts = {"G_GAN": gan_loss(logits, real=True)}
            if self.config.lambda_ms:
                parts["G_MS"] = self.config.lambda_ms * mode_seeking_loss(
                    made["image"], made["z"], first=batch.positions.start % 2
                )
            return Losses(total=torch.stack(list(parts.values())).sum(), parts=parts)
        real = gan_loss(judge(batch["image"], batch["label"]), real=True)
        fake = gan_loss(logits, real=False)
        return Losses(total=real + fake, parts={"D_real": real, "D_fake": fake})

    def graph_options(self, graph: str) -> dict[str, Any]:
        """What `CdcganGenerator.from_options` takes."""
        del graph
        config = self.config
        return {
            "classes": list(self.facts.classes),
            "latent": config.latent,
            "channels": config.channels,
            "width": config.width,
        }


def mode_seeking_loss(image: Float[Tensor, "b c h w"], z: Float[Tensor, "b z"], *, first: int = 0) -> Tensor:
    """``d(z1, z2) / (d(image1, image2) + 1e-5 d(z1, z2))``, d the mean absolute difference over all pairs.

    Args:
        image: rows `first` and `first` + 1 are of one class, and so on; what has no partner is left out.
        z: of the same rows.
        first: where the pairs begin, 0 or 1.

    Returns:
        0 where there is no pair.
    """
    pairs = (len(image) - first) // 2
    if pairs == 0:
        return image.sum() * 0
    one, other = (slice(first + at, first + 2 * pairs, 2) for at in (0, 1))
    apart = (image[one] - image[other]).abs().mean()
    drawn = (z[one] - z[other]).abs().mean()
    return torch.reciprocal(apart / drawn + _LEAST_RATIO)


def _paired_labels(classes: int, seed: int, purpose: str, positions: range) -> Int64[Tensor, " b"]:
    """As `random_labels`, but images 2n and 2n + 1 of the run have one class."""
    pairs = range(positions.start // 2, (positions.stop + 1) // 2)
    labels = random_labels(classes, seed, purpose, pairs).repeat_interleave(2)
    return labels[positions.start % 2 :][: len(positions)]


def _data(config: CdcganConfig, size: int) -> LabelledData:
    return LabelledData(size, mode=config.mode, values="-1..1", value_range=config.range)


CDCGAN = Family(
    config=CdcganConfig,
    data=_data,
    recipe=CdcganRecipe,
    rebuild=lambda _graph, options: CdcganGenerator.from_options(options),
    judge=judge_labelled,
)
