from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.layouts import find_layout
from cgan_trainer.data.pairs import count_pairs, find_validation, load_pairs, read_domains
from PIL import Image

from tests.trainer.conftest import write_pairs


def halves_of(pairs: Path) -> list[tuple[str, str, Image.Image, Image.Image]]:
    """(split, stem, A, B) of every side-by-side pair."""
    found = []
    for path in sorted(pairs.rglob("*.png")):
        image = open_rgb(path)
        left, right = image.crop((0, 0, 64, 64)), image.crop((64, 0, 128, 64))
        found.append((path.parent.name, path.stem, left, right))
    return found


def as_two_trees(root: Path, pairs: Path, *, split_first: bool, endings: tuple[str, str] = ("", "")) -> None:
    for split, stem, *sides in halves_of(pairs):
        for side, image, ending, kind in zip("AB", sides, endings, ("bmp", "PNG"), strict=True):
            folder = root / split / side if split_first else root / side / split
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{stem}{ending}.{kind}")


def as_list(root: Path, pairs: Path, kind: str, *, split: bool = True) -> Path:
    rows = []
    (root / "pictures").mkdir(parents=True)
    for number, (name, _, a, b) in enumerate(halves_of(pairs)):
        row = {"a": f"pictures/{number}, left.png", "b": f"pictures/{number}.right.png"}
        a.save(root / row["a"])
        b.save(root / row["b"])
        rows.append({**row, "split": name, "note": "unused"} if split else row)
    path = root / f"pairs.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        lines = [",".join(rows[0]), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
        path.write_text("\ufeff" + "\r\n".join(lines))  # as spreadsheets save it
    return path


@pytest.mark.parametrize("layout", ["A/train", "train/A", "endings", "csv", "jsonl"])
def test_every_layout_gives_the_same_pixels(pairs: Path, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "data"
    if layout in {"csv", "jsonl"}:
        root = as_list(root, pairs, layout)
    else:
        endings = ("_A", "_B") if layout == "endings" else ("", "")
        as_two_trees(root, pairs, split_first=layout == "train/A", endings=endings)
    assert find_validation(root) == "val"
    for split, count in (("train", 7), ("val", 3)):
        here, there = load_pairs(root, split, 64), load_pairs(pairs, split, 64)
        assert count_pairs(root, split) == len(here) == count
        assert torch.equal(here.a, there.a)
        assert torch.equal(here.b, there.b)


def test_what_was_seen_is_said(pairs: Path, tmp_path: Path) -> None:
    as_two_trees(tmp_path / "trees", pairs, split_first=False)
    listed = as_list(tmp_path / "list", pairs, "csv")
    seen = [(layout.kind, layout.seen) for layout in map(find_layout, (pairs, tmp_path / "trees", listed))]
    assert seen == [
        ("side by side", "train/ with images, no A/ and B/"),
        ("two trees", "A/train/ and B/train/"),
        ("pairs list", "pairs.csv with 10 pairs"),
    ]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (
            ("trainA", "trainB", "testA", "testB"),
            "cgan-train cyclegan takes them; pix2pix needs pairs: if equal names",
        ),
        (("A", "B"), "move the images to A/train/ and B/train/"),
        (("photos",), "has no train/ folder"),
    ],
)
def test_other_folders_are_refused_with_what_to_do(tmp_path: Path, folders: tuple[str, ...], expected: str) -> None:
    for folder in folders:
        write_pairs(tmp_path / folder, 1)
    with pytest.raises(BadInputError, match=expected):
        load_pairs(tmp_path, "train", 64)


def test_a_folder_with_a_list_points_to_it(tmp_path: Path, pairs: Path) -> None:
    listed = as_list(tmp_path, pairs, "csv")
    with pytest.raises(BadInputError, match=f"--data {listed}"):
        load_pairs(tmp_path, "train", 64)


