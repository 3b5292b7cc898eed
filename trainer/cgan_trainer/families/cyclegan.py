"""CycleGAN: two generators between two sets of images that form no pairs, and a discriminator for each set.

    fake_B = G_AB(a)      cycled_A = G_BA(fake_B)      identity_A = G_BA(a)
    fake_A = G_BA(b)      cycled_B = G_AB(fake_A)      identity_B = G_AB(b)

    G    gan(D_B(fake_B), real) + gan(D_A(fake_A), real)
         + lambda_cycle * (|cycled_A - a| + |cycled_B - b|)
         + lambda_cycle * lambda_identity * (|identity_A - a| + |identity_B - b|)
    D    for A and for B: 1/2 * (gan(D(image), real) + gan(D(fake or older fake), generated))

Both generators take one step together, then both discriminators, on the images made before that step. What is
learnt changes colours and textures, and hardly shapes.

Source: Zhu et al. 2017, sections 3, 4 and 7.1; 5.2 for the identity loss, which the authors' port always uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import torch
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.errors import UsageError
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from cgan_trainer.data.kinds.base import Split
from cgan_trainer.data.kinds.unpaired import UnpairedData, UnpairedFacts
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
    Stage,
    TrainConfig,
)
from cgan_trainer.families.pair_of_files import find_pair
from cgan_trainer.families.translator import ImageTranslator, Picture
from cgan_trainer.generator import Generator
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.nets.patchgan import HALVINGS, Discriminator, least_size, patchgan, pixelgan
from cgan_trainer.nets.resnet import ResNet
from cgan_trainer.nets.unet import UNet, unet_widths
from cgan_trainer.seeding import to_float

__all__ = ["CYCLEGAN", "CycleganConfig", "CycleganGenerator", "CycleganOptions", "CycleganRecipe"]

Net = Literal["resnet-6", "resnet-9", "unet"]
Norm = Literal["instance", "batch", "none"]
Width = Annotated[int, Field(ge=1, le=512)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_MAX_VALIDATION = 32  # images of each domain: two passes each, so the time of 64 images both ways
_EXAMPLES, _GRID_ROWS = 8, 4


@dataclass(frozen=True, kw_only=True)
class CycleganConfig(TrainConfig):
    """The options of CycleGAN; the defaults are the paper's at 256 pixels."""

    net: Net = "resnet-9"
    """The generators: a ResNet of 6 blocks (the paper's at 128 pixels) or 9 (at 256), or a U-Net."""
    ngf: Width = 64
    """Width of the generators: channels after their first convolution."""
    norm: Norm = "instance"
    """Normalisation in all networks."""
    patch: Literal[1, 16, 34, 70, 142, 286] = 70
    """Pixels one output of a discriminator sees."""
    ndf: Width = 64
    """Width of the discriminators."""
    gan_mode: Literal["lsgan", "vanilla"] = "lsgan"
    """Least squares, or cross-entropy."""
    lambda_cycle: Weight = 10.0
    """Weight of the L1 between an image and what comes back after both translations."""
    lambda_identity: Weight = 0.5
    """Weight of the L1 between an image and its translation into its own domain, times --lambda-cycle; 0 is off."""
    pool: Annotated[int, Field(ge=0, le=1000)] = 50
    """Show a discriminator every other time one of this many older generated images."""
    jitter: bool = True
    """Enlarge by 286/256 and cut a random square."""
    mirror: bool = True
    """Mirror every other image."""

    def check(self) -> None:
        """Refuse sizes that the networks do not take, beside what every run is asked.

        Raises:
            UsageError: says which, and what to give instead.
        """
        super().check()
        if (problem := _size_problem(self.net, self.size)) is not None:
            raise UsageError(f"--size {self.size} cannot be used with --net {self.net}: {problem}.")
        if self.size < (side := least_size(self.patch)):
            raise UsageError(
                f"--patch {self.patch} cannot be used with --size {self.size}: it needs images of {side} pixels; "
                "choose a smaller patch."
            )


