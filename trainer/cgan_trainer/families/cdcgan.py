"""The class-conditional DCGAN for 32x32 images: Adam, cross-entropy, running statistics.

The discriminator is not slowed down: its two losses are added, not averaged. Generated images get classes drawn
uniformly, and each of the two steps draws z and classes of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgan_runtime.contract import Contract
from jaxtyping import Float, Int64
from torch import Tensor, nn

from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.data.kinds.labelled import LabelledData, LabelledFacts
from cgan_trainer.evaluation.labelled import judge_labelled
from cgan_trainer.families.base import (
    Batch,
    Best,
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

__all__ = ["CDCGAN", "CdcganGenerator", "CdcganRecipe"]

_VALUES = (-1.0, 1.0)


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

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage; per batch a step of the discriminator, then one of the generator."""
        adam = OptimizerSpec(lr=self.config.lr, betas=(self.config.beta1, 0.999))
        phases = (
            Phase(name="D", trains=("discriminator",), optimizer=adam, through_make=False, batches=1),
            Phase(name="G", trains=("generator",), optimizer=adam, reuse=False),
        )
        return (Stage(name="train", images=total, phases=phases, best=Best(metric="val_energy")),)

    def initialise(self, network: nn.Module) -> None:
        """Convolutions N(0, 0.02), biases 0; batch norm keeps torch's weight 1 and bias 0."""
        init_weights(network, norm_std=0.0)

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """Images of random classes; z and classes belong to the phase."""
        config, positions = self.config, batch.positions
        z = draw_noise("normal", (config.latent,), config.seed, f"z/{phase.name}", positions)
        label = random_labels(len(self.facts.classes), config.seed, f"label/{phase.name}", positions)
        label = self.place(label)
        (image,) = self.networks["generator"](label, self.place(z))
        return {"image": image, "label": label}

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """Cross-entropy; the generator maximises log D and does not minimise log(1 - D)."""
        judge = self.networks["discriminator"]
        logits = judge(made["image"], made["label"])
        if phase.name == "G":
            loss = gan_loss(logits, real=True)
            return Losses(total=loss, parts={"G_GAN": loss})
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


def _data(config: CdcganConfig, size: int) -> LabelledData:
    return LabelledData(size, mode=config.mode, values="-1..1")


CDCGAN = Family(
    config=CdcganConfig,
    data=_data,
    recipe=CdcganRecipe,
    rebuild=lambda _graph, options: CdcganGenerator.from_options(options),
    judge=judge_labelled,
)
