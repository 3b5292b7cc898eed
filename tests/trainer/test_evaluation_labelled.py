from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding, NoiseInput, Output
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_trainer.data.kinds.base import Facts, Split
from cgan_trainer.evaluation import LABELLED_MEASURES, Judged, Subject, classifier, frechet, judge_labelled, measure
from cgan_trainer.evaluation.base import Figure, columns
from cgan_trainer.evaluation.by_class import ByClass, Density, Reading
from cgan_trainer.evaluation.frechet import frechet_of_features, frechet_of_gaussians
from cgan_trainer.evaluation.parzen import SIGMAS, log_likelihoods
from cgan_trainer.evaluation.within_class import feature_distance, pixel_deviation
from cgan_trainer.generator import Generator
from torch import Tensor

NAMES = ("top", "middle", "bottom")
SIDE = 12


@dataclass(frozen=True, kw_only=True)
class Named(Facts):
    classes: tuple[str, ...] = NAMES


def bars(labels: Tensor, seed: int) -> Tensor:
    """A bright bar at the height of the class, its brightness and the background random."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 60, (len(labels), 1, SIDE, SIDE), generator=draws)
    level = torch.randint(150, 256, (len(labels),), generator=draws)
    for image, label, value in zip(images, labels, level, strict=True):
        image[0, 4 * label + 1 : 4 * label + 3] = value
    return images.to(torch.uint8)


def split(name: str, count: int, seed: int) -> Split:
    labels = torch.arange(count) % len(NAMES)
    return Split(
        name=name,
        arrays={"image": bars(labels, seed), "label": labels},
        files={"image": tuple(map(str, range(count)))},
        count=count,
        sha256=f"{name}{count}{seed}",
    )


class Bars(Generator):
    """Makes bars; `wanted` turns a label and z in 0..1 into (class of the bar, seed of the image)."""

    def __init__(
        self, wanted: Callable[[int, float], tuple[int, int]], names: tuple[str, ...] = NAMES, side: int = SIDE
    ) -> None:
        super().__init__()
        self.wanted, self.names, self.side = wanted, names, side

    @property
    def contract(self) -> Contract:
        grey = ImageEncoding(color="L", mean=(0.0,), std=(1.0,))
        return Contract(
            conditions=(
                Condition(name="digit", shape=(), dtype="int64", encoding=LabelEncoding(names=self.names)),
            ),
            noise=(NoiseInput(name="z", index=0, distribution="uniform01", shape=(1,)),),
            outputs=(Output(name="picture", shape=(1, self.side, self.side), range=(0.0, 1.0), encoding=grey),),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        label, z = inputs
        made = [self.wanted(int(one), float(u)) for one, u in zip(label, z, strict=True)]
        return (torch.cat([bars(torch.tensor([index]), seed) for index, seed in made]) / 255,)


def perfect(label: int, z: float) -> tuple[int, int]:
    return label, int(z * 1e9)


def ignores(label: int, z: float) -> tuple[int, int]:
    del label
    return int(z * 3), int(z * 1e9)


def collapses(label: int, z: float) -> tuple[int, int]:
    del z
    return label, 0


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "_STEPS", 40)
    monkeypatch.setattr(classifier, "_BATCH", 24)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def subject(generator: Generator, cache: Path, **more: object) -> Subject:
    plain = Subject(
        graphs={"main": generator.eval()},
        facts=Named(name="bars"),
        held_out=split("test", 120, 1),
        train=split("train", 150, 0),
        most=120,
        seed=0,
        seeds=None,
        cache=cache,
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # any field


def figures(judged: Judged, name: str) -> dict[str, Figure]:
    return dict(next(row for row in judged.rows if row.name == name).figures)


@pytest.mark.slow
def test_a_perfect_generator_is_the_truth(cache: Path) -> None:
    judged = judge_labelled(subject(Bars(perfect), cache, most=600, held_out=split("test", 600, 1)))
    assert [(row.name, row.role) for row in judged.rows] == [
        ("generator", "generator"),
        ("class mean", "baseline"),
        ("truth", "truth"),
    ]
    made, mean, truth = (figures(judged, name) for name in ("generator", "class mean", "truth"))
    assert truth["accuracy"].value > 0.97  # chance is a third
    assert made["accuracy"].value == pytest.approx(truth["accuracy"].value, abs=0.03)
    # Both are distances between samples of one distribution, of equal size.
    assert made["fd_classifier"].value == pytest.approx(truth["fd_classifier"].value, rel=0.6)
    assert mean["fd_classifier"].value > 5 * truth["fd_classifier"].value
    for key in ("class_std", "class_distance"):
        assert made[key].value == pytest.approx(truth[key].value, rel=0.15)
        assert mean[key].value == 0
    assert made["parzen"].value == pytest.approx(truth["parzen"].value, rel=0.1)
    assert mean["parzen"].value != made["parzen"].value


def test_figure_and_floor_of_the_distance_are_taken_over_equally_many_images(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def sized(x: Tensor, y: Tensor) -> float:
        sizes.append((len(x), len(y)))
        return frechet_of_features(x, y)

    monkeypatch.setattr(frechet, "frechet_of_features", sized)
    judge_labelled(subject(Bars(perfect), cache, most=36))  # 12 of a class; held out are 40
    assert set(sizes) == {(18, 18)}
    assert len(sizes) == 3 * 10


@pytest.mark.slow
def test_a_generator_that_ignores_its_label_is_right_by_chance(cache: Path) -> None:
    made = figures(judge_labelled(subject(Bars(ignores), cache, most=360)), "generator")
    assert made["accuracy"].value == pytest.approx(1 / 3, abs=3 * math.sqrt(1 / 3 * 2 / 3 / 360))
    assert made["accuracy_worst"].value <= made["accuracy"].value
    # As a whole its images are real ones: the distance does not see the labels.
    assert (
        made["fd_classifier"].value
        < 1.5 * figures(judge_labelled(subject(Bars(perfect), cache)), "class mean")["fd_classifier"].value
    )


def test_a_generator_that_collapses_has_no_diversity(cache: Path) -> None:
    judged = judge_labelled(subject(Bars(collapses), cache))
    made, truth = figures(judged, "generator"), figures(judged, "truth")
    assert made["accuracy"].value > 0.9
    assert made["class_std"].value == made["class_distance"].value == 0
    assert made["fd_classifier"].value > 3 * truth["fd_classifier"].value


def test_the_gallery_is_the_class_grid_and_every_image_has_a_name(cache: Path) -> None:
    judged = judge_labelled(subject(Bars(perfect), cache, most=36))
    assert [exhibit.caption[0] for exhibit in judged.gallery.exhibits] == list(NAMES)
    assert judged.gallery.headings == (*(f"seed {number + 1}" for number in range(8)), "real")
    assert all(len(exhibit.images) == 9 for exhibit in judged.gallery.exhibits)
    assert len(judged.files) == len(judged.each["accuracy"]) == 36
    assert judged.files[:2] == ("top/0", "top/1")
    assert judged.seeds == 12  # what was drawn for each class is what evaluation.json says
    for exhibit, label in zip(judged.gallery.exhibits, range(3), strict=True):
        right = judged.each["accuracy"][12 * label : 12 * label + 12]
        assert exhibit.caption[1] == f"{sum(right):.0f} of 12 read as it"
        for image in exhibit.images:
            rows = image[0].double().mean(dim=1)
            assert int(rows.argmax()) in (4 * label + 1, 4 * label + 2)
    assert any("36 images of each row as centres (12 per class; Mirza" in sentence for sentence in judged.notes)
    assert set(judged.columns) == set(columns(LABELLED_MEASURES))


def test_the_same_subject_gives_the_same_figures_and_more_images_keep_the_first(cache: Path) -> None:
    first, again = (judge_labelled(subject(Bars(perfect), cache, most=24)) for _ in range(2))
    assert first.rows == again.rows
    more = judge_labelled(subject(Bars(perfect), cache, most=36))
    for few, many in zip(first.gallery.exhibits, more.gallery.exhibits, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(few.images[:8], many.images[:8], strict=True))
    other = judge_labelled(subject(Bars(perfect), cache, most=24, seed=1))
    assert not torch.equal(other.gallery.exhibits[0].images[0], first.gallery.exhibits[0].images[0])


def test_classes_are_matched_by_name(cache: Path) -> None:
    turned = NAMES[::-1]
    made = judge_labelled(subject(Bars(lambda label, z: (2 - label, int(z * 1e9)), turned), cache, most=60))
    assert figures(made, "generator")["accuracy"].value > 0.9
    foreign = judge_labelled(subject(Bars(perfect, ("0", "1", "2")), cache, most=60))
    assert figures(foreign, "generator")["accuracy"].value > 0.9
    assert any("names of its own" in sentence for sentence in foreign.notes)


def test_what_does_not_fit_is_one_sentence(cache: Path) -> None:
    with pytest.raises(BadInputError, match=r"knows 2 classes .* has 3"):
        judge_labelled(subject(Bars(perfect, ("a", "b")), cache))
    with pytest.raises(BadInputError, match="16x16 pixels, but the data was read at 12x12"):
        judge_labelled(subject(Bars(perfect, side=16), cache))
    with pytest.raises(UsageError, match=r"--seeds cannot be used .* --images"):
        judge_labelled(subject(Bars(perfect), cache, seeds=3))
    with pytest.raises(BadInputError, match="no classes"):
        judge_labelled(subject(Bars(perfect), cache, facts=Facts(name="plain")))

    class Broken(Bars):
        def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            return (torch.full((len(inputs[0]), 1, SIDE, SIDE), math.nan),)

    with pytest.raises(CganError, match="not finite"):
        judge_labelled(subject(Broken(perfect), cache))


def test_without_training_images_the_reason_is_given(cache: Path) -> None:
    judged = judge_labelled(subject(Bars(perfect), cache, train=None, most=60))
    assert [row.name for row in judged.rows] == ["generator", "truth"]
    assert set(figures(judged, "generator")) == {"parzen", "parzen_sigma"}
    assert figures(judged, "truth") == {}
    assert any("no training images" in sentence for sentence in judged.notes)
    assert judged.each == {}


@pytest.mark.slow
def test_the_classifier_is_trained_once_and_again_where_the_file_is_damaged(tmp_path: Path) -> None:
    train = split("train", 60, 0).arrays
    held_out = split("test", 12, 1).arrays["image"]

    def read() -> Reading:
        return classifier.trained_classifier(train["image"], train["label"], 3, "x", tmp_path).read(held_out)

    first = read()
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    assert torch.equal(first.features, read().features)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(b"damaged")
    assert torch.equal(first.features, read().features)
    file.write_bytes(file.read_bytes()[:-100])
    assert torch.equal(first.features, read().features)
    other = classifier.trained_classifier(train["image"], train["label"], 4, "x", tmp_path)
    assert other.head.out_features == 4
    assert len(list(tmp_path.iterdir())) == 2


def test_the_distance_of_gaussians_is_that_of_the_closed_form() -> None:
    # Diagonal covariances commute: |m - n|^2 + sum (sqrt(s) - sqrt(t))^2.
    m, n = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([0.0, 4.0, 3.5]).double()
    s, t = torch.tensor([4.0, 1.0, 0.0]).double(), torch.tensor([9.0, 0.25, 2.0]).double()
    expected = 1 + 4 + 0.25 + 1 + 0.25 + 2
    assert frechet_of_gaussians(m, s.diag(), n, t.diag()) == pytest.approx(expected)
    assert frechet_of_gaussians(m, s.diag(), m, s.diag()) == pytest.approx(0, abs=1e-12)


def test_the_distance_of_features_is_that_of_numpys_covariances_and_eigenvalues() -> None:
    draws = np.random.default_rng(0)
    x, y = draws.normal(size=(50, 6)) @ draws.normal(size=(6, 6)), draws.normal(size=(40, 6)) + 0.3
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(cov_x @ cov_y).real).sum()  # the trace of (S T)^1/2
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y) - 2 * root
    assert frechet_of_features(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, rel=1e-9)
    few = torch.from_numpy(x[:4])  # fewer rows than features: the covariance has no full rank
    assert frechet_of_features(few, few) == pytest.approx(0, abs=1e-6)


def test_the_likelihood_in_one_dimension_is_that_of_the_formula() -> None:
    centres, points = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[0.0], [0.5], [7.0]]).double()
    found = log_likelihoods(points, centres, 0.3)
    for point, value in zip(points, found, strict=True):
        density = (
            sum(math.exp(-((point - c) ** 2) / (2 * 0.09)) for c in (0, 1)) / 2 / math.sqrt(2 * math.pi * 0.09)
        )
        assert value.item() == pytest.approx(math.log(density), rel=1e-9)


def test_the_likelihood_is_that_of_a_mixture_and_integrates_to_one() -> None:
    draws = np.random.default_rng(0)
    centres, points = draws.uniform(size=(300, 3)), draws.uniform(size=(600, 3))
    squares = ((points[:, None] - centres) ** 2).sum(axis=2)
    expected = np.log(np.exp(-squares / (2 * 0.2**2)).mean(axis=1) / (2 * np.pi * 0.2**2) ** 1.5)
    found = log_likelihoods(torch.from_numpy(points), torch.from_numpy(centres), 0.2)
    assert np.abs(found.numpy() - expected).max() < 1e-9
    line = torch.linspace(-4, 5, 3001, dtype=torch.float64)[:, None]
    area = log_likelihoods(line, torch.from_numpy(centres[:, :1]), 0.2).exp().sum() * (line[1] - line[0])
    assert area.item() == pytest.approx(1, abs=1e-6)


def test_the_width_of_the_window_is_the_best_on_the_validation_images() -> None:
    draws = torch.Generator().manual_seed(0)
    images = (torch.rand(90, 1, 4, 4, generator=draws) * 255).to(torch.uint8)
    near = images[:30].double() + 38 * torch.randn(30, 1, 4, 4, generator=draws)  # 0.15 of the range
    images[30:60] = near.round().clamp(0, 255).to(torch.uint8)
    density = Density(centres=images[:30], validation=images[30:60], test=images[60:])
    blank = torch.zeros(30, dtype=torch.int64)
    found = measure(
        LABELLED_MEASURES,
        ByClass(
            images=images[:30],
            labels=blank,
            reading=None,
            real_labels=blank,
            real=None,
            density=density,
            per_class=30,
        ),
    )
    parts = (images[:30], images[30:60], images[60:])
    centres, validation, test = (part.flatten(1).double() / 255 for part in parts)
    scores = [log_likelihoods(validation, centres, sigma).mean().item() for sigma in SIGMAS]
    assert found["parzen_sigma"].value == SIGMAS[int(np.argmax(scores))]
    assert 0 < int(np.argmax(scores)) < len(SIGMAS) - 1
    on_test = [log_likelihoods(test, centres, sigma).mean().item() for sigma in SIGMAS]
    assert np.argmax(on_test) > np.argmax(scores)  # the width is no choice of the images that are reported
    each = log_likelihoods(test, centres, found["parzen_sigma"].value)
    assert found["parzen"].value == pytest.approx(each.mean().item())
    assert found["parzen"].spread == pytest.approx(np.std(each.numpy(), ddof=1) / math.sqrt(30))
    assert list(SIGMAS) == pytest.approx(list(np.logspace(-1, 0, 10)))


def test_diversity_within_a_class_is_that_of_numpy() -> None:
    images, features = bars(torch.zeros(7, dtype=torch.int64), 3), torch.randn(7, 5)
    values = images.numpy().astype(float)
    assert pixel_deviation(images) == pytest.approx(values.std(axis=0, ddof=1).mean())
    pairs = [np.linalg.norm(features[i].numpy() - features[j].numpy()) for i in range(7) for j in range(i)]
    assert feature_distance(features) == pytest.approx(np.mean(pairs), rel=1e-6)
