from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.cli.data import main
from cgan_trainer.data import brain, day2night, sources
from cgan_trainer.data.brain import GROUPS, SLABS, group_of, make_mri_labels
from cgan_trainer.data.day2night import make_day2night
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.layouts.recognise import COMMANDS
from cgan_trainer.data.pairs import load_pairs, palette_of, read_domains
from nibabel.nifti1 import Nifti1Image
from PIL import Image

SHAPE = (20, 30, 181)
REGIONS = ("Frontal_Sup_L", "Thalamus_R", "Cerebelum_6_L", "Precuneus_R")


@pytest.fixture(autouse=True)
def _few_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain, "SLABS", (("train", 16, 20), ("val", 25, 26), ("test", 31, 33)))


def volumes() -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """A tiny head: bone 200, brain 90 to 110; regions 1 to 4 in the four quarters seen from above."""
    x, y, z = np.meshgrid(*(np.arange(length) for length in SHAPE), indexing="ij")
    head = (abs(x - 9.5) < 9) & (abs(y - 14.5) < 14)
    inside = (abs(x - 9.5) < 7) & (abs(y - 14.5) < 12)
    labelled = (abs(x - 9.5) < 6) & (abs(y - 14.5) < 11) & (x + y != 24)
    scan = np.where(inside, 90 + (x + 2 * y + z) % 21, np.where(head, 200, 0)).astype(np.uint8)
    regions = np.where(labelled, 1 + (x > 9) + 2 * (y > 14), 0).astype(np.uint8)
    return {"ch2.nii.gz": scan, "ch2bet.nii.gz": np.where(inside, scan, 0).astype(np.uint8), "aal.nii.gz": regions}


