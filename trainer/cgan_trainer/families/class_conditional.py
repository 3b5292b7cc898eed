"""What the families share that draw an image of a named class: their contract, validation and sample grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeVar, cast

import torch
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding, NoiseInput, Output, Statistics
from jaxtyping import Float, Int64
from torch import Tensor

from cgan_trainer.configs.base import TrainConfig
from cgan_trainer.data.kinds.base import Split
from cgan_trainer.data.kinds.labelled import LabelledFacts
from cgan_trainer.evaluation.energy_distance import energy_distance
from cgan_trainer.families.base import Graphs, Networks, Recipe, SampleGrid
from cgan_trainer.families.grids import grid_image
from cgan_trainer.generator import Generator, as_used, device_of
from cgan_trainer.seeding import draw_noise, spread_rows

__all__ = ["ClassRecipe", "class_contract", "class_names", "image_encoding", "random_labels"]

_MOST_PER_CLASS, _MOST_IMAGES = 50, 1000  # of a validation: enough for a steady figure, few enough to be quick
_GRID_CLASSES, _GRID_SEEDS = 10, 8
_BATCH = 100

Mode = Literal["grey", "rgb"]
C = TypeVar("C", bound=TrainConfig)


def image_encoding(channels: int, values: tuple[float, float]) -> ImageEncoding:
    """How values from `values[0]` (black) to `values[1]` stand for pixels of 1 or 3 channels."""
    low, high = values
    mean, std = (0 - low) / (high - low), 1 / (high - low)
    return ImageEncoding(color="L" if channels == 1 else "RGB", mean=(mean,) * channels, std=(std,) * channels)


def class_contract(
    *,
    names: Sequence[str],
    latent: int,
    distribution: str,
    shape: tuple[int, int, int],
    values: tuple[float, float],
    encoding: ImageEncoding,
    statistics: Statistics,
) -> Contract:
    """A label and z to an image.

    Args:
        names: of the classes.
        latent: length of z.
        distribution: of z.
        shape: [c, h, w] of the image.
        values: the range of the image.
        encoding: how the image stands for pixels.
        statistics: what the generator's normalisation goes by.
    """
    label = Condition(name="label", dtype="int64", shape=(), encoding=LabelEncoding(names=tuple(names)))
    return Contract(
        conditions=(label,),
        noise=(NoiseInput(name="z", index=0, distribution=distribution, shape=(latent,)),),
        outputs=(Output(name="picture", shape=shape, range=values, encoding=encoding),),
        statistics=statistics,
    )


def random_labels(classes: int, seed: int, purpose: str, positions: range) -> Int64[Tensor, " b"]:
    """Uniform class numbers, drawn for each position on its own."""
    numbers = draw_noise("uniform01", (), seed, purpose, positions) * classes
    return numbers.long().clamp(max=classes - 1)  # a product just below `classes` may be rounded up to it


class ClassRecipe(Recipe[C, LabelledFacts]):
    """A recipe whose one graph takes a label and z: networks "generator" and "discriminator"."""

    validation: ClassVar = ("val_energy", "val_class")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The generator's loss, and what the discriminator makes of real and generated images."""
        return ("G_GAN", "D_real", "D_fake")

    @property
    @abstractmethod
    def values(self) -> tuple[float, float]:
        """The range of the images that the networks see: black, white."""

    def graphs(self, networks: Networks) -> dict[str, Generator]:
        """One graph, "main": the generator."""
        return {"main": cast("Generator", networks["generator"])}

    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        """The first 8 classes that occur."""
        del graph
        return {"label": torch.tensor(_present(held_out)[:8])}

    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        """Two figures on at most 50 held-out images of each class and as many generated ones.

        val_energy    the mean over the classes of their energy distance, in shares of the range from black to
                      white; 0: cannot be told apart. It sees blur and lost variety more than a wrong class.
        val_class     the share of generated images whose nearest real one is of the class that was asked for. It
                      sees nothing of variety.

        Both cost as much as it takes to draw the images, and need no classifier. Neither decides alone which
        state is the best one, so none of them does: best.pt is the newest.
        """
        labels, present = held_out.arrays["label"], _present(held_out)
        most = max(2, min(_MOST_PER_CLASS, _MOST_IMAGES // len(present)))
        of_class = [(labels == number).nonzero()[:, 0] for number in present]
        chosen = [rows[spread_rows(len(rows), most)] for rows in of_class]
        rows = torch.cat(chosen)
        asked, real = labels[rows], held_out.arrays["image"][rows] / 255
        made = self._draw(graphs["main"], asked, "validation", rows.tolist())
        distances = [energy_distance(made[asked == number], real[asked == number]) for number in present]
        nearest = torch.cdist(made.flatten(1), real.flatten(1)).argmin(dim=1)
        return {
            "val_energy": sum(distances) / len(present),
            "val_class": (asked[nearest] == asked).float().mean().item(),
        }

    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        """Rows: at most 10 classes. Columns: 8 seeds, the same z in every row."""
        del held_out
        names = self.facts.classes
        classes = spread_rows(len(names), _GRID_CLASSES)
        made = self._draw(
            graphs["main"],
            torch.tensor(classes).repeat_interleave(_GRID_SEEDS),
            "samples",
            list(range(_GRID_SEEDS)) * len(classes),
        )
        cells = torch.split(made * 2 - 1, _GRID_SEEDS)
        return SampleGrid(
            image=grid_image([list(row) for row in cells]),
            columns=tuple(f"seed {number + 1}" for number in range(_GRID_SEEDS)),
            rows=tuple(names[index] for index in classes),
        )

    def _draw(
        self, generator: Generator, labels: Int64[Tensor, " n"], purpose: str, numbers: Sequence[int]
    ) -> Float[Tensor, "n c h w"]:
        """Images in 0..1, on the CPU, as in use; image i has the noise of `numbers[i]`."""
        (item,) = generator.contract.noise
        shape = tuple(int(axis) for axis in item.shape)
        distribution = cast("Literal['normal', 'uniform01']", item.distribution)
        low, high = self.values
        device, parts = device_of(generator), []
        with as_used(generator):
            for begin in range(0, len(labels), _BATCH):
                z = draw_noise(distribution, shape, self.config.seed, purpose, numbers[begin : begin + _BATCH])
                (images,) = generator(labels[begin : begin + _BATCH].to(device), z.to(device))
                parts.append(images.float().cpu())
        return ((torch.cat(parts) - low) / (high - low)).clamp_(0, 1)


def _present(split: Split) -> list[int]:
    """The classes that occur, in order."""
    return sorted(set(split.arrays["label"].tolist()))


def class_names(options: Mapping[str, object]) -> tuple[str, ...]:
    """The classes among a graph's options. Raises ValueError where there are none."""
    names = options.get("classes")
    if not isinstance(names, list | tuple) or not names:
        raise ValueError("`classes` must name one class or more.")
    return tuple(map(str, names))
