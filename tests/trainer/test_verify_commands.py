"""Every command that `cgan-data verify` prints works: a training accepts it, or images are held out first."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.claims import claim
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_trainer.cli.data import main as data_main
from cgan_trainer.cli.train import main as train_main
from cgan_trainer.data.hold_out import hold_out
from cgan_trainer.data.kinds import DataKind, LabelledData, PairedData, UnpairedData
from cgan_trainer.training import start
from cgan_trainer.training.expected_time import Pace
from PIL import Image

from tests.helpers import smooth_images

PLACES = {
    "two trees": ("{side}/{split}/{n}.png", "AB"),
    "two trees, split first": ("{split}/{side}/{n}.png", "AB"),
    "side by side": ("{split}/street/{n}.png", "W"),
    "domains": ("{split}{side}/{side}{n}.png", "AB"),
    "classes": ("{split}/{side}/{n}.png", ("cat", "dog")),
}


def write(root: Path, layout: str, splits: tuple[str, ...], *, size: int = 32, count: int = 12) -> Path:
    """A dataset whose folder has a space in its name."""
    pattern, sides = PLACES[layout]
    for at, split in enumerate(splits):
        for place, side in enumerate(sides):
            for n, pixels in enumerate(smooth_images(count, size=size, seed=10 * at + place)):
                path = root / pattern.format(split=split, side=side, n=n)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.hstack([pixels, pixels[::-1]]) if side == "W" else pixels).save(path)
    return root


def run(main: object, words: list[str]) -> int:
    assert callable(main)
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(str(ended.value.code or 0))


def printed_command(said: str) -> list[str]:
    (line,) = (line for line in said.splitlines() if ": cgan-" in line)
    return shlex.split(line[line.index(": cgan-") + 2 :])


@pytest.mark.parametrize("layout", PLACES)
@pytest.mark.parametrize("splits", [("train",), ("train", "val"), ("train", "test")], ids="-".join)
@pytest.mark.parametrize("size", [None, 50, 100])
def test_what_verify_prints_is_accepted_to_the_end(
    tmp_path: Path,
    layout: str,
    splits: tuple[str, ...],
    size: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(start, "measure_pace", lambda _: Pace(images_per_s=1.0, validation_s=1.0))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "my images").mkdir(parents=True)
    (tmp_path / "runs" / "my images" / "last.pt").write_bytes(b"of another run")
    words = ["cgan-data", "verify", str(write(tmp_path / "my images", layout, splits))]
    steps = []
    while words[0] == "cgan-data":
        asked = ["--size", str(size)] if size and words[1] == "verify" else []
        code = run(data_main, [*words[1:], *asked])
        assert code in (0, 5)
        steps.append(words[1])
        words = printed_command(capsys.readouterr().err)
    assert steps == (["verify", "split", "verify"] if splits == ("train",) else ["verify"])
    assert not (Path(words[words.index("--out") + 1]) / "last.pt").exists()
    assert run(train_main, [*words[1:], "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("layout", PLACES)
def test_a_split_takes_every_image_once_and_leaves_the_dataset_as_it_was(tmp_path: Path, layout: str) -> None:
    root = write(tmp_path / "data", layout, ("train",), count=20)
    (root / "dataset.json").write_text('{"name": "streets"}')
    before = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    kind = {"domains": "unpaired", "classes": "labelled"}.get(layout, "paired")
    counts = hold_out(root, tmp_path / "new", kind)
    groups = 2 if kind != "paired" else 1
    assert counts == {"train": 18 * groups, "val": 2 * groups}
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    made = sorted(path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert made == sorted(before.values())
    kinds: dict[str, DataKind[Any]] = {
        "paired": PairedData(64),
        "labelled": LabelledData(32),
        "unpaired": UnpairedData(64),
    }
    assert kinds[kind].held_out(tmp_path / "new") == "val"
    assert hold_out(root, tmp_path / "again", kind) == counts
    assert {path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*")} == {
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*")
    }
    with pytest.raises(UsageError, match="exists already"):
        hold_out(root, tmp_path / "new", kind)
    with claim(tmp_path / "more"), pytest.raises(CganError, match="another process is writing to"):
        hold_out(root, tmp_path / "more", kind)


def test_one_image_cannot_be_held_out_and_trained_on(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "classes", ("train",), count=2)
    shutil.copy(root / "train" / "cat" / "0.png", tmp_path)
    (root / "train" / "dog" / "1.png").unlink()
    with pytest.raises(BadInputError, match=r"class dog of .*data has 1 image to train on and none to hold out"):
        hold_out(root, tmp_path / "new", "labelled")
    assert not (tmp_path / "new").exists()


def test_a_list_whose_rows_are_all_train_gets_no_command_but_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "data", "two trees", ("train",), count=3)
    rows = [f"A/train/{n}.png,B/train/{n}.png,train" for n in range(3)]
    (root / "pairs.csv").write_text("\n".join(["a,b,split", *rows]))
    assert run(data_main, ["verify", str(root / "pairs.csv")]) == 5
    said = capsys.readouterr()
    assert "cgan-" not in said.err
    assert "no training can start with it" in said.err
    with pytest.raises(BadInputError, match="is a list: leave its column split out"):
        hold_out(root / "pairs.csv", tmp_path / "new", "paired")
