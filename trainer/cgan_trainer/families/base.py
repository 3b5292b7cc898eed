"""What a family is: its options, its data, its networks, the losses of each step, and the graphs it exports.

The trainer knows positions, batches, phases, ranks and saving, and nothing of any family. In the order in which
a run uses them:

    Family      one row of the table: options, kind of data, recipe, how a graph is built again
    Recipe      the rules that train it; owns the networks
    Stage       a part of the run: how many images, in which batches, by which phases
    Phase       one optimiser step: whose weights move, on which batch
    Batch       images of one forward pass
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from cgan_trainer.configs.base import TrainConfig
from cgan_trainer.data.kinds.base import DataKind, Facts, Split
from cgan_trainer.evaluation.judge import Judge
from cgan_trainer.generator import Generator
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.nets.init import init_weights

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Ablation",
    "Batch",
    "Best",
    "Family",
    "Losses",
    "OptimizerSpec",
    "Phase",
    "Progress",
    "Recipe",
    "SampleGrid",
    "Shapes",
    "Stage",
    "Variant",
]


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """An optimiser, before it has parameters. `lr` is what a step begins with; `Recipe.learning_rate` sets it.

    Attributes:
        kind: Adam; SGD with momentum; or RMSProp.
        betas: of Adam.
        eps: of Adam and RMSProp.
        momentum: of SGD; `Recipe.momentum` may move it.
        weight_decay: L2 penalty.
        clip: after each step every weight is cut to -clip..clip (Wasserstein GAN without penalty); None: not.
    """

    kind: Literal["adam", "sgd", "rmsprop"] = "adam"
    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimiser step of a training step: whose weights move, on which images.

    Attributes:
        name: "D", "G", "E": how its losses and its optimiser are called.
        trains: networks whose weights move.
        optimizer: how.
        through_make: whether the gradient of its losses reaches the networks that `Recipe.make` runs. Where it
            does, networks that are not trained only pass it on; where not, what was made arrives detached.
        batches: new batches that the phase takes, one optimiser step on each (5 of a Wasserstein critic);
            0: it works on the last batch of the phase before. The first phase of a stage takes 1 or more.
        reuse: what was made of the same batch by the phase before serves here too; otherwise it is made again.
        frozen_eval: networks that this phase runs in `eval()`.
        second_order: its losses hold a gradient (a penalty), which torch.compile cannot differentiate again.
    """

    name: str
    trains: tuple[str, ...]
    optimizer: OptimizerSpec = OptimizerSpec()
    through_make: bool = True
    batches: int = 0
    reuse: bool = True
    frozen_eval: tuple[str, ...] = ()
    second_order: bool = False


@dataclass(frozen=True, kw_only=True)
class Best:
    """The validation figure that decides best.pt.

    Attributes:
        metric: its name among what `Recipe.validate` returns.
        better: which figures are better.
        caution: what a user must know before trusting it, as a sentence; empty: nothing.
    """

    metric: str
    better: Literal["lower", "higher"] = "lower"
    caution: str = ""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the run; batches are cut at its end.

    Attributes:
        name: of the stage; a run of one stage calls it "train".
        images: how many images it sees.
        phases: of each step, in order.
        batch: images per batch; None: the config's.
        fresh_optimizers: begin without what the optimisers of earlier stages remember.
        best: decides best.pt; None: the newest state is the best.
    """

    name: str
    images: int
    phases: tuple[Phase, ...]
    batch: int | None = None
    fresh_optimizers: bool = False
    best: Best | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands when a step begins.

    Attributes:
        images: seen so far.
        total: of the whole run.
        epochs: of the whole run, as the config counts them.
        steps: optimiser steps so far.
        reductions: how often the plateau policy has lowered the rate.
    """

    images: int
    total: int
    epochs: int
    steps: int
    reductions: int = 0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images of one forward pass, on the device that trains.

    Attributes:
        positions: their numbers in the run.
        tensors: by name, batch first: what the source gives, and the noise that the phases share.
    """

    positions: range
    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What a phase minimises, and the parts that are reported, by the name of their column ("D_real")."""

    total: Tensor
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SampleGrid:
    """Images that show where a run stands: cells of one size, row by row.

    Attributes:
        image: the whole grid.
        columns: a heading for each column.
        rows: a heading for each row; empty: none.
    """

    image: Image
    columns: tuple[str, ...]
    rows: tuple[str, ...] = ()


C = TypeVar("C", bound=TrainConfig)
F = TypeVar("F", bound=Facts)
Graphs = Mapping[str, Generator]
Networks = Mapping[str, nn.Module]
Shapes = Mapping[str, tuple[int, ...]]


