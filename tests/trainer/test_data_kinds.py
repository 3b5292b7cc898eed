"""The kinds of data: what a run is given, equal to the bit to what the functions of seeding.py say."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.kinds import DataKind, LabelledData, PairedData, Source, UnpairedData
from cgan_trainer.data.pairs import load_pairs, palette_of
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import augment, row_at, to_float
from PIL import Image

from tests.helpers import LABEL_COLORS
from tests.trainer.conftest import write_pairs

CPU = torch.device("cpu")
POSITIONS = (0, 5, 11, 12, 13, 100)


def write_domains(root: Path, a: int, b: int, *, size: int = 16) -> Path:
    """Image i of A is (i, 0, x), of B (x, 255, i): a pixel tells domain, index and column."""
    for side, count in (("A", a), ("B", b)):
        for split in ("train", "test"):
            folder = root / f"{split}{side}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.zeros((size, size, 3), dtype=np.uint8)
                pixels[..., 2 if side == "A" else 0] = np.arange(size) * (256 // size)
                pixels[..., 0 if side == "A" else 2] = index
                pixels[..., 1] = 255 * (side == "B")
                Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return root


def write_classes(root: Path, counts: dict[str, int], *, split: str = "train", size: int = 16) -> Path:
    """Image i of class k is grey, with its class and index in the first two pixels and a ramp below."""
    for number, (name, count) in enumerate(counts.items()):
        folder = root / split / name
        folder.mkdir(parents=True)
        for index in range(count):
            pixels = np.tile(np.arange(size, dtype=np.uint8) * 10, (size, 1))
            pixels[0, :2] = number, index
            Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return root


def told(image: torch.Tensor, channel: int) -> int:
    """The value 0..255 of the first pixel."""
    return int(torch.round((image[channel, 0, 0] + 1) * 127.5))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("condition", ["rgb", "grey", "labels"])
def test_a_pair_is_what_seeding_says_to_the_bit(
    labelled: Path, direction: Literal["AtoB", "BtoA"], condition: Literal["rgb", "grey", "labels"]
) -> None:
    for picture, jitter, mirror in itertools.product(("rgb", "grey"), (True, False), (True, False)):
        modes = (condition, picture) if direction == "AtoB" else (picture, condition)
        pairs = load_pairs(labelled, "train", 64, modes=modes)  # type: ignore[arg-type]  # product() forgets literals
        sides = (pairs.a, pairs.b) if direction == "AtoB" else (pairs.b, pairs.a)
        data = PairedData(
            64,
            condition=condition,
            picture=picture,  # type: ignore[arg-type]  # the same
            direction=direction,
            jitter=jitter,
            mirror=mirror,
        )
        split = data.load(labelled, "train")
        assert (split.sha256, split.count, split.files["target"]) == (pairs.sha256, 12, pairs.files)
        source = data.source(split, seed=3, device=CPU)
        for position in POSITIONS:
            row = row_at(3, position, 12)
            expected = augment(
                [to_float(side[row]) for side in sides],
                (condition != "labels", True),
                3,
                position,
                jitter=jitter,
                mirror=mirror,
            )
            given = source.row(position)
            assert list(given) == ["condition", "target"]
            for one, other in zip(given.values(), expected, strict=True):
                assert one.dtype == torch.float32
                assert torch.equal(one, other)


def test_the_facts_of_pairs_follow_the_direction(labelled: Path, pairs: Path) -> None:
    names = Palette(names=("ground", "red", "green"), colors=tuple((r, g, b) for r, g, b in LABEL_COLORS))
    there = PairedData(64, condition="labels").facts(labelled)
    assert (there.name, there.source, there.target, there.direction) == ("blocks", "labels", "photo", "AtoB")
    assert (there.palette, there.source_palette, there.target_palette) == (names, names, None)
    back = PairedData(64, direction="BtoA").facts(labelled)
    assert (back.source, back.target, back.palette) == ("photo", "labels", None)
    assert (back.source_palette, back.target_palette) == (None, names)
    assert PairedData(64).facts(pairs).source == "A"


def test_a_palette_that_nobody_names_is_that_of_the_training_pixels(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(labelled / "train")
    data = PairedData(64, condition="labels")
    assert data.facts(tmp_path / "data").palette is None
    train = data.load(tmp_path / "data", "train")
    facts = data.facts(tmp_path / "data", train)
    assert facts.palette == palette_of(train.arrays["condition"], "A")
    assert facts.source_palette is None
    assert PairedData(64).facts(tmp_path / "data", train).palette is None  # not asked for as labels


def kinds(root: Path) -> list[tuple[DataKind, Path]]:  # type: ignore[type-arg]  # of any facts
    write_pairs(root / "paired" / "train", 5, size=16)
    write_pairs(root / "paired" / "test", 2, size=16)
    write_classes(root / "labelled", {"cat": 3, "dog": 2})
    write_classes(root / "labelled", {"cat": 1, "dog": 1}, split="test")
    write_domains(root / "unpaired", 3, 5)
    return [
        (PairedData(16), root / "paired"),
        (LabelledData(16), root / "labelled"),
        (UnpairedData(16), root / "unpaired"),
    ]


def rows(source: Source, positions: range) -> list[dict[str, torch.Tensor]]:
    return [source.row(position) for position in positions]


def test_every_kind_keeps_the_laws_of_a_source(tmp_path: Path) -> None:
    for data, root in kinds(tmp_path):
        assert data.has(root, "train")
        assert not data.has(root, "val")
        assert data.held_out(root) == "test"
        split = data.load(root, "train")
        assert len(split) == split.count == data.count(root, "train") == 5
        assert {name: len(files) for name, files in split.files.items()} == {
            name: len(array) for name, array in split.arrays.items()
        }
        source = data.source(split, seed=7, device=CPU)
        assert len(source) == 5
        forward = rows(source, range(12))
        again = data.source(data.load(root, "train"), seed=7, device=CPU)
        backward = rows(again, range(11, -1, -1))[::-1]  # in whatever order it is asked
        for one, other in zip(forward, backward, strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
        other_seed = rows(data.source(split, seed=8, device=CPU), range(12))
        assert any(
            not torch.equal(one[name], other[name])
            for one, other in zip(forward, other_seed, strict=True)
            for name in one
        )


def test_the_digest_follows_names_values_and_size_but_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for (data, root), (_, copy) in zip(kinds(tmp_path / "here"), kinds(tmp_path / "elsewhere"), strict=True):
        digest = data.load(root, "train").sha256
        assert data.load(copy, "train").sha256 == digest
        assert type(data)(32).load(root, "train").sha256 != digest  # type: ignore[call-arg]  # they take a size
        path = next((copy / ("trainA" if data.kind == "unpaired" else "train")).rglob("*.png"))
        pixels = np.asarray(Image.open(path)).copy()
        pixels[-1, -1] ^= 1
        Image.fromarray(pixels).save(path)
        assert data.load(copy, "train").sha256 != digest


def test_every_label_stays_with_its_image(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"cat": 7, "dog": 3, "eel": 2})
    (root / "train" / "cat" / "03.png").write_bytes(b"?")  # rows after it move up together
    data = LabelledData(16)
    split = data.load(root, "train")
    assert (split.skipped, len(split)) == (("cat/03.png",), 11)
    assert torch.bincount(split.arrays["label"]).tolist() == [6, 3, 2]
    assert split.arrays["label"].dtype == torch.int64
    assert torch.equal(split.arrays["image"][:, 0, 0, 0].to(torch.int64), split.arrays["label"])
    source = data.source(split, seed=0, device=CPU)
    epochs = [source.row(position) for position in range(22)]
    for given in epochs:
        assert (given["label"].shape, given["label"].dtype) == ((), torch.int64)
        assert told(given["image"], 0) == int(given["label"])
    for epoch in (epochs[:11], epochs[11:]):
        assert sorted(int(given["label"]) for given in epoch) == [0] * 6 + [1] * 3 + [2] * 2
    assert [int(given["label"]) for given in epochs] == [
        int(split.arrays["label"][row_at(0, position, 11)]) for position in range(22)
    ]
    with pytest.raises(BadInputError, match=r"03\.png is not an image"):
        data.load(root, "train", strict=True)


def test_values_and_mode_of_labelled_images_are_as_asked(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"cat": 40})
    plain, half, colored = (
        [data.source(data.load(root, "train"), seed=0, device=CPU).row(n)["image"] for n in range(40)]
        for data in (
            LabelledData(16),
            LabelledData(16, values="0..1"),
            LabelledData(16, mode="rgb"),
        )
    )
    for one, other, color in zip(plain, half, colored, strict=True):
        assert torch.allclose(other, (one + 1) / 2, atol=1e-6)
        assert float(other.min()) == 0.0
        assert float(other.max()) == pytest.approx(150 / 255)
        assert torch.equal(color, one.expand(3, 16, 16))


def test_two_domains_meet_by_chance_and_a_comes_once_each_time_round(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 3, 8)
    data = UnpairedData(16, jitter=False, mirror=False)
    split = data.load(root, "train")
    assert {name: len(array) for name, array in split.arrays.items()} == {"a": 3, "b": 8}
    assert len(split) == 8
    source = data.source(split, seed=0, device=CPU)
    met = []
    for position in range(240):
        given = source.row(position)
        assert (told(given["a"], 1), told(given["b"], 1)) == (0, 255)
        met.append((told(given["a"], 0), told(given["b"], 2)))
    for begin in range(0, 240, 3):
        assert {a for a, _ in met[begin : begin + 3]} == {0, 1, 2}
    orders = {tuple(a for a, _ in met[begin : begin + 3]) for begin in range(0, 240, 3)}
    assert len(orders) == 6  # a fresh permutation each time round
    assert len(set(met)) == 24  # each with each
    counts = np.bincount([b for _, b in met], minlength=8)
    assert counts.min() > 10  # 30 expected of each, deviation 5
    # Drawn, not taken in turn: of 30 rounds of 8 draws hardly one meets all 8 (probability 0.0024).
    assert sum(len({b for _, b in met[begin : begin + 8]}) == 8 for begin in range(0, 240, 8)) <= 2


def test_two_domains_are_cut_and_mirrored_each_on_its_own(tmp_path: Path) -> None:
    root = write_domains(tmp_path, 1, 1, size=64)
    for data in (UnpairedData(64, jitter=False), UnpairedData(64, mirror=False)):
        plain = UnpairedData(64, jitter=False, mirror=False)
        source, fixed = (kind.source(kind.load(root, "train"), seed=0, device=CPU) for kind in (data, plain))
        same: dict[str, list[bool]] = {"a": [], "b": []}
        for position in range(64):
            given, expected = source.row(position), fixed.row(position)
            for side in "ab":
                same[side].append(torch.equal(given[side], expected[side]))
        if not data.jitter:  # mirrored or not: as often as a coin falls, and not together
            assert all(16 <= sum(values) <= 48 for values in same.values())
            agree = sum(one == other for one, other in zip(same["a"], same["b"], strict=True))
            assert 16 <= agree <= 48
        else:
            assert not any(same["a"])
            # Both domains have the same ramp from left to right: its first value tells where the cut begins.
            cuts = [(told(row["a"], 2), told(row["b"], 0)) for row in map(source.row, range(64))]
            assert all(len({cut[side] for cut in cuts}) >= 6 for side in (0, 1))  # of 8 places
            assert sum(a == b for a, b in cuts) <= 24  # 8 expected by chance


def test_the_facts_of_labelled_and_unpaired_data(tmp_path: Path) -> None:
    write_classes(tmp_path / "animals", {"cat": 1, "dog": 1})
    assert LabelledData(16).facts(tmp_path / "animals").classes == ("cat", "dog")
    write_domains(tmp_path / "places", 1, 1)
    facts = UnpairedData(16).facts(tmp_path / "places")
    assert (facts.name, facts.a, facts.b, facts.palette_a) == ("places", "A", "B", None)
    (tmp_path / "places" / "dataset.json").write_text(
        '{"name": "x", "kind": "unpaired", "domains": {"A": "map", "B": "photo"}, '
        '"palettes": {"A": {"names": ["sea"], "colors": [[0, 0, 255]]}}}'
    )
    facts = UnpairedData(16).facts(tmp_path / "places")
    assert (facts.name, facts.a, facts.b) == ("x", "map", "photo")
    assert facts.palette_a == Palette(names=("sea",), colors=((0, 0, 255),))


def test_label_maps_of_a_domain_are_judged_in_their_own_colours(tmp_path: Path) -> None:
    colors = np.array([[0, 0, 255], [255, 0, 0]], dtype=np.uint8)
    draws = np.random.default_rng(0)
    for folder in ("trainA", "trainB"):
        (tmp_path / folder).mkdir()
        Image.fromarray(colors[draws.integers(0, 2, (40, 40))]).save(tmp_path / folder / "0.png")
    (tmp_path / "dataset.json").write_text(
        '{"name": "x", "palettes": {"A": {"names": ["sea", "land"], "colors": [[0, 0, 255], [255, 0, 0]]}}}'
    )
    data = UnpairedData(16)
    for kind, blended in ((data, True), (data.for_judging(tmp_path), False)):
        arrays = kind.load(tmp_path, "train").arrays
        seen = {name: {tuple(color) for color in arrays[name][0].flatten(1).T.tolist()} for name in ("a", "b")}
        assert (len(seen["a"]) > 2) == blended
        assert len(seen["b"]) > 2  # photographs, as far as anybody said
    assert seen["a"] == {(0, 0, 255), (255, 0, 0)}


def test_trees_of_equal_names_are_two_domains_too(tmp_path: Path) -> None:
    for side in "AB":
        write_pairs(tmp_path / side / "train", 3, size=16)
    split = UnpairedData(16).load(tmp_path, "train")
    assert split.files == {"a": ("000.png", "001.png", "002.png"), "b": ("000.png", "001.png", "002.png")}
    expected = np.asarray(open_rgb(tmp_path / "A" / "train" / "001.png").resize((16, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(split.arrays["a"][1].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("trainB empty", r"trainB holds no images: the images of domain B are needed there, as PNG"),
        ("trainB absent", r"has testA/ and testB/ but no .*trainB: put the images of domain B there"),
        ("all broken", r"none of the 2 images can be used; the first: .*trainB"),
        ("no test", r"has no held-out images of both domains: put some into .*testA and .*testB"),
    ],
)
def test_domains_that_cannot_be_used_are_one_sentence(tmp_path: Path, case: str, expected: str) -> None:
    root = write_domains(tmp_path, 2, 2)
    for path in (root / "trainB").iterdir():
        if case == "all broken":
            path.write_bytes(b"?")
        elif case.startswith("trainB"):
            path.unlink()
    if case == "trainB absent":
        (root / "trainB").rmdir()
    if case == "no test":
        for folder in ("testA", "testB"):
            (root / folder).rename(root / f"other{folder}")
    with pytest.raises(BadInputError, match=expected) as refused:
        UnpairedData(16).held_out(root) if case == "no test" else UnpairedData(16).load(root, "train")
    assert "\n" not in str(refused.value)