def test_an_image_without_partner_is_named_and_left_out(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_two_trees(tmp_path, pairs, split_first=False)
    (tmp_path / "B" / "train" / "003.PNG").unlink()
    loaded = load_pairs(tmp_path, "train", 64)
    assert (len(loaded), loaded.skipped) == (6, ("A/train/003.bmp",))
    assert f"{tmp_path / 'A' / 'train' / '003.bmp'} has no partner" in capsys.readouterr().err
    with pytest.raises(BadInputError, match="has no partner"):
        load_pairs(tmp_path, "train", 64, strict=True)


def test_names_that_never_agree_are_not_pairs(tmp_path: Path) -> None:
    for side in "AB":
        write_pairs(tmp_path / side / "train", 1)
        (tmp_path / side / "train" / "000.png").rename(tmp_path / side / "train" / f"{side}1.png")
    with pytest.raises(BadInputError, match=r"no name in common \(A1\.png, B1\.png\)"):
        load_pairs(tmp_path, "train", 64)


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    for side in "AB":
        write_pairs(tmp_path / side / "train", 1)
    Image.new("RGB", (4, 4)).save(tmp_path / "A" / "train" / "000.jpg")
    with pytest.raises(BadInputError, match="have the same name: which is meant"):
        load_pairs(tmp_path, "train", 64)


@pytest.mark.parametrize(("size", "fits"), [((64, 64), True), ((128, 128), True), ((96, 64), False)])
def test_both_sides_have_the_same_proportions(tmp_path: Path, size: tuple[int, int], fits: bool) -> None:
    for side, shape in (("A", (64, 64)), ("B", size)):
        (tmp_path / side / "train").mkdir(parents=True)
        Image.new("RGB", shape).save(tmp_path / side / "train" / "x.png")
    if fits:
        assert len(load_pairs(tmp_path, "train", 64)) == 1
    else:
        with pytest.raises(BadInputError, match=r"x\.png is 64x64 but .*x\.png is 96x64"):
            load_pairs(tmp_path, "train", 64)


def test_without_a_split_column_pairs_stay_where_they_are_when_others_are_added(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")

    def split_of(count: int) -> dict[str, str]:
        path = tmp_path / "pairs.csv"
        path.write_text("a,b\n" + "".join(f"./{'/' * n}x.png,x.png\n" for n in range(count)))
        return {pair.name: split for split in ("train", "val") for pair in find_layout(path).listing(split).pairs}

    few, many = split_of(150), split_of(300)
    assert len(few) == 150
    assert few.items() <= many.items()
    assert 15 <= sum(split == "val" for split in many.values()) <= 45  # a tenth of 300, within 3 deviations


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.csv", "x.png,y.png\n", "its first line must name the columns"),
        ("p.csv", "", "its first line must name the columns"),
        ("p.csv", "a,b\n", "lists no pairs"),
        ("p.csv", "a,b\nx.png\n", "line 2 lacks a or b"),
        ("p.csv", "a,b,split\nx.png,x.png,\n", "line 2 has split ''"),
        ("p.csv", "a,b,split\nx.png,x.png,training\n", "line 2 has split 'training'"),
        ("p.csv", 'a,b\n"x.png,x.png\n', "cannot be read as a list"),
        ("p.csv", b"a,b\n\xff\x81,x", "cannot be read as a list"),
        ("p.csv", b"\xff\xfea\0,\0b", "cannot be read as a list"),
        ("p.csv", b"PK\x03\x04,xl/workbook.xml", "is a spreadsheet or another zip file: save the sheet as CSV"),
        ("p.csv", "a,b,split\nx.png,left, x.png,train\n", "line 2 has 4 values, but the first line names 3"),
        ("p.csv", "a,b,split\nx.png,y.png,train\n", r"y\.png does not exist \(.*p\.csv, line 2\)"),
        ("p.csv", "a,b,split\nx.png,x.png,val\n", "no pair with split train"),
        ("p.jsonl", '{"a": "x.png", "b": ', "line 1 is no JSON"),
        ("p.jsonl", '\n["x.png"]', "line 2 is no object"),
        ("p.jsonl", '{"a": "x.png", "b": 3}', "line 1 lacks a or b"),
        ("p.txt", "a,b", "is not a folder, and no list of pairs"),
    ],
)
def test_a_bad_list_is_one_sentence_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, expected: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInputError, match=expected) as refused:
        load_pairs(tmp_path / name, "train", 64)
    assert "\n" not in str(refused.value)


def test_a_list_is_called_by_its_name_or_by_the_dataset_beside_it(tmp_path: Path, pairs: Path) -> None:
    path = as_list(tmp_path, pairs, "jsonl")
    assert read_domains(path).name == "pairs"
    (tmp_path / "dataset.json").write_text('{"name": "streets", "domains": {"A": "labels", "B": "photo"}}')
    assert (read_domains(path).name, read_domains(path).b) == ("streets", "photo")


def test_rows_of_a_list_that_name_no_file_are_left_out(tmp_path: Path, pairs: Path) -> None:
    path = as_list(tmp_path, pairs, "csv")
    (tmp_path / "pictures" / "3, left.png").unlink()
    loaded = load_pairs(path, "train", 64)
    assert loaded.skipped == ("pictures/3, left.png",)
    assert np.array_equal(loaded.a[3].permute(1, 2, 0), np.asarray(open_rgb(tmp_path / "pictures" / "4, left.png")))


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_an_image_that_is_not_read_is_named_instead_of_its_partner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in "AB":
        write_pairs(tmp_path / side / "train", 3)
    (tmp_path / "A" / "train" / "001.png").unlink()
    (tmp_path / "A" / "train" / "001.HEIC").write_bytes(HEIC)
    (tmp_path / "A" / "train" / "002.CR2").write_bytes(b"the source of 002.png, as cameras leave it")
    loaded = load_pairs(tmp_path, "train", 64)
    assert (loaded.files, loaded.skipped) == (("000.png", "002.png"), ("001.HEIC",))
    said = capsys.readouterr().err
    assert f"{tmp_path / 'A' / 'train' / '001.HEIC'} is a HEIC image, which is not read: convert it" in said
    assert "partner" not in said


def test_a_folder_of_images_that_are_not_read_says_so(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / side / "train").mkdir(parents=True)
        (tmp_path / side / "train" / "0.heic").write_bytes(HEIC)
    with pytest.raises(
        BadInputError, match=r"none of the 1 images can be used; the first: .*0\.heic is a HEIC image"
    ):
        load_pairs(tmp_path, "train", 64)
