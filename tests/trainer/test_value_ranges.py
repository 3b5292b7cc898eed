"""Values of more than 8 bits are scaled by the range of the whole dataset, which is said, or by one asked for."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.contract import ImageEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.image_values import PLAIN, Limits
from cgan_trainer.cli.data import main as data_main
from cgan_trainer.configs.base import RunOptions, check_config, command_line
from cgan_trainer.configs.cyclegan import CycleganConfig
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data import value_ranges
from cgan_trainer.data.kinds import LabelledData, PairedData, UnpairedData
from cgan_trainer.data.kinds.paired import Direction
from cgan_trainer.data.verify import verify
from cgan_trainer.families.base import Family, Recipe
from cgan_trainer.families.cyclegan import CYCLEGAN
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training.start import train
from PIL import Image

from tests.helpers import smooth_images

BRIGHT = smooth_images(6, size=64)[..., 0].astype(np.float64) / 255
SHADES = BRIGHT / BRIGHT.max()  # 0..1, the largest in one image alone


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_pairs(root: Path, top: float, dtype: str, suffix: str, *, low: float = 0.0) -> None:
    """A is 8 bits, B has values from low to top; the brightest image is the first of train."""
    order = np.argsort([-image.max() for image in SHADES])
    for number, row in enumerate(order):
        split = "train" if number < 4 else "val"
        values = low + SHADES[row] * (top - low)
        values = values if dtype == "float32" else np.rint(values)
        write(root / "A" / split / f"{number}.png", np.rint(SHADES[row] * 255).astype(np.uint8))
        write(root / "B" / split / f"{number}{suffix}", values.astype(dtype))


CASES = [
    (255, "uint16", ".png", 0, "0..255"),
    (1023, "uint16", ".png", 0, "0..1023"),
    (4095, "uint16", ".png", 0, "0..4095"),
    (4095, "uint16", ".tif", 0, "0..4095"),
    (65535, "uint16", ".tif", 0, "0..65535"),
    (4095, "int32", ".tiff", 0, "0..4095"),
    (1, "float32", ".tif", 0, "0..1"),
    (255, "float32", ".tif", 0, "0..255"),
    (1, "float32", ".tif", -1, "-1..1"),
    (1.003, "float32", ".tif", -0.002, "0..1"),
    (1.003, "float32", ".tif", -1.001, "-1..1"),
]


@pytest.mark.parametrize(("top", "dtype", "suffix", "low", "said"), CASES)
@pytest.mark.parametrize("kind", [PairedData, UnpairedData])
def test_every_split_is_scaled_by_the_range_of_all_and_the_range_is_said(
    tmp_path: Path,
    top: float,
    dtype: str,
    suffix: str,
    low: float,
    said: str,
    kind: type,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_pairs(tmp_path, top, dtype, suffix, low=low)
    paired = kind is PairedData
    data = PairedData(64) if paired else UnpairedData(64)
    for split in ("train", "val"):
        loaded = data.load(tmp_path, split)
        a, b = (loaded.arrays[name].int() for name in (("condition", "target") if paired else ("a", "b")))
        assert (a - b).abs().max() <= 1, "a dark image stays dark"
        told = capsys.readouterr().err
        assert (f"the images of B have {'floats' if dtype == 'float32' else 'integers'} from" in told) == (
            split == "train"
        )
        assert (f"read as {said}; --range gives another" in told) == (split == "train")


@pytest.mark.parametrize("listed", [False, True])
def test_labelled_images_likewise(tmp_path: Path, listed: bool) -> None:
    rows = ["file,label,split"]
    for number, image in enumerate(SHADES):
        split = "train" if number % 2 else "val"
        name = f"{split}/cat/{number}.png"
        write(tmp_path / name, np.rint(image * 4095).astype(np.uint16))
        rows.append(f"{name},cat,{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    root = tmp_path / "labels.csv" if listed else tmp_path
    for split, first in (("train", 1), ("val", 0)):
        loaded = LabelledData(64).load(root, split).arrays["image"][:, 0].numpy()
        assert np.abs(loaded - SHADES[first::2] * 255).max() <= 1


@pytest.mark.parametrize(
    ("asked", "top", "low"), [("65535", 65535, 0), ("8190", 8190, 0), ("-4095,4095", 4095, -4095)]
)
def test_the_range_that_is_asked_for_is_taken_and_makes_other_values(
    tmp_path: Path, asked: str, top: int, low: int
) -> None:
    write_pairs(tmp_path, 4095, "uint16", ".png")
    found = PairedData(64, value_range=asked).load(tmp_path, "train")
    auto = PairedData(64).load(tmp_path, "train")
    expected = (auto.arrays["target"].double() / 255 * 4095 - low) / (top - low) * 255
    assert (found.arrays["target"] - expected).abs().max() <= 1
    assert found.arrays["condition"].equal(auto.arrays["condition"])
    assert found.sha256 != auto.sha256


def test_a_second_start_opens_no_file_and_8_bit_datasets_have_no_entry_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "data", 4095, "uint16", ".png")
    data = PairedData(64, cache=tmp_path / "cache")
    first = data.load(tmp_path / "data", "train")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(value_ranges, "decode_image", opened)
    assert data.load(tmp_path / "data", "train").sha256 == first.sha256
    write_pairs(tmp_path / "jpeg", 255, "uint8", ".jpg")
    for path in (tmp_path / "jpeg" / "A").rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    data.load(tmp_path / "jpeg", "train")


def test_values_of_no_usual_range_are_refused_with_the_option(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3000, "int32", ".tif", low=-1000)
    with pytest.raises(BadInputError, match=r"B have integers from -1000 to 3000, .* by --range LOW,HIGH"):
        PairedData(64).load(tmp_path, "train")
    loaded = PairedData(64, value_range="-1000,3000").load(tmp_path, "train")
    assert (loaded.arrays["target"].int() - loaded.arrays["condition"].int()).abs().max() <= 1


@pytest.mark.parametrize("text", ["", "auto ", "12bit", "5,5", "9,1", "0", "1,2,3", "nan", "0,inf", "1e999"])
def test_what_is_no_range_is_refused_by_every_command(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--range .* is no range: give auto, the largest value"):
        check_config(Pix2pixConfig(range=text))
    with pytest.raises(UsageError, match=r"--range .* is no range"):
        verify(tmp_path, value_range=text)


def test_a_range_that_begins_with_a_minus_is_one_word_of_the_command(tmp_path: Path) -> None:
    words = command_line(Pix2pixConfig(range="-1000,1000"), RunOptions(data=tmp_path, out=tmp_path), resume=True)
    assert "--range=-1000,1000" in shlex.split(words)


def test_verify_says_the_range_and_names_a_side_that_is_nearly_black(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path, 4095, "uint16", ".png")
    verdict = verify(tmp_path, 64)
    assert any("integers from" in hint and "read as 0..4095" in hint for hint in verdict.hints)
    assert [check.name for check in verdict.checks if not check.ok and check.name == "brightness"] == []
    with pytest.raises(SystemExit) as ended:
        data_main(["verify", str(tmp_path), "--range", "65535"])
    assert ended.value.code == 5
    out, err = capsys.readouterr()
    assert "FAIL  brightness: 1 nearly black" in out
    assert "B is nearly black, hardly a value of it is above 16 of 255 (PNG I;16): fewer bits than" in out
    assert "--range=65535" in err


def test_verify_takes_class_numbers_in_8_bits_for_what_they_are(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(2):
            image = SHADES[number + 2 * (split == "val")]
            write(tmp_path / "A" / split / f"{number}.png", np.rint(image * 12).astype(np.uint8))
            write(tmp_path / "B" / split / f"{number}.png", np.rint(image * 255).astype(np.uint8))
    (check,) = (check for check in verify(tmp_path, 64).checks if check.name == "brightness")
    assert not check.ok
    assert "A is nearly black, hardly a value of it is above 12 of 255 (PNG L): are these class" in check.named[0]


def test_one_hot_pixel_does_not_hide_a_black_side_from_verify_or_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path, 4095, "uint16", ".png")
    values = np.rint(SHADES[0] * 4095).astype(np.uint16)
    values[3, 3] = 65535
    write(tmp_path / "B" / "train" / "hot.png", values)
    write(tmp_path / "A" / "train" / "hot.png", np.rint(SHADES[0] * 255).astype(np.uint8))
    (check,) = (check for check in verify(tmp_path, 64).checks if check.name == "brightness")
    assert "B is nearly black" in check.named[0]
    config = Pix2pixConfig(size=64, ngf=4, ndf=4, images=1)
    assert train(config, RunOptions(data=tmp_path, out=tmp_path / "run", threads=1, evaluate=False)) == 0
    said = capsys.readouterr().err
    assert "The target images are nearly black" in said
    assert "The condition images" not in said


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_range_of_the_conditions_goes_with_the_generator(tmp_path: Path, direction: Direction) -> None:
    write_pairs(tmp_path, 4095, "uint16", ".png")
    config = Pix2pixConfig(size=64, ngf=1, ndf=1, direction=direction)
    kind = PIX2PIX.data(config, 64)
    recipe = PIX2PIX.recipe(config, kind.facts(tmp_path, kind.load(tmp_path, "train")))
    taken = limits_of(PIX2PIX, recipe, "main")
    assert taken == (Limits(integers=(0, 4095)) if direction == "BtoA" else PLAIN)


def test_the_ranges_of_two_domains_go_with_their_generators(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1, "float32", ".tif", low=-1)
    config = CycleganConfig(size=64, ngf=1, ndf=1)
    kind = CYCLEGAN.data(config, 64)
    recipe = CYCLEGAN.recipe(config, kind.facts(tmp_path, kind.load(tmp_path, "train")))
    assert limits_of(CYCLEGAN, recipe, "AtoB") == PLAIN
    assert limits_of(CYCLEGAN, recipe, "BtoA") == Limits(floats=(-1, 1))


def limits_of(family: Family[Any, Any], recipe: Recipe[Any, Any], graph: str) -> Limits:
    """What the contract of a generator says, which is rebuilt from what a checkpoint keeps of it."""
    options = json.loads(json.dumps(recipe.graph_options(graph)))
    condition = family.rebuild(graph, options).contract.image_condition
    assert condition is not None
    assert isinstance(condition.encoding, ImageEncoding)
    assert ImageEncoding.model_validate_json(condition.encoding.model_dump_json()) == condition.encoding
    return condition.encoding.limits
