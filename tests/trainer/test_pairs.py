from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.pairs import find_validation, load_pairs, palette_of, read_domains
from cgan_trainer.palette import Palette
from PIL import Image

from tests.trainer.conftest import write_pairs


def test_a_is_the_left_half_and_b_the_right(pairs: Path) -> None:
    loaded = load_pairs(pairs, "train", 64)
    image = np.asarray(open_rgb(pairs / "train" / "003.png"))
    assert loaded.files[3] == "003.png"
    assert np.array_equal(loaded.a[3].permute(1, 2, 0).numpy(), image[:, :64])
    assert np.array_equal(loaded.b[3].permute(1, 2, 0).numpy(), image[:, 64:])


def test_pairs_of_another_size_are_resized(pairs: Path) -> None:
    assert load_pairs(pairs, "val", 128).b.shape == (3, 3, 128, 128)


def test_files_are_sorted_found_at_any_depth_and_hidden_ones_skipped(tmp_path: Path) -> None:
    write_pairs(tmp_path / "train" / "b", 1)
    write_pairs(tmp_path / "train" / "a", 1)
    write_pairs(tmp_path / "train" / ".thumbnails", 1)
    (tmp_path / "train" / "._000.png").write_bytes(b"\0")
    (tmp_path / "train" / "Thumbs.db").write_bytes(b"\0")
    (tmp_path / "train" / "a" / "000.png").rename(tmp_path / "train" / "a" / "X.PNG")
    assert load_pairs(tmp_path, "train", 64).files == ("a/X.PNG", "b/000.png")


def test_the_digest_follows_the_pixels_and_not_the_place(pairs: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path / "train", 7)
    assert load_pairs(tmp_path, "train", 64).sha256 == load_pairs(pairs, "train", 64).sha256
    pixels = np.asarray(open_rgb(tmp_path / "train" / "000.png")).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "train" / "000.png")
    assert load_pairs(tmp_path, "train", 64).sha256 != load_pairs(pairs, "train", 64).sha256


