from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.kinds.base import Facts, Split
from cgan_trainer.evaluation import UNPAIRED_MEASURES, Figure, Judged, Subject, judge_unpaired, segmenter, unpaired
from cgan_trainer.evaluation.base import columns
from cgan_trainer.evaluation.unpaired import same_names
from cgan_trainer.generator import Generator
from cgan_trainer.palette import Palette
from torch import Tensor

SIDE = 16
BLOCKS = Palette(names=("ground", "red", "green"), colors=((0, 0, 0), (255, 0, 0), (0, 255, 0)))
LIKENESS = torch.tensor([[40, 60, 200], [200, 170, 60], [90, 20, 120]], dtype=torch.uint8)  # in photographs


@dataclass(frozen=True, kw_only=True)
class Domains(Facts):
    palette_a: Palette | None = None
    palette_b: Palette | None = None


class Function(Generator):
    """A function of pixels in -1..1 as a generator; with noise, a grain of that strength."""

    def __init__(self, function: Callable[[Tensor], Tensor], noise: float = 0, channels: int = 3) -> None:
        super().__init__()
        self.function, self.noise, self.channels = function, noise, channels

    @property
    def contract(self) -> Contract:
        shape = (self.channels, SIDE, SIDE)
        figures = (0.5,) * self.channels
        encoding = ImageEncoding(color="L" if self.channels == 1 else "RGB", mean=figures, std=figures)
        return Contract(
            conditions=(Condition(name="photo", shape=shape, range=(-1.0, 1.0), encoding=encoding),),
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=shape),) if self.noise else (),
            outputs=(Output(name="picture", shape=shape, range=(-1.0, 1.0), encoding=encoding),),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        made = self.function(inputs[0])
        return (made + self.noise * inputs[1] if self.noise else made,)


def noise_images(count: int, low: int, high: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (count, 3, SIDE, SIDE), generator=draws).to(torch.uint8)


def split(a: Tensor, b: Tensor, names: str = "{domain}{number}.png") -> Split:
    return Split(
        name="test",
        arrays={"a": a, "b": b},
        files={
            domain: tuple(
                names.format(domain=domain, upper=domain.upper(), number=number) for number in range(len(images))
            )
            for domain, images in (("a", a), ("b", b))
        },
        count=max(len(a), len(b)),
        sha256="0" * 64,
    )