class Recipe(ABC, Generic[C, F]):
    """The rules that train a family.

    The constructor builds `networks` on the CPU from torch's global random state, in a fixed order, which makes
    the first weights repeat. Everything random in training is drawn by position (see seeding.py), so that an image
    meets the same noise in whatever batch, process or device it is trained.

    Attributes:
        config: the run's.
        facts: the dataset's.
        networks: everything that is trained, by name; generators are `Generator`s or parts of one.
        averaged: names of the networks that --ema averages.
        pools: older generated images, by name.
        feature_nets: frozen nets that losses look through; they are no part of a checkpoint.
        device: where the networks are; set by the trainer.
        layout: memory layout of four-dimensional tensors; set by the trainer.
    """

    rows_interact: ClassVar[bool] = False
    """Whether the images of a batch meet in a network (minibatch statistics that no rank can share): accumulation
    and several ranks would then train something else, and are refused."""
    validation: ClassVar[tuple[str, ...]] = ()
    """Names of what `validate` returns."""

    def __init__(self, config: C, facts: F) -> None:
        self.config = config
        self.facts = facts
        self.networks: dict[str, nn.Module] = {}
        self.averaged: tuple[str, ...] = ()
        self.pools: dict[str, ImagePool] = {}
        self.feature_nets: dict[str, nn.Module] = {}
        self.device = torch.device("cpu")
        self.layout = torch.contiguous_format

    @property
    @abstractmethod
    def loss_names(self) -> tuple[str, ...]:
        """The parts that `losses` reports over a whole step, in the order of the columns."""

    @abstractmethod
    def plan(self, total: int) -> tuple[Stage, ...]:
        """The stages of a run of `total` images; most have one. Their images add up to `total`."""

    def initialise(self, network: nn.Module) -> None:
        """Draw the first weights of a network, by default N(0, 0.02), from torch's global random state."""
        init_weights(network)

    def noise(self, positions: range) -> dict[str, Tensor]:
        """Noise that all phases of a batch share, by name, batch first, drawn per position on the CPU."""
        del positions
        return {}

    @abstractmethod
    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """What the generators make of a batch."""

    @abstractmethod
    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        """The losses of a phase on what was made, means over the images of the batch."""

    @abstractmethod
    def graphs(self, networks: Networks) -> dict[str, Generator]:
        """The graphs that can be exported, by name, the default first.

        `networks` are the trained or the averaged ones.
        """

    @abstractmethod
    def graph_options(self, graph: str) -> dict[str, Any]:
        """Plain values from which `Family.rebuild` builds the graph again, without its weights."""

    @abstractmethod
    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        """Up to 8 real values of each condition of a graph that is worth showing, as the split has them (uint8)."""

    def initial_files(self, path: Path) -> dict[str, Path]:
        """Which file gives each graph its first weights under --init-from `path`; a graph left out keeps its own.

        By default all graphs are in `path`; a family whose users have one file per network finds the others here.

        Raises:
            BadInputError: a file that belongs to it is missing.
        """
        return dict.fromkeys(self.graphs(self.networks), path)

    def fitting(self, theirs: Shapes, wanted: Shapes) -> str:
        """What to ask for where the weights brought by --init-from do not fit, to end a sentence with.

        Args:
            theirs: shapes of the weights in the file, by name.
            wanted: those of the graph of this run; equal where only the places of noise differ.
        """
        del theirs, wanted
        return "give the options that it was trained with, or name another file"

    @abstractmethod
    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        """Figures on images that are not trained on; the names are `validation`."""

    @abstractmethod
    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        """Images that show where the run stands: always the same conditions and seeds."""

    def learning_rate(self, phase: Phase, progress: Progress) -> float:
        """The learning rate of a phase's optimiser; by default it follows --lr-policy.

        linear    constant over --epochs, then in a straight line to 0 over --epochs-decay (the papers')
        step      a tenth every --step-epochs
        plateau   a fifth when validation has not improved by 1 % for more than 5 validations
        cosine    half a cosine from the whole rate to 0
        """
        config, lr = self.config, phase.optimizer.lr
        match config.lr_policy:
            case "step":
                epoch = progress.images / progress.total * progress.epochs
                return lr * 0.1 ** math.floor(epoch / config.step_epochs)
            case "plateau":
                return lr * 0.2**progress.reductions
            case "cosine":
                return lr * (1 + math.cos(math.pi * progress.images / progress.total)) / 2
            case _:
                begin = progress.total * config.epochs / progress.epochs
                if progress.images < begin:
                    return lr
                return lr * (progress.total - progress.images) / (progress.total - begin)

    def momentum(self, phase: Phase, progress: Progress) -> float | None:
        """The momentum of a phase's SGD; None leaves it as it is."""
        del phase, progress
        return None

    def provenance(self) -> dict[str, Any]:
        """What a model card says of the run besides images, seed and dataset: plain values by name."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """Whatever else an exact resume needs: tensors and plain values."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `extra_state`."""

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor on the device that trains, in its memory layout."""
        moved = tensor.to(self.device)
        return moved.contiguous(memory_format=self.layout) if moved.ndim == 4 else moved


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of an ablation.

    Attributes:
        name: of the row.
        changes: of the options, against the command's.
        published: what the paper found, by the key of the column (a measure's), where it says so.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def of(self, config: C) -> C:
        """The command's options with this variant's changes."""
        return replace(config, **self.changes)

    def folder(self, config: TrainConfig) -> str:
        """The folder of its run, named by what differs: a variant of several comparisons is trained once."""
        differing = {name: value for name, value in self.changes.items() if getattr(config, name) != value}
        return "-".join(f"{name}-{value}" for name, value in sorted(differing.items())) or "as-given"


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A comparison.

    Attributes:
        variants: in the paper's order.
        references: what it found of rows that nobody trains ("truth").
        source: where its figures are from and how far they can be compared, in sentences; empty: it has none.
    """

    variants: tuple[Variant, ...]
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Family(Generic[C, F]):
    """One conditional GAN.

    Attributes:
        config: its options, its name and its title.
        data: the kind of data, for a config and a side in pixels.
        recipe: the rules that train it; draws the first weights from torch's global random state.
        rebuild: a graph without weights, from its name and its options; TypeError or ValueError where these
            describe none.
        judge: how a trained generator of it is evaluated; None: it is not.
        ablations: comparisons of its paper, by name, for a config; the names are its `ablations`.
    """

    config: type[C]
    data: Callable[[C, int], DataKind[F]]
    recipe: Callable[[C, F], Recipe[C, F]]
    rebuild: Callable[[str, Mapping[str, Any]], Generator]
    judge: Judge | None = None
    ablations: Mapping[str, Callable[[C], Ablation]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name as a command and in checkpoints: "pix2pix"."""
        return self.config.family
