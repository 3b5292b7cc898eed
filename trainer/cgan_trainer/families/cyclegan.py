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
from typing import Any, Literal, cast, get_args

import torch
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.image_values import PLAIN, Limits
from torch import Tensor, nn

from cgan_trainer.configs.cyclegan import CycleganConfig, size_problem
from cgan_trainer.configs.pix2pix import HALVINGS
from cgan_trainer.data.kinds import Split
from cgan_trainer.data.kinds.unpaired import UnpairedData, UnpairedFacts
from cgan_trainer.evaluation.unpaired import judge_unpaired
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
from cgan_trainer.families.pair_of_files import find_pair
from cgan_trainer.families.translator import ImageSpec, ImageTranslator, fitting_options
from cgan_trainer.generator import Generator, as_used
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.nets.patchgan import Discriminator, patchgan, pixelgan
from cgan_trainer.nets.resnet import ResNet
from cgan_trainer.nets.unet import UNet, unet_widths
from cgan_trainer.seeding import spread_rows, to_float

__all__ = ["CYCLEGAN", "CycleganGenerator", "CycleganOptions", "CycleganRecipe"]

Net = Literal["resnet-6", "resnet-9", "unet"]
Norm = Literal["instance", "batch", "none"]
MAX_VALIDATION = 32  # of each domain; each is translated twice
EXAMPLES = 8
_GRID_ROWS = 4
_BEST = Best(metric="val_cycle", caution="val_cycle is small also where a generator changes nothing.")
_WAY_BACK = {"AtoB": "BtoA", "BtoA": "AtoB"}


@dataclass(frozen=True, kw_only=True)
class CycleganOptions:
    """Everything needed to build one generator again.

    Attributes:
        size: side of the square images: a power of two from 64 to 512 of a U-Net, otherwise a multiple of 4.
        net: a ResNet of 6 or 9 blocks, or a U-Net.
        ngf: channels after the first convolution.
        norm: of every layer that has one.
        source: what the condition shows ("map"), for the contract.
        target: what the image shows ("satellite"), for the contract.
        limits: the ranges that values of more than 8 bits of the condition are meant in, for the contract.
    """

    size: int = 256
    net: Net = "resnet-9"
    ngf: int = 64
    norm: Norm = "instance"
    source: str = "A"
    target: str = "B"
    limits: Limits = PLAIN

    def __post_init__(self) -> None:
        for name, choices in (("net", Net), ("norm", Norm)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"`{name}` (={getattr(self, name)}) must be one of {', '.join(get_args(choices))}."
                )
        if (problem := size_problem(self.net, self.size)) is not None:
            raise ValueError(f"`size` (={self.size}) does not fit {self.net}: {problem}.")
        if not 1 <= self.ngf <= 512:
            raise ValueError(f"`ngf` (={self.ngf}) must be between 1 and 512.")


class CycleganGenerator(ImageTranslator):
    """One direction: RGB [b, 3, size, size] in -1..1 to the same, without noise."""

    def __init__(self, options: CycleganOptions) -> None:
        super().__init__(
            _network(options),
            c_in=3,
            size=(options.size, options.size),
            source=ImageSpec(
                meaning=options.source,
                encoding=ImageEncoding(integers=options.limits.integers, floats=options.limits.floats),
            ),
            target=ImageSpec(meaning=options.target, encoding=ImageEncoding()),
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
            "G_AB": CycleganGenerator(_options(config, facts, "AtoB")),
            "G_BA": CycleganGenerator(_options(config, facts, "BtoA")),
            "D_A": _discriminator(config),
            "D_B": _discriminator(config),
        }
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
        return (Stage(name="train", images=total, phases=(generators, judges), best=_BEST),)

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
        made: Tensor = image
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
        return asdict(_options(self.config, self.facts, graph))

    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        """The first held-out images of the kind that the graph starts from."""
        return {"condition": held_out.arrays[graph[0].lower()][:EXAMPLES]}

    def initial_files(self, path: Path) -> dict[str, Path]:
        """Both files of a pair, such as latest_net_G_A.pth and latest_net_G_B.pth, from either or their folder."""
        pair = find_pair(path)
        return super().initial_files(path) if pair is None else dict(zip(("AtoB", "BtoA"), pair, strict=True))

    def fitting(self, theirs: Shapes, wanted: Shapes) -> str:
        """See the base."""
        if theirs == wanted:
            return "name a generator without dropout"
        return fitting_options(theirs, wanted, channels="name a generator of colour images")

    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        """`val_cycle`: mean L1, in units of the -1..1 range, between an image and what comes back, over A and B."""
        errors = []
        for way in ("AtoB", "BtoA"):
            images, _, returned = zip(*self._round_trips(graphs, way, held_out, MAX_VALIDATION), strict=True)
            errors.append(l1_loss(torch.stack(returned), torch.stack(images)).item())
        return {"val_cycle": sum(errors) / len(errors)}

    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        """Four fixed images of A and four of B, each with its translation and what comes back of it."""
        a, b = self.facts.a, self.facts.b
        rows, names = [], []
        for way, name in (("AtoB", f"{a} to {b}"), ("BtoA", f"{b} to {a}")):
            shown = self._round_trips(graphs, way, held_out, _GRID_ROWS)
            rows += shown
            names += [name] * len(shown)
        return SampleGrid(image=grid_image(rows), columns=("image", "translated", "and back"), rows=tuple(names))

    def _round_trips(self, graphs: Graphs, way: str, held_out: Split, most: int) -> list[tuple[Tensor, ...]]:
        """For at most `most` images: the image, its translation, and what comes back; [3, h, w] on the CPU."""
        images = held_out.arrays[way[0].lower()]
        shown: list[tuple[Tensor, ...]] = []
        with as_used(graphs[way]) as there, as_used(graphs[_WAY_BACK[way]]) as back:
            for row in spread_rows(len(images), most):
                image = to_float(images[row : row + 1])
                (translated,) = there(self.place(image))
                (returned,) = back(translated)
                shown.append((image[0], translated[0].cpu(), returned[0].cpu()))
        return shown


def _options(config: CycleganConfig, facts: UnpairedFacts, way: str) -> CycleganOptions:
    forward = way == "AtoB"
    return CycleganOptions(
        size=config.size,
        net=config.net,
        ngf=config.ngf,
        norm=config.norm,
        source=facts.a if forward else facts.b,
        target=facts.b if forward else facts.a,
        limits=facts.limits_a if forward else facts.limits_b,
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


CYCLEGAN = Family(
    config=CycleganConfig,
    data=lambda config, size: UnpairedData(
        size, jitter=config.jitter, mirror=config.mirror, value_range=config.range
    ),
    recipe=CycleganRecipe,
    rebuild=lambda _graph, options: CycleganGenerator(
        CycleganOptions(**{**options, "limits": Limits.from_plain(options.get("limits", {}))})
    ),
    judge=judge_unpaired,
)