def write_head(folder: Path, *, flipped: tuple[str, ...] = (), moved: str = "", damaged: str = "") -> Path:
    folder.mkdir(parents=True)
    for name, values in volumes().items():
        affine = np.diag([1.0, 1.0, 1.0, 1.0])
        affine[:3, 3] = (-10, -15, -72)
        if name in flipped:  # the same head, its voxels stored from the right to the left
            affine[0, 0], affine[0, 3] = -1.0, -10 + SHAPE[0] - 1
        if name == moved:
            affine[2, 3] += 3
        stored = values[::-1] if name in flipped else values
        image = Nifti1Image(stored, affine)  # type: ignore[no-untyped-call]  # nibabel left it without types
        data = gzip.compress(image.to_bytes(), mtime=0)
        (folder / name).write_bytes(data[: len(data) // 2] if name == damaged else data)
    lines = [f"{number} {name} {2000 + number}" for number, name in enumerate(REGIONS, start=1)]
    (folder / "aal.nii.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_earth(folder: Path) -> Path:
    """Day: a ramp; night: lights on every eighth pixel of the north, none in the south."""
    folder.mkdir(parents=True)
    columns, rows = np.meshgrid(np.arange(2048), np.arange(1024))
    day = np.stack((columns // 8, rows // 4, (columns + rows) % 256), axis=2).astype(np.uint8)
    lit = (columns % 8 == 0) & (rows % 8 == 0) & (rows < 500)
    for name, pixels in (("earth.jpg", day), ("night.jpg", (lit[..., None] * np.ones(3) * 255).astype(np.uint8))):
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


def write_deb(path: Path, files: Mapping[str, bytes | str], *, packing: str = "xz") -> Path:
    """An ar archive as dpkg-deb writes it; a str is the target of a symbolic link."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    packers: dict[str, Callable[[bytes], bytes]] = {"xz": lzma.compress, "gz": gzip.compress}
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        f"data.tar{packing and '.'}{packing}": packers.get(packing, bytes)(plain.getvalue()),
    }
    with path.open("wb") as stream:
        stream.write(b"!<arch>\n")
        for name, data in members.items():
            stream.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data)
            stream.write(b"\n" * (len(data) % 2))
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_aal_region_has_a_group_and_the_longest_name_wins() -> None:
    names = [name for name, _, _ in GROUPS]
    for region, group in (
        ("Precentral_L", "sensorimotor cortex"),
        ("Precuneus_R", "parietal lobe"),
        ("ParaHippocampal_L", "hippocampus and amygdala"),
        ("Paracentral_Lobule_R", "sensorimotor cortex"),
        ("Frontal_Inf_Oper_L", "frontal lobe"),
        ("Temporal_Pole_Mid_R", "temporal lobe"),
        ("Cerebelum_Crus1_L", "cerebellum"),
        ("Vermis_4_5", "vermis"),
    ):
        assert names[group_of(region)] == group
    with pytest.raises(BadInputError, match="'Broca', which is none of the AAL atlas"):
        group_of("Broca")
    assert len({color for _, color, _ in GROUPS}) == len(GROUPS)


def test_slabs_of_different_splits_are_apart() -> None:
    for (one, _, end), (other, first, _) in pairwise(SLABS):
        assert one != other
        assert first - end >= brain.GAP


def test_the_label_map_lies_on_its_scan_forehead_up(tmp_path: Path) -> None:
    made = make_mri_labels(tmp_path / "out", write_head(tmp_path / "head"))
    assert {one.split for one in made} == {"train", "val", "test"}
    head, names = volumes(), {color: name for name, color, _ in GROUPS}
    for one in (made[0], made[-1]):
        pair = np.asarray(open_rgb(tmp_path / "out" / one.split / one.file))
        assert pair.shape == (256, 512, 3)
        labels, scan = pair[:, :256], pair[:, 256:]
        # 20 x 30 voxels in the middle of 256 x 256: x to the right from column 118, y up from row 142.
        for x, y in ((5, 25), (14, 25), (5, 5), (14, 5), (9, 27), (2, 2), (0, 0), (12, 12)):
            row, column = 113 + 29 - y, 118 + x
            assert (scan[row, column] == head["ch2.nii.gz"][x, y, one.z]).all()
            region = head["aal.nii.gz"][x, y, one.z]
            inside = head["ch2bet.nii.gz"][x, y, one.z] > 0
            expected = (
                GROUPS[group_of(REGIONS[region - 1])][0] if region else ("other brain" if inside else "outside")
            )
            assert names[tuple(labels[row, column].tolist())] == expected


@pytest.mark.parametrize("flipped", [("aal.nii.gz",), ("ch2.nii.gz", "ch2bet.nii.gz", "aal.nii.gz")])
def test_the_order_voxels_are_stored_in_changes_nothing(tmp_path: Path, flipped: tuple[str, ...]) -> None:
    make_mri_labels(tmp_path / "one", write_head(tmp_path / "head"))
    make_mri_labels(tmp_path / "other", write_head(tmp_path / "flipped", flipped=flipped))
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    del one["dataset.json"], other["dataset.json"]  # the sources differ
    assert one == other


def test_the_palette_of_dataset_json_is_that_of_the_images(tmp_path: Path) -> None:
    make_mri_labels(tmp_path / "out", write_head(tmp_path / "head"))
    domains = read_domains(tmp_path / "out")
    assert domains.palette_a is not None
    assert (len(domains.palette_a), domains.palette_a.names[:2]) == (14, ("outside", "other brain"))
    loaded = load_pairs(tmp_path / "out", "train", 128, modes=("labels", "grey"))
    assert set(palette_of(loaded.a, "A").colors) <= set(domains.palette_a.colors)
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["sources"][0]["sha256"]) == 64


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [({"moved": "aal.nii.gz"}, "do not lie on one grid"), ({"damaged": "ch2.nii.gz"}, r"ch2\.nii\.gz is damaged")],
)
def test_volumes_that_do_not_fit_are_refused(tmp_path: Path, wrong: dict[str, str], expected: str) -> None:
    source = write_head(tmp_path / "head", **wrong)  # type: ignore[arg-type]  # one of the str options
    with pytest.raises(BadInputError, match=expected):
        make_mri_labels(tmp_path / "out", source)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_night_tiles_are_lit_and_lie_where_their_day_does(tmp_path: Path) -> None:
    source = write_earth(tmp_path / "earth")
    made = make_day2night(tmp_path / "out", source)
    assert {tile.split for tile in made} == {"train", "val", "test"}
    assert all(tile.share >= day2night.LIT_SHARE and tile.box[1] < 500 for tile in made)
    day, night = (open_rgb(source / name) for name in ("earth.jpg", "night.jpg"))
    for tile in (made[0], made[-1]):
        pair = open_rgb(tmp_path / "out" / tile.split / tile.file)
        for left, image in ((0, day), (256, night)):
            assert pair.crop((left, 0, left + 256, 256)).tobytes() == image.crop(tile.box).tobytes()


@pytest.mark.parametrize("packing", ["dpkg -x", "xz", "gz", ""])
def test_a_package_may_be_given_as_a_file_or_unpacked(tmp_path: Path, packing: str) -> None:
    source = write_head(tmp_path / "tree" / "usr/share/mricron/templates")
    if packing != "dpkg -x":
        inside = {f"./usr/share/mricron/templates/{path.name}": path.read_bytes() for path in source.iterdir()}
        # Paths that lead out, or elsewhere, are neither followed nor read.
        tricks: dict[str, bytes | str] = {
            "../../ch2.nii.gz": b"x",
            "/ch2.nii.gz": b"x",
            "./usr/link": "/etc/passwd",
        }
        given = write_deb(tmp_path / "mricron-data.deb", {**tricks, **inside}, packing=packing)
    else:
        given = tmp_path / "tree"
    make_mri_labels(tmp_path / "out", given)
    make_mri_labels(tmp_path / "expected", source)
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    assert not (tmp_path.parent / "ch2.nii.gz").exists()


def bad_deb(path: Path, case: str) -> str:
    """Write a package that cannot be used, and say what the message must name."""
    good = {f"./usr/share/xplanet/images/{name}": b"x" * 5000 for name in ("earth.jpg", "night.jpg")}
    if case == "zst":
        write_deb(path, good, packing="zst")
        return "packed with zstd|cannot be read as a Debian package"
    if case == "another":
        write_deb(path, {"./usr/share/doc/README": b"x"})
        return "holds no /usr/share/xplanet/images/earth.jpg"
    if case == "link":
        write_deb(path, {**good, "./usr/share/xplanet/images/earth.jpg": "/etc/passwd"})
        return "is not a plain file"
    write_deb(path, good)
    data = path.read_bytes()
    changed = {"text": b"hello", "cut": data[: len(data) - 40], "bent": data[:200] + b"\xff" * 40 + data[240:]}
    path.write_bytes(changed.get(case, data))
    return {"text": "does not begin like one", "bomb": "unpacks to more than"}.get(
        case, "cannot be read as a Debian"
    )


@pytest.mark.parametrize("case", ["zst", "another", "link", "text", "cut", "bent", "bomb"])
def test_a_bad_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    expected = bad_deb(tmp_path / "x.deb", case)
    if case == "bomb":
        monkeypatch.setattr(sources, "MAX_DEB_BYTES", 8000)
        unlimited = lzma.LZMADecompressor()
        monkeypatch.setattr(lzma, "LZMADecompressor", lambda memlimit: unlimited if memlimit else None)
    with pytest.raises(BadInputError, match=expected) as refused:
        make_day2night(tmp_path / "out", tmp_path / "x.deb")
    assert "\n" not in str(refused.value)


def test_a_source_without_the_files_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist: name a folder, or a"):
        make_day2night(tmp_path / "out", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match=r"has no earth\.jpg and no night\.jpg"):
        make_day2night(tmp_path / "out", tmp_path / "empty")
    Image.new("RGB", (20, 10)).save(tmp_path / "empty" / "earth.jpg")
    Image.new("RGB", (20, 10)).save(tmp_path / "empty" / "night.jpg")
    with pytest.raises(BadInputError, match=r"earth\.jpg is 20x10, not 2048x1024"):
        make_day2night(tmp_path / "out", tmp_path / "empty")


def test_an_absent_package_is_named_with_the_ways_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = sources.DebianFiles(package="xplanet-images", folder=PurePosixPath("/nowhere"), names=("a",))
    monkeypatch.setattr(day2night, "FILES", absent)
    with pytest.raises(SystemExit) as ended:
        main(["day2night", "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (1, 1)
    assert "apt install xplanet-images" in error
    assert "--source" in error


@pytest.mark.slow
def test_the_commands_make_what_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "emoji",
        "satellite",
        "satellite-relief",
        "day2night",
        "mri-labels",
        "satellite-unpaired",
        "mnist-5k",
        "fashion-mnist",
    ]
    for name, source in (
        ("day2night", write_earth(tmp_path / "earth")),
        ("mri-labels", write_head(tmp_path / "head")),
    ):
        with pytest.raises(SystemExit) as ended:
            main([name, "--out", str(tmp_path / name), "--source", str(source)])
        printed = capsys.readouterr()
        assert ended.value.code == 0
        assert f"{tmp_path / name / 'train'}\t" in printed.out
        assert f"Next: {COMMANDS['paired']} --data {tmp_path / name}" in printed.err
        assert read_domains(tmp_path / name).name == name


@pytest.mark.skipif(
    not Path(brain.FILES.folder).is_dir(), reason="the Debian package mricron-data is not installed"
)
def test_the_real_head_has_all_classes_and_116_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain, "SLABS", SLABS)
    made = make_mri_labels(tmp_path / "out")
    assert [sum(one.split == split for one in made) for split in ("train", "val", "test")] == [94, 10, 12]
    pixels = load_pairs(tmp_path / "out", "train", 128, modes=("labels", "grey"))
    domains = read_domains(tmp_path / "out")
    assert domains.palette_a is not None
    assert set(palette_of(pixels.a, "A").colors) == set(domains.palette_a.colors)
    classes = domains.palette_a.classes(pixels.a)
    scan = pixels.b[:, 0].float()
    brightness = [float(scan[classes == index].mean()) for index in range(14)]
    # T1: white matter ("other brain") is brighter than cortex, the thalamus lies between, outside is darkest.
    assert brightness[0] < brightness[3] < brightness[10] < brightness[1] + 10
