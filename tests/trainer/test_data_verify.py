from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.errors import BadInputError
from cgan_trainer.cli.data import main
from cgan_trainer.data.layouts.recognise import COMMANDS
from cgan_trainer.data.verify import Check, Verdict, verify
from PIL import Image

from tests.trainer.conftest import write_pairs

CHECKS = ("held-out pairs", "readable", "partners", "sizes", "no leak", "two sides", "content", "brightness",
    "real pairs",
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 + 4 pairs whose B shows what A shows."""
    write_pairs(tmp_path / "streets" / "train", 30)
    write_pairs(tmp_path / "streets" / "val", 4, seed=1)
    return tmp_path / "streets"


def failed(verdict: Verdict) -> dict[str, Check]:
    assert tuple(check.name for check in verdict.checks) == CHECKS
    return {check.name: check for check in verdict.checks if not check.ok}


def save_pair(path: Path, a: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], b: Image.Image) -> None:
    Image.fromarray(np.concatenate((a, np.asarray(b)), axis=1)).save(path)


def test_a_sound_dataset_passes_every_check(root: Path) -> None:
    verdict = verify(root, 64)
    assert failed(verdict) == {}
    assert verdict.splits == {"train": 30, "val": 4}
    assert verdict.layout == "side by side (train/ with images, no A/ and B/)"
    assert verdict.sides["A"] == {"sizes": {"64x64": 34}, "formats": {"PNG RGB": 34}}
    assert verdict.decoded_bytes == 34 * 6 * 64 * 64
    assert verdict.command == f"{COMMANDS['paired']} --data {root} --out runs/streets --size 64"
    assert verdict.hints == ()


def test_a_held_out_image_that_is_in_train_is_named(root: Path) -> None:
    shutil.copy(root / "train" / "007.png", root / "val" / "copy.png")
    check = failed(verify(root, 64))["no leak"]
    assert check.named == ("val/copy.png has the same A as train/007.png",)


def test_one_side_seen_in_training_is_a_leak_too(root: Path) -> None:
    known = Image.open(root / "train" / "007.png").crop((64, 0, 128, 64))
    other = np.asarray(Image.open(root / "val" / "000.png"))[:, :64]
    save_pair(root / "val" / "000.png", other, known)
    assert failed(verify(root, 64))["no leak"].named == ("val/000.png has the same B as train/007.png",)


def test_empty_images_are_alike_without_being_a_leak(root: Path) -> None:
    for path in (root / "train" / "000.png", root / "val" / "000.png"):
        save_pair(path, np.zeros((64, 64, 3), dtype=np.uint8), Image.open(path).crop((64, 0, 128, 64)))
    assert failed(verify(root, 64)) == {}


def test_broken_images_are_named(root: Path) -> None:
    (root / "train" / "005.png").write_bytes(b"?")
    check = failed(verify(root, 64))["readable"]
    assert check.sentence == "1 cannot be used and would be left out"
    assert str(root / "train" / "005.png") in check.named[0]


def test_shuffled_sides_are_told_from_pairs(root: Path) -> None:
    paths = sorted((root / "train").iterdir())
    images = [Image.open(path).copy() for path in paths]
    for path, one, other in zip(paths, images, (*images[7:], *images[:7]), strict=True):
        save_pair(path, np.asarray(one)[:, :64], other.crop((64, 0, 128, 64)))
    assert "are these pairs?" in failed(verify(root, 64))["real pairs"].sentence


def test_few_pairs_cannot_tell_and_say_so(pairs: Path) -> None:
    assert verify(pairs, 64).checks[-1].sentence.startswith("not looked at")


def test_the_same_image_on_both_sides_is_named(root: Path) -> None:
    left = Image.open(root / "train" / "002.png").crop((0, 0, 64, 64))
    save_pair(root / "train" / "002.png", np.asarray(left), left)
    assert failed(verify(root, 64))["two sides"].named == ("train/002.png",)


@pytest.mark.parametrize(("empty", "fails"), [(2, False), (6, True)])
def test_many_empty_images_are_a_failure_and_a_few_are_not(root: Path, empty: int, fails: bool) -> None:
    for index in range(empty):
        Image.new("RGB", (128, 64), (index, 0, 0)).save(root / "train" / f"{index:03d}.png")
    verdict = verify(root, 64)
    assert ("content" in failed(verdict)) == fails
    assert f"{empty} " in verdict.checks[6].sentence
    assert len(verdict.checks[6].named) == min(empty, 5)


def test_sides_of_different_size_are_named(tmp_path: Path) -> None:
    for side, size in (("A", 64), ("B", 128)):
        for split in ("train", "val"):
            write_pairs(tmp_path / side / split, 1, size=size)
    (tmp_path / "A" / "train" / "extra.png").write_bytes((tmp_path / "A" / "train" / "000.png").read_bytes())
    verdict = verify(tmp_path, 64)
    assert failed(verdict)["sizes"].named == (
        "train/000.png: 128x64 and 256x128",
        "val/000.png: 128x64 and 256x128",
    )
    assert failed(verdict)["partners"].sentence == "1 lack their other half"
    assert any("not square" in hint for hint in verdict.hints)


def test_a_label_map_is_told_from_a_photograph(root: Path) -> None:
    for split in ("train", "val"):
        for path in (root / split).iterdir():
            pixels = np.asarray(Image.open(path))
            save_pair(path, pixels[:, :64] // 86 * 86, Image.fromarray(pixels[:, 64:]))
    verdict = verify(root, 64)
    assert "A looks like a label map: 27 colours in all. --condition labels" in verdict.hints[0]
    assert verdict.command.endswith("--condition labels")


def test_images_smaller_than_the_size_are_a_hint(root: Path) -> None:
    assert verify(root, 256).hints == ("34 pairs are smaller than 256: they will be enlarged; --size 64 fits.",)


def test_a_folder_that_cannot_be_trained_on_is_refused(root: Path) -> None:
    for path in (root / "train").iterdir():
        path.write_bytes(b"?")
    with pytest.raises(BadInputError, match="none of the 30 train pairs can be read; the first: "):
        verify(root, 64)
    shutil.rmtree(root / "train")
    with pytest.raises(BadInputError, match="has no train/ folder"):
        verify(root, 64)


@pytest.mark.parametrize(("case", "code"), [("sound", 0), ("no val", 5), ("missing", 3)])
def test_the_command_ends_with_the_code_of_what_it_found(
    root: Path, capsys: pytest.CaptureFixture[str], case: str, code: int
) -> None:
    if case == "no val":
        shutil.rmtree(root / "val")
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(root if case != "missing" else root / "nowhere"), "--size", "64", *words])
        printed = capsys.readouterr()
        assert ended.value.code == code
        if case == "missing":
            assert (printed.out, printed.err.count("\n")) == ("", 1)
        elif words:
            assert json.loads(printed.out)["ok"] == (code == 0)
        else:
            assert printed.out.count("\nok  ") == 9 - (code == 5)
            assert ("FAIL  held-out pairs" in printed.out) == (code == 5)
            assert ("cgan-data split" if code else "cgan-train pix2pix") in printed.err