def subject(forth: Generator, back: Generator | None, held_out: Split, cache: Path, **more: object) -> Subject:
    graphs = {"AtoB": forth.eval()} | ({} if back is None else {"BtoA": back.eval()})
    plain = Subject(
        graphs=graphs,
        facts=Domains(name="two"),
        held_out=held_out,
        train=None,
        most=None,
        seed=0,
        seeds=2,
        cache=cache,
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # any field


def figures(judged: Judged, name: str) -> dict[str, Figure]:
    return dict(next(row for row in judged.rows if row.name == name).figures)


@pytest.fixture(autouse=True)
def _without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """KID has tests of its own, with sets of any size; the feature net takes seconds."""

    def means(images: Tensor) -> Tensor:
        return images.float().mean(dim=(2, 3)).expand(-1, 3) / 127.5 - 1

    monkeypatch.setattr(unpaired, "embed", means)


@pytest.fixture
def dark_and_bright() -> Split:
    """Domain B is the negative of domain A, of other images and another number of them."""
    return split(noise_images(6, 0, 100, 0), 255 - noise_images(9, 0, 100, 1))


def negative(values: Tensor) -> Tensor:
    return -values


def same(values: Tensor) -> Tensor:
    return values


def test_inverse_maps_have_no_cycle_error_and_reach_the_other_domain(
    dark_and_bright: Split, tmp_path: Path
) -> None:
    judged = judge_unpaired(subject(Function(negative), Function(negative), dark_and_bright, tmp_path))
    assert [(row.name, row.role) for row in judged.rows] == [
        ("AtoB", "generator"),
        ("BtoA", "generator"),
        ("unchanged AtoB", "baseline"),
        ("unchanged BtoA", "baseline"),
        ("truth AtoB", "truth"),
        ("truth BtoA", "truth"),
    ]
    for way in ("AtoB", "BtoA"):
        made, unchanged, truth = (figures(judged, f"{prefix}{way}") for prefix in ("", "unchanged ", "truth "))
        assert made["cycle"].value == 0
        assert made["lab_l"].value > 0.9
        assert unchanged["lab_l"].value < 0.1
        assert truth["lab_l"].value == pytest.approx(1)
        assert abs(made["kid_efflite0"].value) < 50
        assert unchanged["kid_efflite0"].value > 500
        assert abs(truth["kid_efflite0"].value) < 50
        assert not {"cycle", "identity"} & (unchanged.keys() | truth.keys())
    assert set(judged.columns) == set(columns(UNPAIRED_MEASURES))


def test_cycle_and_identity_error_are_those_of_the_formulas(dark_and_bright: Split, tmp_path: Path) -> None:
    """G adds 10 levels and F takes 4 off: 6 are left of a round trip, whichever way."""
    forth, back = Function(lambda x: x + 10 / 127.5), Function(lambda x: x - 4 / 127.5)
    a, b = dark_and_bright.arrays["a"].clamp(20, 200), dark_and_bright.arrays["b"].clamp(20, 200)
    judged = judge_unpaired(subject(forth, back, split(a, b), tmp_path))
    for way, identity in (("AtoB", 10), ("BtoA", 4)):
        assert figures(judged, way)["cycle"].value == pytest.approx(6)
        assert figures(judged, way)["identity"].value == pytest.approx(identity)
    assert judged.files == (*(f"A/a{n}.png" for n in range(6)), *(f"B/b{n}.png" for n in range(9)))
    assert judged.each["cycle"] == pytest.approx((6,) * 15)
    # An image of A is of the target domain of BtoA.
    assert judged.each["identity"] == pytest.approx((4,) * 6 + (10,) * 9)


def test_a_generator_that_changes_nothing_is_the_baseline(dark_and_bright: Split, tmp_path: Path) -> None:
    judged = judge_unpaired(subject(Function(same), Function(same), dark_and_bright, tmp_path))
    made, unchanged = figures(judged, "AtoB"), figures(judged, "unchanged AtoB")
    assert made["cycle"].value == made["identity"].value == 0
    assert {key: made[key] for key in unchanged} == unchanged


def test_the_way_back_is_given_eight_bits(tmp_path: Path) -> None:
    """What is hidden below a grey level does not come back."""
    held_out = split(noise_images(3, 0, 256, 0), noise_images(3, 0, 256, 1))
    hides, finds = Function(lambda x: x / 1000), Function(lambda x: x * 1000)
    judged = judge_unpaired(subject(hides, finds, held_out, tmp_path))
    assert figures(judged, "AtoB")["cycle"].value > 50


def test_one_way_alone_is_judged_without_cycles(dark_and_bright: Split, tmp_path: Path) -> None:
    judged = judge_unpaired(subject(Function(negative), None, dark_and_bright, tmp_path, most=4))
    assert [row.name for row in judged.rows] == ["AtoB", "unchanged AtoB", "truth AtoB"]
    assert "cycle" not in figures(judged, "AtoB")
    assert judged.gallery.headings == ("input", "translated")
    assert all(len(exhibit.images) == 2 for exhibit in judged.gallery.exhibits)
    assert len(judged.gallery.exhibits) == 4
    assert any("4 of the 6 images of A and 4 of the 9 of B" in sentence for sentence in judged.notes)
    with pytest.raises(BadInputError, match="graphs main"):
        judge_unpaired(subject(Function(same), None, dark_and_bright, tmp_path, graphs={"main": Function(same)}))


def test_the_gallery_shows_both_ways_from_the_worst_to_the_best(dark_and_bright: Split, tmp_path: Path) -> None:
    judged = judge_unpaired(subject(Function(negative), Function(lambda x: x * 0), dark_and_bright, tmp_path))
    assert judged.gallery.headings == ("input", "translated", "translated back")
    shown = judged.gallery.exhibits
    assert [exhibit.caption[0] for exhibit in shown] == ["AtoB"] * 6 + ["BtoA"] * 6
    for part in (shown[:6], shown[6:]):
        errors = [float(exhibit.caption[1].removeprefix("cycle error ")) for exhibit in part]
        assert errors == sorted(errors, reverse=True)
    source = dark_and_bright.arrays["a"][int(shown[0].file[1])]
    assert torch.equal(shown[0].images[0], source)
    assert torch.equal(shown[0].images[1], 255 - source)


def test_noise_is_drawn_by_image_and_seed(dark_and_bright: Split, tmp_path: Path) -> None:
    def judge(**more: object) -> Judged:
        return judge_unpaired(
            subject(Function(negative, 0.1), Function(negative), dark_and_bright, tmp_path, **more)
        )

    first, again = judge(), judge()
    assert first.rows == again.rows
    assert figures(first, "AtoB")["seed_std"].value == pytest.approx(0.1 * 127.5, rel=0.3)
    assert "seed_std" not in figures(first, "BtoA")
    assert judge(seed=1).rows != first.rows


def test_grey_images_are_judged_beside_colour(tmp_path: Path) -> None:
    held_out = split(noise_images(4, 0, 256, 0)[:, :1], noise_images(4, 0, 256, 1))
    grey = Function(negative, channels=1)
    judged = judge_unpaired(subject(grey, grey, held_out, tmp_path))
    assert figures(judged, "AtoB")["cycle"].value == figures(judged, "BtoA")["cycle"].value == 0


def labelled_pairs(count: int, seed: int, names: str) -> Split:
    """Label maps of two blocks on ground, and photographs of them."""
    draws = torch.Generator().manual_seed(seed)
    classes = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    for one in classes:
        for index in (1, 2):
            top, left = torch.randint(0, SIDE - 8, (2,), generator=draws).tolist()
            one[top : top + 7, left : left + 7] = index
    maps = torch.tensor(BLOCKS.colors, dtype=torch.uint8)[classes].permute(0, 3, 1, 2)
    photos = LIKENESS[classes].permute(0, 3, 1, 2).int() + torch.randint(-9, 10, maps.shape, generator=draws)
    return split(maps, photos.clamp(0, 255).to(torch.uint8), names)


def painted(values: Tensor) -> Tensor:
    """Label maps to photographs without a grain: the perfect generator."""
    classes = BLOCKS.classes(((values + 1) * 127.5).round().to(torch.uint8))
    return (LIKENESS[classes].permute(0, 3, 1, 2).float() / 127.5) - 1


def read(values: Tensor) -> Tensor:
    """Photographs to label maps: the nearest likeness."""
    pixels = (values + 1) * 127.5
    nearest = (pixels[:, None] - LIKENESS[None, :, :, None, None]).square().sum(dim=2).argmin(dim=1)
    return torch.tensor(BLOCKS.colors)[nearest].permute(0, 3, 1, 2).float() / 127.5 - 1


@pytest.mark.parametrize("names", ["{number}.png", "{number}_{upper}.png"])
def test_labels_are_read_where_the_names_are_equal(
    names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmenter, "_STEPS", 60)
    monkeypatch.setattr(segmenter, "_BATCH", 8)
    monkeypatch.setattr(segmenter, "_WIDTHS", (16, 16, 16))
    held_out, train = labelled_pairs(5, 0, names), labelled_pairs(24, 1, names)
    facts = Domains(name="blocks", palette_a=BLOCKS)
    judged = judge_unpaired(
        subject(Function(painted), Function(read), held_out, tmp_path, facts=facts, train=train)
    )
    assert judged.available == 10  # 5 of each domain, whether they share their names or not
    back, truth_back = figures(judged, "BtoA"), figures(judged, "truth BtoA")
    assert back["fcn_pixel"].value == truth_back["fcn_iou"].value == 1
    made, unchanged, truth = (figures(judged, f"{prefix}AtoB") for prefix in ("", "unchanged ", "truth "))
    assert truth["fcn_pixel"].value > 0.8
    assert made["fcn_pixel"].value > truth["fcn_pixel"].value - 0.1
    assert made["fcn_iou"].value > unchanged["fcn_iou"].value
    # The round trip of label maps is exact; photographs are no label maps.
    assert made["cycle_pixel"].value == made["cycle_iou"].value == 1
    assert "cycle_pixel" not in back


def test_no_pairs_no_score_and_the_reason_is_given(tmp_path: Path) -> None:
    facts = Domains(name="blocks", palette_a=BLOCKS)
    apart = labelled_pairs(4, 0, "{domain}{number}.png")
    assert not same_names(apart)
    judged = judge_unpaired(subject(Function(painted), Function(read), apart, tmp_path, facts=facts))
    assert not any(key.startswith("fcn") for row in judged.rows for key in row.figures)
    assert sum("needs held-out pairs" in sentence for sentence in judged.notes) == 2
    together = labelled_pairs(4, 0, "{number}.png")
    judged = judge_unpaired(subject(Function(painted), Function(read), together, tmp_path, facts=facts))
    assert any(
        sentence.startswith("AtoB: ") and "to train the segmenter on" in sentence for sentence in judged.notes
    )
    assert figures(judged, "BtoA")["fcn_pixel"].value == 1
    half = judge_unpaired(subject(Function(same), Function(lambda x: x * 0 - 1), together, tmp_path, facts=facts))
    ground = (BLOCKS.classes(together.arrays["a"]) == 0).double().mean().item()
    assert figures(half, "BtoA")["fcn_pixel"].value == pytest.approx(ground)
