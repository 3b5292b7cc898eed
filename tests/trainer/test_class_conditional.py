from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cgan_runtime.contract import Contract
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.data.kinds.labelled import LabelledFacts
from cgan_trainer.evaluation.energy_distance import energy_distance
from cgan_trainer.families.cdcgan import CdcganRecipe
from cgan_trainer.families.class_conditional import class_contract, image_encoding, random_labels
from cgan_trainer.generator import Generator
from torch import Tensor

from tests.trainer.classes import FACTS, inputs_of, labelled_split

CONFIG = CdcganConfig(width=2, latent=5)


class Drawing(Generator):
    """Takes its images from a list: `images[label]`, the one that z's first value points at."""

    def __init__(self, images: list[Tensor]) -> None:
        super().__init__()
        self.images = images

    @property
    def contract(self) -> Contract:
        shape = tuple(self.images[0].shape[1:])
        return class_contract(
            names=FACTS.classes,
            latent=1,
            distribution="uniform01",
            shape=(shape[0], shape[1], shape[2]),
            values=(-1.0, 1.0),
            encoding=image_encoding(1, (-1.0, 1.0)),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        label, z = inputs
        chosen = [
            self.images[int(k)][int(u * len(self.images[int(k)]))] for k, u in zip(label, z[:, 0], strict=True)
        ]
        return (torch.stack(chosen).float() / 127.5 - 1,)


def recipe_of(**changes: Any) -> CdcganRecipe:
    return CdcganRecipe(CONFIG, LabelledFacts(name="x", classes=changes.get("classes", FACTS.classes)))


def test_in_one_dimension_it_is_twice_the_area_between_the_distribution_functions_squared() -> None:
    # Szekely & Rizzo 2013: 2 E|x-y| - E|x-x'| - E|y-y'| = 2 * integral of (F - G)^2, here of the two samples.
    draws = np.random.default_rng(0)
    x, y = draws.normal(0, 1, 7), draws.normal(1, 2, 9)
    points = np.sort(np.concatenate((x, y)))
    f, g = (np.searchsorted(np.sort(of), points[:-1], side="right") / len(of) for of in (x, y))
    area = 2 * np.sum((f - g) ** 2 * np.diff(points))
    spreads = [np.abs(of[:, None] - of).mean() for of in (x, y)]  # with the zero distance to itself among them
    expected = area + sum(
        spread * (1 - len(of) / (len(of) - 1)) for spread, of in zip(spreads, (x, y), strict=True)
    )
    images = [torch.from_numpy(of)[:, None, None, None] for of in (x, y)]
    assert energy_distance(*images) == pytest.approx(expected, abs=1e-12)


def test_sets_of_one_distribution_are_at_distance_0_on_average() -> None:
    draws = torch.Generator().manual_seed(0)
    values = [
        energy_distance(torch.rand(6, 1, 2, 2, generator=draws), torch.rand(6, 1, 2, 2, generator=draws))
        for _ in range(300)
    ]
    assert np.mean(values) == pytest.approx(0, abs=3 * np.std(values) / 300**0.5)
    assert min(values) < 0 < max(values)


def test_a_distance_is_in_units_of_the_values_whatever_the_size() -> None:
    for size in (1, 5):
        black, white = torch.zeros(1, 1, size, size), torch.ones(3, 1, size, size)
        assert energy_distance(black, white) == pytest.approx(2)


def test_validation_tells_real_from_wrong_classes_and_from_one_image_per_class() -> None:
    held_out = labelled_split(per_class=40, size=32)
    recipe = recipe_of()
    fresh = labelled_split(per_class=200, size=32)
    by_class = [fresh.arrays["image"][fresh.arrays["label"] == k] for k in range(3)]

    def figure(images: list[Tensor]) -> float:
        return recipe.validate({"main": Drawing(images)}, held_out)["val_energy"]

    real = figure(by_class)
    assert abs(real) < 0.01
    swapped = figure([by_class[1], by_class[0], by_class[2]])
    alike = figure([images.float().mean(dim=0, keepdim=True) for images in by_class])
    assert swapped > 0.2
    assert alike > real + 0.01


def test_validation_uses_at_most_fifty_images_of_each_class_and_every_class_counts_alike() -> None:
    recipe = recipe_of()
    generator = recipe.graphs(recipe.networks)["main"]
    held_out = labelled_split(per_class=60, size=32)
    with inputs_of(generator) as calls:
        recipe.validate({"main": generator}, held_out)
    labels = torch.cat([call[0] for call in calls])
    assert torch.bincount(labels).tolist() == [50, 50, 50]
    assert generator.training  # as it was found
    first, second = (recipe.validate({"main": generator}, held_out) for _ in range(2))
    assert first == second
    assert tuple(first) == recipe.validation


def test_the_grid_has_a_row_per_class_and_the_same_z_down_a_column() -> None:
    recipe = recipe_of()
    generator = recipe.graphs(recipe.networks)["main"]
    with inputs_of(generator) as calls:
        grid = recipe.grid({"main": generator}, labelled_split(per_class=2, size=32))
    assert grid.rows == FACTS.classes
    assert grid.columns == tuple(f"seed {n}" for n in range(1, 9))
    assert grid.image.size == (8 * 32, 3 * 32)
    labels, z = (torch.cat(values) for values in zip(*calls, strict=True))
    assert labels.reshape(3, 8).tolist() == [[k] * 8 for k in range(3)]
    columns = z.reshape(3, 8, -1)
    assert torch.equal(columns[0], columns[1])
    assert not torch.equal(columns[:, 0], columns[:, 1])
    with torch.no_grad():
        (image,) = generator.eval()(torch.tensor([2]), z[7:8])
    cell = np.asarray(grid.image)[64:, 7 * 32 :, 0]
    assert np.abs((image[0, 0].numpy() + 1) * 127.5 - cell).max() <= 0.51


def test_of_many_classes_ten_are_shown() -> None:
    names = tuple(f"class {n}" for n in range(25))
    recipe = recipe_of(classes=names)
    grid = recipe.grid(recipe.graphs(recipe.networks), labelled_split(per_class=1, size=32, classes=25))
    assert grid.rows == tuple(f"class {n}" for n in (0, 2, 5, 7, 10, 12, 15, 17, 20, 22))


def test_examples_are_classes_that_occur() -> None:
    recipe = recipe_of(classes=tuple(map(str, range(12))))
    held_out = labelled_split(per_class=3, size=32, classes=9)
    labels = recipe.examples("main", held_out)["label"]
    assert labels.dtype == torch.int64
    assert labels.tolist() == list(range(8))


def test_random_labels_are_uniform_and_belong_to_their_position() -> None:
    labels = random_labels(10, 3, "label", range(5000))
    assert torch.bincount(labels, minlength=10).sub(500).abs().max() < 100  # 4.7 standard deviations
    assert torch.equal(random_labels(10, 3, "label", range(70, 80)), labels[70:80])
    assert not torch.equal(random_labels(10, 3, "label/D", range(100)), labels[:100])
