"""What `cgan-data verify` says of labelled images and of two domains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.errors import BadInputError
from cgan_trainer.cli.data import main
from cgan_trainer.configs.base import check_config
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.data.layouts.recognise import COMMANDS
from cgan_trainer.data.verify import Check, Verdict, verify
from PIL import Image

from tests.trainer.conftest import write_pairs
from tests.trainer.test_data_labelled import write_idx

LABELLED = ("held-out images", "readable", "classes", "no leak", "labels", "content", "brightness")
UNPAIRED = ("held-out images", "readable", "no leak", "two domains", "content", "brightness")


def write_images(folder: Path, count: int, *, seed: int, size: int = 32) -> None:
    folder.mkdir(parents=True)
    draws = np.random.default_rng(seed)
    for index in range(count):
        Image.fromarray(draws.integers(0, 256, (size, size), dtype=np.uint8)).save(folder / f"{index}.png")


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Class folders: 8 + 2 cats, 6 + 2 dogs, all different."""
    root = tmp_path / "animals"
    for seed, (place, count) in enumerate((("train/cat", 8), ("train/dog", 6), ("test/cat", 2), ("test/dog", 2))):
        write_images(root / place, count, seed=seed)
    return root


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Two domains: 6 + 2 of A, 4 + 2 of B, all different."""
    root = tmp_path / "places"
    for seed, (place, count) in enumerate((("trainA", 6), ("trainB", 4), ("testA", 2), ("testB", 2))):
        write_images(root / place, count, seed=seed, size=256)
    return root


def failed(verdict: Verdict) -> dict[str, Check]:
    assert tuple(check.name for check in verdict.checks) == (LABELLED if verdict.kind == "labelled" else UNPAIRED)
    return {check.name: check for check in verdict.checks if not check.ok}


def test_sound_labelled_images_pass_every_check(animals: Path) -> None:
    verdict = verify(animals)
    assert failed(verdict) == {}
    assert (verdict.kind, verdict.unit, verdict.size) == ("labelled", "images", 32)
    assert verdict.layout == "class folders (train/ with 2 class folders)"
    assert verdict.splits == {"train": 14, "test": 4}
    assert verdict.classes == {"cat": {"train": 8, "test": 2}, "dog": {"train": 6, "test": 2}}
    assert verdict.sides == {"images": {"sizes": {"32x32": 18}, "formats": {"PNG L": 18}}}
    assert verdict.hints == ("the images are grey.",)
    assert verdict.decoded_bytes == 18 * 32 * 32
    assert verdict.command == f"{COMMANDS['labelled']} --data {animals} --out runs/animals"
    assert verify(animals, 64).command == f"cgan-train cgan --data {animals} --out runs/animals --size 64"
    Image.new("RGB", (32, 32), (9, 99, 199)).save(animals / "train" / "cat" / "colour.png")
    assert " --size 128 " in verify(animals, 256).command
    for size, train_options in ((32, CdcganConfig(mode="rgb")), (48, CganConfig(mode="rgb", size=48))):
        words = verify(animals, size).command.split()
        assert words[:2] == ["cgan-train", train_options.family]
        assert words[-2:] == ["--mode", "rgb"]
        check_config(train_options)


def test_idx_files_are_looked_at_as_files_are(tmp_path: Path) -> None:
    verdict = verify(write_idx(tmp_path / "data"), 16)
    assert verdict.layout == "IDX files (train-images-idx3-ubyte)"
    assert verdict.classes["2"] == {"train": 3}
    assert verdict.sides["images"] == {"sizes": {"16x16": 8}, "formats": {"IDX": 8}}
    # The class 2 is never held out, and the test images are the first ones of train.
    assert failed(verdict)["classes"].named == ("2 has no image in test",)
    assert "no leak" in failed(verdict)


@pytest.mark.parametrize(
    ("case", "check", "named"),
    [
        ("broken", "readable", "cat/0.png is not an image"),
        ("class only in test", "classes", "eel has no image in train"),
        ("class only in train", "classes", "dog has no image in test"),
        ("leak", "no leak", "test/dog/1.png is the same as train/cat/0.png"),
        ("two labels", "labels", "train/dog/0.png and train/cat/0.png: dog and cat"),
        ("empty", "content", "train/cat/0.png"),
        ("no test", "held-out images", ""),
    ],
)
def test_what_is_wrong_with_labelled_images_is_named(animals: Path, case: str, check: str, named: str) -> None:
    cat = animals / "train" / "cat" / "0.png"
    if case == "broken":
        cat.write_bytes(b"?")
    elif case == "class only in test":
        write_images(animals / "test" / "eel", 1, seed=9)
        (animals / "dataset.json").write_text('{"name": "x", "classes": ["cat", "dog", "eel"]}')
    elif case == "class only in train":
        shutil.rmtree(animals / "test" / "dog")
    elif case == "leak":
        shutil.copy(cat, animals / "test" / "dog" / "1.png")
    elif case == "two labels":
        shutil.copy(cat, animals / "train" / "dog" / "0.png")
    elif case == "empty":
        for index in range(3):
            Image.new("L", (32, 32), index).save(cat.with_name(f"{index}.png"))
    else:
        shutil.rmtree(animals / "test")
    found = failed(verify(animals))
    assert check in found
    assert named in "".join(found[check].named)
    assert set(found) <= {check, "labels"}  # a leak between classes is two labels as well


def test_a_split_that_cannot_be_used_fails_though_another_can(animals: Path) -> None:
    write_images(animals / "val" / "eel", 1, seed=9)
    sentence = failed(verify(animals))["held-out images"].sentence
    assert sentence.startswith(f"validation will use test, but {animals / 'val' / 'eel'} is a class that train/")


def test_a_class_with_few_images_is_a_hint(animals: Path) -> None:
    write_images(animals / "train" / "cat" / "more", 60, seed=7)
    assert "cat has 68 train images, but dog only 6." in verify(animals).hints


def test_sound_domains_pass_every_check(places: Path) -> None:
    verdict = verify(places)
    assert failed(verdict) == {}
    assert (verdict.kind, verdict.size) == ("unpaired", 256)
    assert verdict.layout == "two domains (trainA/ and trainB/)"
    assert verdict.splits == {"trainA": 6, "trainB": 4, "testA": 2, "testB": 2}
    assert verdict.sides["B"] == {"sizes": {"256x256": 6}, "formats": {"PNG L": 6}}
    assert verdict.hints == ("A is grey.", "B is grey.")
    assert verdict.command == f"{COMMANDS['unpaired']} --data {places} --out runs/places"


@pytest.mark.parametrize(
    ("case", "check", "named"),
    [
        ("broken", "readable", "trainA/0.png is not an image"),
        ("leak", "no leak", "testA/0.png is the same as trainA/0.png"),
        ("both", "two domains", "trainB/0.png is the same as trainA/0.png"),
        ("empty", "content", "trainA/0.png"),
        ("no testB", "held-out images", ""),
        ("testB empty", "held-out images", ""),
    ],
)
def test_what_is_wrong_with_two_domains_is_named(places: Path, case: str, check: str, named: str) -> None:
    first = places / "trainA" / "0.png"
    if case == "broken":
        first.write_bytes(b"?")
    elif case == "leak":
        shutil.copy(first, places / "testA" / "0.png")
    elif case == "both":
        shutil.copy(first, places / "trainB" / "0.png")
    elif case == "empty":
        for index in range(2):
            Image.new("L", (256, 256), index).save(first.with_name(f"{index}.png"))
    else:
        shutil.rmtree(places / "testB")
        if case == "testB empty":
            (places / "testB").mkdir()
    found = failed(verify(places))
    assert set(found) == {check}
    assert named in "".join(found[check].named)


def test_the_kind_is_told_by_the_names_or_by_the_user(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_pairs(tmp_path / "train" / folder, 2)
        write_pairs(tmp_path / "val" / folder, 1, seed=5)
    assert verify(tmp_path).kind == "paired"
    told = verify(tmp_path, kind="labelled")
    assert (told.kind, list(told.classes)) == ("labelled", ["a", "b"])
    for side in "AB":
        write_images(tmp_path / "trees" / side / "train", 2, seed=ord(side))
    assert verify(tmp_path / "trees", 32).kind == "paired"
    for path in (tmp_path / "trees" / "A" / "train").iterdir():
        path.rename(path.with_name(f"other{path.name}"))
    assert verify(tmp_path / "trees", 32).kind == "unpaired"


def test_what_cannot_be_trained_on_is_refused(animals: Path, places: Path) -> None:
    for path in (*animals.rglob("train/*/*.png"), *places.glob("trainB/*.png")):
        path.write_bytes(b"?")
    with pytest.raises(BadInputError, match=r"none of the train images can be read; the first: .*cat"):
        verify(animals)
    with pytest.raises(BadInputError, match=r"none of the images in .*trainB can be read; the first: .*trainB"):
        verify(places)
    shutil.rmtree(places / "trainB")
    with pytest.raises(BadInputError, match=r"trainB: put the images of domain B there"):
        verify(places)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_command_prints_a_table_of_classes(
    animals: Path, capsys: pytest.CaptureFixture[str], wrong: bool
) -> None:
    if wrong:
        shutil.rmtree(animals / "test" / "dog")
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(animals), *words])
        assert ended.value.code == (5 if wrong else 0)
        printed = capsys.readouterr().out
        if words:
            told = json.loads(printed)
            assert (told["ok"], told["classes"]["cat"]) == (not wrong, {"train": 8, "test": 2})
        else:
            rows = [line.split() for line in printed.splitlines()]
            assert rows[3:6] == [["class", "train", "test"], ["cat", "8", "2"], ["dog", "6", "0" if wrong else "2"]]
