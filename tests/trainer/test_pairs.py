from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cgan_trainer.data.pairs import find_validation, load_pairs, read_domains
from cgan_trainer.data.pictures import open_rgb
from cgan_trainer.errors import BadInputError
from PIL import Image

from tests.trainer.conftest import write_pairs


def test_a_is_the_left_half_and_b_the_right(pairs: Path) -> None:
    loaded = load_pairs(pairs, "train", 64)
    picture = np.asarray(open_rgb(pairs / "train" / "003.png"))
    assert loaded.files[3] == "003.png"
    assert np.array_equal(loaded.a[3].permute(1, 2, 0).numpy(), picture[:, :64])
    assert np.array_equal(loaded.b[3].permute(1, 2, 0).numpy(), picture[:, 64:])


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
        return "holds no pictures: side-by-side pairs are needed, as jpg, jpeg, png"
    path = root / "nowhere" / "train" / "a.png"
    if case == "odd":
        Image.new("RGB", (129, 64)).save(path)
        return f"{path} is 129x64: a side-by-side pair has an even width"
    write_pairs(root / "good", 1)
    sound = (root / "good" / "000.png").read_bytes()
    path.write_bytes({"text": b"hello", "nothing": b"", "cut": sound[: len(sound) // 2]}[case])
    return f"{path} cannot be read as a picture"


@pytest.mark.parametrize("case", ["missing", "file", "no train", "empty", "odd", "text", "nothing", "cut"])
def test_a_dataset_that_cannot_be_used_is_named(tmp_path: Path, case: str) -> None:
    expected = bad_folder(tmp_path, case)
    with pytest.raises(BadInputError) as refused:
        load_pairs(tmp_path / "nowhere", "train", 64)
    assert expected in str(refused.value)
    assert refused.value.exit_code == 3


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
    picture = open_rgb(tmp_path / "x.png")
    assert (picture.mode, picture.size, picture.getpixel((1, 1))) == ("RGB", (4, 2), expected)


def test_cmyk_and_exif_rotation_are_undone(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "c.jpg")
    assert open_rgb(tmp_path / "c.jpg").getpixel((4, 4)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (8, 4)).save(tmp_path / "r.jpg", exif=exif)
    assert open_rgb(tmp_path / "r.jpg").size == (4, 8)


def test_held_out_pictures_may_be_called_test(pairs: Path, tmp_path: Path) -> None:
    assert find_validation(pairs) == "val"
    write_pairs(tmp_path / "test", 1)
    assert find_validation(tmp_path) == "test"
    with pytest.raises(BadInputError, match="no pictures under val/ or test/"):
        find_validation(tmp_path / "test")


def test_domains_come_from_dataset_json(satellite: Path, pairs: Path, tmp_path: Path) -> None:
    assert (read_domains(satellite).a, read_domains(satellite).b) == ("map", "satellite")
    assert (read_domains(pairs).a, read_domains(pairs).b) == ("A", "B")
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(BadInputError, match=r"dataset\.json cannot be read"):
        read_domains(tmp_path)