@dataclass(frozen=True, kw_only=True)
class CycleganOptions:
    """Everything needed to build one generator again.

    Attributes:
        size: side of the square images; see `_size_problem`.
        net: a ResNet of 6 or 9 blocks, or a U-Net.
        ngf: channels after the first convolution.
        norm: of every layer that has one.
        source: what the condition shows ("map"), for the contract.
        target: what the image shows ("satellite"), for the contract.
    """

    size: int = 256
    net: Net = "resnet-9"
    ngf: int = 64
    norm: Norm = "instance"
    source: str = "A"
    target: str = "B"

    def __post_init__(self) -> None:
        for name, choices in (("net", Net), ("norm", Norm)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` (={getattr(self, name)}) must be one of {', '.join(get_args(choices))}."
                )
        if (problem := _size_problem(self.net, self.size)) is not None:
            raise ValueError(f"`size` (={self.size}): {problem}.")
        if not 1 <= self.ngf <= 512:
            raise ValueError(f"`ngf` (={self.ngf}) must be between 1 and 512.")


class CycleganGenerator(ImageTranslator):
    """One direction: RGB [b, 3, size, size] in -1..1 to the same, without noise."""

    def __init__(self, options: CycleganOptions) -> None:
        super().__init__(
            _network(options),
            c_in=3,
            size=(options.size, options.size),
            source=Picture(meaning=options.source, encoding=ImageEncoding()),
            target=Picture(meaning=options.target, encoding=ImageEncoding()),
            statistics="none" if options.norm == "none" else "per_sample",
            name="unet" if options.net == "unet" else "resnet",
        )
        self.options = options


class CycleganRecipe(Recipe[CycleganConfig, UnpairedFacts]):
    """Trains G_AB, G_BA, D_A and D_B; D_A judges images of A, whoever made them."""

    validation = ("val_cycle",)

    def __init__(self, config: CycleganConfig, facts: UnpairedFacts) -> None:
        super().__init__(config, facts)
        self.networks = {
            "G_AB": CycleganGenerator(_options(config, facts.a, facts.b)),
            "G_BA": CycleganGenerator(_options(config, facts.b, facts.a)),
            "D_A": _discriminator(config),
            "D_B": _discriminator(config),
        }
        for network in self.networks.values():
            self.initialise(network)
        self.averaged = ("G_AB", "G_BA")
        self.pools = {name: ImagePool(config.pool, config.seed, f"pool {name}") for name in ("A", "B")}

    @property
    def loss_names(self) -> tuple[str, ...]:
        """All but the cycle losses and the identity losses where their weight is 0."""
        names = ["G_AB", "G_BA"]
        names += ["G_cycle_A", "G_cycle_B"] if self.config.lambda_cycle else []
        names += ["G_identity_A", "G_identity_B"] if self._with_identity else []
        return (*names, "D_A", "D_B")

    @property
    def _with_identity(self) -> bool:
        return self.config.lambda_cycle * self.config.lambda_identity > 0

    def plan(self, total: int) -> tuple[Stage, ...]:
        """One stage; both generators first, then both discriminators on what these made before their step."""
        adam = OptimizerSpec(lr=self.config.lr, betas=(self.config.beta1, 0.999))
        generators = Phase(name="G", trains=("G_AB", "G_BA"), optimizer=adam, batches=1)
        judges = Phase(name="D", trains=("D_A", "D_B"), optimizer=adam, through_make=False)
        return (Stage(name="train", images=total, phases=(generators, judges), best=Best(metric="val_cycle")),)

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """Translations of both sets; for the generators also what comes back, and what stays in its own set."""
        a, b = batch["a"], batch["b"]
        made = {"fake_B": self._run("G_AB", a), "fake_A": self._run("G_BA", b)}
        if phase.name == "D":
            return made
        if self.config.lambda_cycle:
            made["cycled_A"] = self._run("G_BA", made["fake_B"])
            made["cycled_B"] = self._run("G_AB", made["fake_A"])
        if self._with_identity:
            made["identity_A"] = self._run("G_BA", a)
            made["identity_B"] = self._run("G_AB", b)
        return made

    def _run(self, generator: str, images: Tensor) -> Tensor:
        (image,) = self.networks[generator](images)
        made: Tensor = image.float()
        return made

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """Every part as it is in the sum: the total is their plain sum."""
        parts = self._of_judges(batch, made) if phase.name == "D" else self._of_generators(batch, made)
        return Losses(total=torch.stack([*parts.values()]).sum(), parts=parts)

    def _of_generators(self, batch: Batch, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
        cycle = self.config.lambda_cycle
        parts = {
            "G_AB": self._judged("B", made["fake_B"], real=True),
            "G_BA": self._judged("A", made["fake_A"], real=True),
        }
        for kind, weight in (("cycle", cycle), ("identity", cycle * self.config.lambda_identity)):
            if weight:
                part = "cycled" if kind == "cycle" else kind
                parts[f"G_{kind}_A"] = weight * l1_loss(made[f"{part}_A"], batch["a"])
                parts[f"G_{kind}_B"] = weight * l1_loss(made[f"{part}_B"], batch["b"])
        return parts

    def _of_judges(self, batch: Batch, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts = {}
        for name in ("A", "B"):
            fake = self.pools[name].exchange(made[f"fake_{name}"], batch.positions)
            real = self._judged(name, batch[name.lower()], real=True)
            parts[f"D_{name}"] = (real + self._judged(name, fake, real=False)) / 2
        return parts

    def _judged(self, name: str, images: Tensor, *, real: bool) -> Tensor:
        return gan_loss(self.networks[f"D_{name}"](images), real=real, mode=self.config.gan_mode)

    def graphs(self, networks: Networks) -> dict[str, Generator]:
        """Both directions, A to B first."""
        return {"AtoB": cast("Generator", networks["G_AB"]), "BtoA": cast("Generator", networks["G_BA"])}

    def graph_options(self, graph: str) -> dict[str, Any]:
        """The fields of `CycleganOptions`."""
        a, b = self.facts.a, self.facts.b
        return asdict(_options(self.config, *((a, b) if graph == "AtoB" else (b, a))))

    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        """Up to 8 images of the domain that the graph starts from, evenly spread."""
        images = held_out.arrays[graph[0].lower()]
        return {"condition": images[_spread(len(images), _EXAMPLES)]}

    def initial_files(self, path: Path) -> dict[str, Path]:
        """Both files of a pair, such as latest_net_G_A.pth and latest_net_G_B.pth, from either or their folder."""
        pair = find_pair(path)
        return super().initial_files(path) if pair is None else dict(zip(("AtoB", "BtoA"), pair, strict=True))

    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        """`val_cycle`: mean L1, in units of the -1..1 range, between an image and what comes back, over A and B."""
        errors = []
        for there, back, name in (("AtoB", "BtoA", "a"), ("BtoA", "AtoB", "b")):
            images = held_out.arrays[name]
            for row in _spread(len(images), _MAX_VALIDATION):
                image, _, cycled = self._round_trip(graphs[there], graphs[back], images[row])
                errors.append(l1_loss(cycled, image).item() / min(len(images), _MAX_VALIDATION))
        return {"val_cycle": sum(errors) / 2}

    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        """Four fixed images of A and four of B, each with its translation and what comes back of it."""
        cells, rows = [], []
        a, b = self.facts.a, self.facts.b
        for there, back, name, ends in (("AtoB", "BtoA", "a", (a, b)), ("BtoA", "AtoB", "b", (b, a))):
            images = held_out.arrays[name]
            for row in _spread(len(images), _GRID_ROWS):
                cells.append(torch.cat(self._round_trip(graphs[there], graphs[back], images[row]), dim=-1)[0])
                rows.append(" to ".join(ends))
        return SampleGrid(
            image=_to_image(torch.cat(cells, dim=-2)),
            columns=("image", "translated", "and back"),
            rows=tuple(rows),
        )

    @torch.no_grad()
    def _round_trip(self, there: Generator, back: Generator, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The image, its translation, and what comes back; each [1, 3, h, w] on the CPU."""
        image = to_float(pixels)[None]
        were_training = [(graph, graph.training) for graph in (there, back)]
        try:
            (translated,) = there.eval()(self.place(image))
            (cycled,) = back.eval()(translated)
        finally:
            for graph, training in were_training:
                graph.train(training)
        return image, translated.float().cpu(), cycled.float().cpu()


def _options(config: CycleganConfig, source: str, target: str) -> CycleganOptions:
    return CycleganOptions(
        size=config.size, net=config.net, ngf=config.ngf, norm=config.norm, source=source, target=target
    )


def _network(options: CycleganOptions) -> nn.Module:
    bias = options.norm != "batch"  # batch norm has a bias of its own
    if options.net == "unet":
        widths = unet_widths(options.size.bit_length() - 1, options.ngf)
        return UNet(widths=widths, c_in=3, c_out=3, dropout_sites=(), norm=options.norm, bias=bias)
    blocks = int(options.net.removeprefix("resnet-"))
    return ResNet(c_in=3, c_out=3, ngf=options.ngf, blocks=blocks, norm=options.norm, bias=bias)


def _discriminator(config: CycleganConfig) -> Discriminator:
    if config.patch == 1:
        return pixelgan(c_in=3, ndf=config.ndf, norm=config.norm)
    return patchgan(c_in=3, ndf=config.ndf, n_layers=HALVINGS[config.patch], norm=config.norm)


def _size_problem(net: Net, size: int) -> str | None:
    """Why a net does not take images of this side, or None."""
    if net == "unet":  # halved down to one pixel
        return None if size in (64, 128, 256, 512) else "give 64, 128, 256 or 512"
    return None if size % 4 == 0 and 16 <= size <= 2048 else "give a multiple of 4 from 16 to 2048"


def _spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` row numbers, evenly spread over `count`."""
    wanted = min(count, wanted)
    return [index * count // wanted for index in range(wanted)]


def _to_image(values: Tensor) -> Image.Image:
    pixels = ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


CYCLEGAN = Family(
    name="cyclegan",
    title="Image to image without pairs, both ways (CycleGAN, Zhu et al. 2017)",
    config=CycleganConfig,
    data=lambda config, size: UnpairedData(size, jitter=config.jitter, mirror=config.mirror),
    recipe=CycleganRecipe,
    rebuild=lambda _graph, options: CycleganGenerator(CycleganOptions(**options)),
)
