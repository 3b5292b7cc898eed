"""The layouts of labelled images: class folders, lists, IDX files; and every way in which they can be wrong."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.kinds import LabelledData, PairedData, UnpairedData
from cgan_trainer.data.layouts import find_labelled
from cgan_trainer.data.layouts.idx import parse_idx
from PIL import Image

from tests.helpers import ReadsNoted
from tests.trainer.conftest import write_pairs
from tests.trainer.test_data_kinds import write_classes, write_domains

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
LABELS = (2, 0, 1, 0, 2, 2)


def idx_images(count: int = 6, *, size: int = 16) -> bytes:
    pixels = np.arange(count * size * size, dtype=np.uint32).astype(np.uint8)
    return struct.pack(">4I", 2051, count, size, size) + pixels.tobytes()


def idx_labels(labels: tuple[int, ...] = LABELS) -> bytes:
    return struct.pack(">2I", 2049, len(labels)) + bytes(labels)


def write_idx(folder: Path, *, names: Callable[[str], str] = str, zipped: bool = False) -> Path:
    folder.mkdir(parents=True)
    for name, data in zip(NAMES, (idx_images(), idx_labels(), idx_images(2), idx_labels((1, 0))), strict=True):
        (folder / names(name)).write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    return folder


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_idx_files_are_found_wherever_and_however_they_are_published(
    tmp_path: Path, place: str, zipped: bool, dot: bool
) -> None:
    def called(name: str) -> str:
        return (name.replace("-ubyte", ".ubyte") if dot else name) + (".gz" if zipped else "")

    write_idx(tmp_path / "data" / place, names=called, zipped=zipped)
    data = LabelledData(16)
    split = data.load(tmp_path / "data", "train")
    assert split.arrays["label"].tolist() == list(LABELS)
    expected = np.arange(6 * 256, dtype=np.uint32).astype(np.uint8).reshape(6, 1, 16, 16)
    assert np.array_equal(split.arrays["image"].numpy(), expected)
    assert split.files["image"][:2] == ("00000", "00001")
    assert data.facts(tmp_path / "data").classes == ("0", "1", "2")
    assert (data.held_out(tmp_path / "data"), data.has(tmp_path / "data", "val")) == ("test", False)
    assert len(data.load(tmp_path / "data", "test")) == data.count(tmp_path / "data", "test") == 2


def test_idx_images_are_read_row_by_row(tmp_path: Path) -> None:
    # The format's own words: big-endian 32-bit magic, count, rows, columns; then bytes row by row.
    data = idx_images(3, size=4)
    assert data[:16].hex() == "00000803000000030000000400000004"
    (tmp_path / NAMES[0]).write_bytes(data)
    (tmp_path / NAMES[1]).write_bytes(idx_labels((0, 1, 2)))
    image = find_labelled(tmp_path).listing("train").open(1, "grey")
    assert np.array_equal(np.asarray(image), np.arange(16, 32).reshape(4, 4))


def damage(folder: Path, case: str) -> str:
    """Make one file wrong, and say what the message must name."""
    images, labels = folder / NAMES[0], folder / NAMES[1]
    whole = images.read_bytes()
    cases: dict[str, tuple[Path, bytes, str]] = {
        "swapped": (images, labels.read_bytes(), r"images-idx3-ubyte begins with the number 2049, but IDX images"),
        "labels swapped": (labels, whole, r"labels-idx1-ubyte begins with the number 2051, but IDX labels"),
        "text": (images, b"<html>", r"begins with the number 1013478509, but"),
        "nothing": (images, b"", r"images-idx3-ubyte is empty, but"),
        "short header": (images, whole[:9], r"says it holds 6 values|says it holds 6 x"),
        "cut": (images, whole[:-1], r"says it holds 6 x 16 x 16 values, but there are only 1535"),
        "longer": (images, whole + b"\0", r"says it holds 6 x 16 x 16 values, but there are more"),
        "no image": (images, struct.pack(">4I", 2051, 0, 16, 16), r"says it holds 0 x 16 x 16 values"),
        "absurd": (images, struct.pack(">4I", 2051, 1 << 31, 1 << 15, 1 << 15), r"says it holds 2147483648 x"),
        "bad zip": (images, gzip.compress(whole)[:-20], r"is damaged \("),
        "bent zip": (images, gzip.compress(whole)[:60] + b"\xff" * 99, r"is damaged \("),
        "fewer labels": (labels, idx_labels(LABELS[:5]), r"holds 6 images, but .* holds 5 labels: both files"),
    }
    path, data, expected = cases[case]
    path.write_bytes(data)
    return expected


@pytest.mark.parametrize(
    "case",
    [
        "swapped",
        "labels swapped",
        "text",
        "nothing",
        "short header",
        "cut",
        "longer",
        "no image",
        "absurd",
        "bad zip",
        "bent zip",
        "fewer labels",
    ],
)
def test_a_bad_idx_file_is_one_sentence(tmp_path: Path, case: str) -> None:
    expected = damage(write_idx(tmp_path / "data"), case)
    with pytest.raises(BadInputError, match=expected) as refused:
        LabelledData(16).load(tmp_path / "data", "train")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("zipped", [False, True])
def test_no_more_of_an_idx_file_is_asked_for_than_it_can_hold(
    monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """A read takes memory for as much as it asks for: 4 GB here, for a header that lies."""
    data = struct.pack(">4I", 2051, 2**16, 256, 255) + bytes(100)
    file = ReadsNoted(gzip.compress(data) if zipped else data)
    real = gzip.GzipFile.read

    def noted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        file.asked.append(size or -1)
        return real(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", noted)
    with pytest.raises(BadInputError, match="says it holds 65536 x 256 x 255 values, but there are only 100"):
        parse_idx(file, "x", "images")
    assert 0 < max(file.asked) < 200_000


def test_what_is_missing_beside_idx_files_is_named(tmp_path: Path) -> None:
    root = write_idx(tmp_path / "data")
    for name in NAMES[2:]:
        (root / name).unlink()
    with pytest.raises(BadInputError, match=r"no images under val or test: put .* as t10k-images-idx3-ubyte and"):
        LabelledData(16).held_out(root)
    (root / NAMES[1]).unlink()
    with pytest.raises(BadInputError, match=r"holds IDX files, but no train-labels-idx1-ubyte\[\.gz\]"):
        LabelledData(16).load(root, "train")


def test_classes_have_the_names_of_dataset_json(tmp_path: Path) -> None:
    root = write_idx(tmp_path / "data")
    (root / "dataset.json").write_text(json.dumps({"name": "clothes", "classes": ["shirt", "shoe", "bag"]}))
    facts = LabelledData(16).facts(root)
    assert (facts.name, facts.classes) == ("clothes", ("shirt", "shoe", "bag"))
    (root / "dataset.json").write_text(json.dumps({"name": "clothes", "classes": ["shirt", "shoe"]}))
    with pytest.raises(BadInputError, match=r"has labels up to 2, but dataset\.json names 2 classes: name 3"):
        LabelledData(16).load(root, "train")
    for wrong in ('"ab"', '["a", "a"]', "3"):
        (root / "dataset.json").write_text(f'{{"name": "x", "classes": {wrong}}}')
        with pytest.raises(BadInputError, match=r"dataset\.json cannot be read \(classes is no list of different"):
            LabelledData(16).facts(root)


def test_class_folders_are_numbered_by_value_or_as_dataset_json_says(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"10": 1, "9": 2, "2": 3})
    assert LabelledData(16).facts(root).classes == ("2", "9", "10")
    assert torch.bincount(LabelledData(16).load(root, "train").arrays["label"]).tolist() == [3, 2, 1]
    (root / "dataset.json").write_text(json.dumps({"name": "x", "classes": ["9", "2", "10", "11"]}))
    assert torch.bincount(LabelledData(16).load(root, "train").arrays["label"]).tolist() == [2, 3, 1]
    animals = write_classes(tmp_path / "animals", {"0": 1, "1": 2})
    (animals / "dataset.json").write_text(json.dumps({"name": "x", "classes": ["cat", "dog"]}))
    assert LabelledData(16).load(animals, "train").arrays["label"].tolist() == [0, 1, 1]


def test_photographs_of_any_shape_may_lie_in_class_folders(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name / "deep").mkdir(parents=True)
        Image.new("RGB", (50, 30), (9, 8, 7)).save(tmp_path / "train" / name / "deep" / "x.jpg")
    (tmp_path / "train" / ".cache").mkdir()
    split = LabelledData(16, mode="rgb").load(tmp_path, "train")
    assert (split.files["image"], split.arrays["image"].shape) == (
        ("cat/deep/x.jpg", "dog/deep/x.jpg"),
        (2, 3, 16, 16),
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("empty class", r"train/eel holds no images: put those of class eel there, as PNG"),
        ("unknown class", r"val/eel is a class that train/ does not have \(cat, dog\)"),
        ("not in dataset.json", r"train/dog is a class that dataset\.json does not have \(cat\)"),
        ("number too large", r"train/7 is a class that dataset\.json does not have \(cat\)"),
        ("no split", r"no images under val or test: put some held-out ones there, as class folders in .*val"),
        ("all broken", r"none of the 3 images can be used; the first: .*cat"),
        ("empty train", r"train holds no class folders: put the images of each class into a folder"),
        ("no train", r"has no train/ folder: put a folder of images per class into"),
    ],
)
def test_class_folders_that_cannot_be_used_are_one_sentence(tmp_path: Path, case: str, expected: str) -> None:
    root, data = tmp_path / "data", LabelledData(16)
    (root / "train").mkdir(parents=True)
    if case not in ("empty train", "no train"):
        write_classes(root, {"cat": 2, "dog": 1})
    if case == "no train":
        (root / "train").rmdir()
    elif case == "empty class":
        (root / "train" / "eel").mkdir()
    elif case == "unknown class":
        write_classes(root, {"eel": 1}, split="val")
    elif case == "all broken":
        for path in root.rglob("*.png"):
            path.write_bytes(b"?")
    elif case in ("not in dataset.json", "number too large"):
        if case == "number too large":
            (root / "train" / "dog").rename(root / "train" / "7")
        (root / "dataset.json").write_text('{"name": "x", "classes": ["cat"]}')
    with pytest.raises(BadInputError, match=expected) as refused:
        data.held_out(root) if case == "no split" else data.load(root, "val" if "unknown" in case else "train")
    assert "\n" not in str(refused.value)


def write_list(root: Path, kind: str, rows: list[dict[str, object]]) -> Path:
    root.mkdir(exist_ok=True)
    for index in range(4):
        Image.new("L", (16, 16), 10 * index).save(root / f"{index}.png")
    path = root / f"labels.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_list_names_images_and_classes(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, object]] = [
        {"file": "0.png", "label": "dog", "split": "train"},
        {"file": "2.png", "label": "cat", "split": "train"},
        {"file": "1.png", "label": "eel", "split": "val"},
        {"file": "3.png", "label": "cat", "split": "train"},
    ]
    path = write_list(tmp_path, kind, rows)
    data = LabelledData(16)
    split = data.load(path, "train")
    assert data.facts(path).classes == ("cat", "dog", "eel")  # of all splits
    assert (split.files["image"], split.arrays["label"].tolist()) == (("0.png", "2.png", "3.png"), [1, 0, 0])
    assert split.arrays["image"][:, 0, 0, 0].tolist() == [0, 20, 30]
    assert data.held_out(path) == "val"
    assert data.load(path, "val").arrays["label"].tolist() == [2]
    (tmp_path / "2.png").unlink()
    left = data.load(path, "train")
    assert (left.skipped, left.arrays["label"].tolist()) == (("2.png",), [1, 0])
    with pytest.raises(
        BadInputError, match=r"2\.png does not exist \(.*labels\.\w+, line [23]\): paths are relative"
    ):
        data.load(path, "train", strict=True)


def test_labels_of_a_list_may_be_numbers_of_the_classes_in_dataset_json(tmp_path: Path) -> None:
    path = write_list(tmp_path, "jsonl", [{"file": "0.png", "label": 1, "split": "train"}])
    assert LabelledData(16).facts(path).classes == ("1",)
    (tmp_path / "dataset.json").write_text('{"name": "x", "classes": ["cat", "dog"]}')
    assert LabelledData(16).load(path, "train").arrays["label"].tolist() == [1]
    (tmp_path / "dataset.json").write_text('{"name": "x", "classes": ["cat"]}')
    with pytest.raises(
        BadInputError, match=r"line 1 has label '1', which is none of the 1 classes in dataset\.json"
    ):
        LabelledData(16).load(path, "train")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,label\n", "lists no images"),
        ("file,label\n0.png\n", "line 2 lacks file or label"),
        ("file,label\n0.png,\n", "line 2 lacks file or label"),
        ("file,label,split\n0.png,cat,training\n", "line 2 has split 'training'"),
        ("file,label,split\nx.png,cat,train\n", r"x\.png does not exist \(.*, line 2\)"),
        ("file,label,split\n0.png,cat,val\n", "no image with split train"),
        ("file,label,split\n0.png,cat,train\n", "no images under val or test: put .* as rows with split val"),
        ("name,class\n0.png,cat\n", "its first line must name the columns, file,label,split"),
    ],
)
def test_a_bad_list_of_labels_is_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    path = write_list(tmp_path, "csv", [{"file": "x"}])
    path.write_text(text)
    with pytest.raises(BadInputError, match=expected) as refused:
        LabelledData(16).load(path, "train")
        LabelledData(16).held_out(path)
    assert "\n" not in str(refused.value)


def test_a_changed_label_is_read_again_though_no_image_changed(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"file": f"{index}.png", "label": index % 2, "split": "train"} for index in range(4)
    ]
    path = write_list(tmp_path, "jsonl", rows)
    before = LabelledData(16).load(path, "train")
    rows[0]["label"] = 1
    path.write_text("\n".join(json.dumps(row) for row in rows))
    after = LabelledData(16).load(path, "train")
    assert after.arrays["label"].tolist() == [1, 1, 0, 1]
    assert after.sha256 != before.sha256


def make_folder(root: Path, what: str) -> Path:
    if what == "class folders":
        write_classes(root, {"cat": 2, "dog": 1, "eel": 1})
    elif what == "idx":
        write_idx(root)
    elif what == "domains":
        write_domains(root, 1, 1)
    elif what == "pairs":
        write_pairs(root / "train", 2, size=16)
    elif what == "pairs in folders":
        write_pairs(root / "train" / "a", 2, size=16)
        write_pairs(root / "train" / "b", 2, size=16)
    elif what == "labels.csv":
        return write_list(root, "csv", [{"file": "0.png", "label": "cat", "split": "train"}])
    elif what == "pairs.csv":
        path = write_list(root, "csv", [{"a": "0.png", "b": "1.png", "split": "train"}])
        return path.rename(root / "pairs.csv")
    elif what == "told":
        write_pairs(root / "train", 2, size=16)
        (root / "dataset.json").write_text('{"name": "x", "kind": "unpaired"}')
    return root


PAIRS_BY, LABELLED_BY, UNPAIRED_BY = (
    f"cgan-train {family} takes them" for family in ("pix2pix", "cdcgan", "cyclegan")
)
PAIRS, LABELLED, UNPAIRED = "pix2pix needs pairs", "labelled images are needed here", "two domains are needed here"


@pytest.mark.parametrize(
    ("what", "needed", "expected"),
    [
        (
            "class folders",
            PairedData,
            rf"holds class folders \(train/cat/, train/dog/, \.\.\.\): {LABELLED_BY}; {PAIRS}",
        ),
        ("class folders", UnpairedData, rf"holds class folders .* cgan-train cdcgan takes them; {UNPAIRED}"),
        ("idx", PairedData, rf"holds IDX files of labelled images \(train-images-.*\): {LABELLED_BY}; {PAIRS}"),
        ("idx", UnpairedData, rf"holds IDX files of labelled images .* cgan-train cdcgan takes them; {UNPAIRED}"),
        ("domains", PairedData, rf"holds trainA/ and trainB/, two domains without pairs: {UNPAIRED_BY}; {PAIRS}"),
        ("domains", LabelledData, rf"holds trainA/ and trainB/, .*: {UNPAIRED_BY}; {LABELLED}"),
        ("pairs", LabelledData, rf"holds images directly in train/, side-by-side pairs: {PAIRS_BY}; {LABELLED}"),
        ("pairs", UnpairedData, rf"holds images directly in train/, .*: {PAIRS_BY}; {UNPAIRED}"),
        ("pairs in folders", UnpairedData, rf"holds side-by-side pairs below train/: {PAIRS_BY}; {UNPAIRED}"),
        ("labels.csv", PairedData, rf"holds a list of images and labels: cgan-train cdcgan takes them; {PAIRS}"),
        ("pairs.csv", LabelledData, rf"holds a list of pairs: cgan-train pix2pix takes them; {LABELLED}"),
        ("pairs.csv", UnpairedData, "is a file: name a folder with trainA/ and trainB/ in it"),
        ("told", PairedData, rf"holds two domains without pairs \(its .* says so\): {UNPAIRED_BY}; {PAIRS}"),
        ("nothing", LabelledData, "has no train/ folder: put a folder of images per class"),
        ("nothing", UnpairedData, "has no trainA/ and trainB/: put the images of one domain into"),
        ("absent", LabelledData, "does not exist: name a dataset folder .* `cgan-data mnist-5k` makes"),
        ("absent", UnpairedData, "does not exist: name a dataset folder .* `cgan-data satellite-unpaired` makes"),
    ],
)
def test_a_folder_of_another_kind_is_named_with_the_command_that_takes_it(
    tmp_path: Path, what: str, needed: type[PairedData | LabelledData | UnpairedData], expected: str
) -> None:
    root = tmp_path / "data"
    if what != "absent":
        root.mkdir()
        if what == "idx":
            root.rmdir()
        root = make_folder(root, what)
    with pytest.raises(BadInputError, match=expected) as refused:
        needed(16).load(root, "train")
    assert "\n" not in str(refused.value)


def test_pairs_in_folders_are_still_pairs(tmp_path: Path) -> None:
    assert len(PairedData(16).load(make_folder(tmp_path, "pairs in folders"), "train")) == 4