def bad_folder(root: Path, case: str) -> str:
    """Make one wrong dataset and say what the message must name."""
    if case == "missing":
        return f"{root / 'nowhere'} does not exist"
    if case == "file":
        (root / "nowhere").write_text("")
        return "is not a folder"
    if case == "no train":
        write_pairs(root / "nowhere" / "val", 1)
        return "has no train/ folder"
    (root / "nowhere" / "train").mkdir(parents=True)
    if case == "empty":
        return "holds no images: side-by-side pairs are needed, as PNG, JPEG, WebP"
    path = root / "nowhere" / "train" / "a.png"
    if case == "odd":
        Image.new("RGB", (129, 64)).save(path)
        return f"{path} is 129x64: a side-by-side pair has an even width"
    write_pairs(root / "good", 1)
    sound = (root / "good" / "000.png").read_bytes()
    path.write_bytes({"text": b"hello", "nothing": b"", "cut": sound[: len(sound) // 2]}[case])
    return f"{path} is " + {"text": "not an image that can", "nothing": "empty", "cut": "a damaged PNG"}[case]


@pytest.mark.parametrize("case", ["missing", "file", "no train", "empty", "odd", "text", "nothing", "cut"])
def test_a_dataset_that_cannot_be_used_is_named(tmp_path: Path, case: str) -> None:
    expected = bad_folder(tmp_path, case)
    with pytest.raises(BadInputError) as refused:
        load_pairs(tmp_path / "nowhere", "train", 64, strict=True)
    assert expected in str(refused.value)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("case", ["odd", "text", "nothing", "cut"])
def test_a_broken_image_is_named_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    expected = bad_folder(tmp_path, case)
    root = tmp_path / "nowhere"
    with pytest.raises(BadInputError, match="none of the 1 images can be used; the first: "):
        load_pairs(root, "train", 64)
    write_pairs(root / "train" / "sound", 3)
    for _ in range(2):  # decoded, then from the cache
        capsys.readouterr()
        loaded = load_pairs(root, "train", 64)
        assert (len(loaded), loaded.skipped) == (3, ("a.png",))
        assert f"{root}: 1 of 4 train pairs are left out:\n  {expected}" in capsys.readouterr().err
    for row, name in enumerate(loaded.files):
        assert np.array_equal(loaded.a[row].permute(1, 2, 0), np.asarray(open_rgb(root / "train" / name))[:, :64])
    with pytest.raises(BadInputError) as refused:
        load_pairs(root, "train", 64, strict=True)  # known from the cache
    assert expected in str(refused.value)


def test_many_broken_images_are_told_in_a_few_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "train", 2)
    for index in range(8):
        (tmp_path / "train" / f"x{index}.png").write_bytes(b"?")
    loaded = load_pairs(tmp_path, "train", 64)
    assert loaded.skipped == tuple(f"x{index}.png" for index in range(8))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[-1] == "  and 3 more"


def test_the_digest_is_over_names_size_and_pixels(pairs: Path) -> None:
    # Runs that were begun with an earlier version go on: the digest must stay what it was.
    loaded = load_pairs(pairs, "train", 64)
    digest = hashlib.sha256(json.dumps([loaded.files, 64]).encode())
    digest.update(torch.stack((loaded.a, loaded.b)).numpy().tobytes())
    assert loaded.sha256 == digest.hexdigest()
    assert load_pairs(pairs, "train", 64, modes=("rgb", "grey")).sha256 != loaded.sha256


def test_grey_is_one_channel_of_brightness(pairs: Path) -> None:
    colored, grey = load_pairs(pairs, "train", 64), load_pairs(pairs, "train", 64, modes=("grey", "rgb"))
    assert (grey.a.shape, grey.b.shape) == ((7, 1, 64, 64), (7, 3, 64, 64))
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601
    assert (grey.a[:, 0] - (colored.a * weights).sum(1)).abs().max() <= 0.51
    assert torch.equal(grey.b, colored.b)


def write_labels(path: Path, size: int, mode: str) -> set[tuple[int, ...]]:
    """A map of five colours with single pixels among them, and the colours."""
    colors = np.array([[0, 0, 0], [1, 0, 0], [250, 190, 212], [0, 128, 128], [255, 255, 255]], dtype=np.uint8)
    classes = np.random.default_rng(3).integers(0, 5, (size, size), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "P":
        image = Image.fromarray(classes, "P")
        image.putpalette(colors.tobytes())
        image.save(path)
    else:
        Image.fromarray(colors[classes]).save(path)
    return {tuple(color) for color in colors.tolist()}


@pytest.mark.parametrize("mode", ["P", "RGB"])
@pytest.mark.parametrize("size", [48, 64, 100])
def test_resized_labels_have_no_colour_that_was_not_there(tmp_path: Path, mode: str, size: int) -> None:
    colors = write_labels(tmp_path / "A" / "train" / "x.png", 64, mode)
    write_labels(tmp_path / "B" / "train" / "x.png", 64, "RGB")
    loaded = load_pairs(tmp_path, "train", size, modes=("labels", "rgb"))
    assert {tuple(color) for color in loaded.a.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} == colors
    blended = len(palette_or_none(loaded.b) or ()) != 5
    assert blended == (size != 64)


def palette_or_none(pixels: torch.Tensor) -> Palette | None:
    try:
        return palette_of(pixels, "B")
    except BadInputError:
        return None


def test_class_numbers_in_16_bit_images_are_kept(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / side / "train").mkdir(parents=True)
    Image.new("I;16", (64, 64), 7).save(tmp_path / "A" / "train" / "x.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "B" / "train" / "x.png")
    assert load_pairs(tmp_path, "train", 64, modes=("labels", "rgb")).a.flatten().tolist() == [7] * 64 * 64 * 3
    Image.new("I;16", (64, 64), 300).save(tmp_path / "A" / "train" / "x.png")
    with pytest.raises(BadInputError, match="has values up to 300"):
        load_pairs(tmp_path, "train", 64, modes=("labels", "rgb"))


def test_a_palette_lists_the_commonest_colour_first() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    pixels[0, :, :2] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    pixels[1, :, 0, :2] = torch.tensor([0, 0, 9], dtype=torch.uint8)[:, None]
    pixels[1, :, 3, :2] = torch.tensor([0, 0, 8], dtype=torch.uint8)[:, None]
    palette = palette_of(pixels, "A")
    assert palette.names == ("#000000", "#ff0000", "#000008", "#000009")
    assert palette.colors == ((0, 0, 0), (255, 0, 0), (0, 0, 8), (0, 0, 9))
    drawn = torch.tensor(palette.colors, dtype=torch.uint8)[palette.classes(pixels)].permute(0, 3, 1, 2)
    assert torch.equal(drawn, pixels)


def test_a_photograph_has_no_palette() -> None:
    ramp = torch.arange(65, dtype=torch.uint8).expand(1, 3, 2, 65)
    assert len(palette_of(ramp[..., :64], "A")) == 64
    with pytest.raises(BadInputError, match=r"side B has 65 colours or more: not a label map \(JPEG\?"):
        palette_of(ramp, "B")


def test_palettes_come_from_dataset_json(tmp_path: Path) -> None:
    palettes = {"A": {"names": ["sea", "land"], "colors": [[0, 0, 255], [0, 99, 0]]}}
    described = {"name": "x", "domains": {"A": "labels", "B": "photo"}, "palettes": palettes}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    domains = read_domains(tmp_path)
    assert domains.palette_a == Palette(names=("sea", "land"), colors=((0, 0, 255), (0, 99, 0)))
    assert domains.palette_b is None
    for wrong in ([[0, 0, 255]], [[0, 0], [1, 1]], [[0, 0, 0], [0, 0, 0]], "ab", None):
        palettes["A"]["colors"] = wrong
        (tmp_path / "dataset.json").write_text(json.dumps(described))
        with pytest.raises(BadInputError, match=r"dataset\.json cannot be read"):
            read_domains(tmp_path)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 200, (200, 200, 200)),
        ("P", 0, (0, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("LA", (10, 0), (255, 255, 255)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 257 * 99, (99, 99, 99)),
    ],
)
def test_every_mode_becomes_8_bit_rgb(
    tmp_path: Path, mode: str, color: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    Image.new(mode, (4, 2), color).save(tmp_path / "x.png")
    image = open_rgb(tmp_path / "x.png")
    assert (image.mode, image.size, image.getpixel((1, 1))) == ("RGB", (4, 2), expected)


def test_cmyk_and_exif_rotation_are_undone(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "c.jpg")
    assert open_rgb(tmp_path / "c.jpg").getpixel((4, 4)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (8, 4)).save(tmp_path / "r.jpg", exif=exif)
    assert open_rgb(tmp_path / "r.jpg").size == (4, 8)


def test_held_out_images_may_be_called_test(pairs: Path, tmp_path: Path) -> None:
    assert find_validation(pairs) == "val"
    write_pairs(tmp_path / "test", 1)
    assert find_validation(tmp_path) == "test"
    with pytest.raises(BadInputError, match="no images under val/ or test/"):
        find_validation(tmp_path / "test")


def test_domains_come_from_dataset_json(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "x", "domains": {"A": "map", "B": "satellite"}}')
    assert (read_domains(tmp_path).a, read_domains(tmp_path).b) == ("map", "satellite")
    assert (read_domains(pairs).a, read_domains(pairs).b) == ("A", "B")
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(BadInputError, match=r"dataset\.json cannot be read"):
        read_domains(tmp_path)


def test_a_format_that_no_name_promises_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript: a file called a.png must not get there."""
    called = tmp_path / "called"
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {called}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(BadInputError, match=r"a\.png is a PostScript image, which is not read"):
        open_rgb(tmp_path / "a.png")
    assert not called.exists()
