"""Files of every format are read alike by training and by serving, or named with the way out."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.contract import Condition, ImageEncoding
from cgan_runtime.encodings import encoder_of
from cgan_runtime.errors import ImageError
from cgan_runtime.image_formats import FORMATS, READ, READ_SUFFIXES, ImageFormat, list_images
from cgan_runtime.images import read_image
from cgan_trainer.data.images import open_image
from PIL import Image

from tests.helpers import png, smooth_images

PIXELS = smooth_images(1, size=32)[0]
OTHER = smooth_images(1, size=32, seed=9)[0]
CONDITION = Condition(name="condition", shape=(3, 32, 32), encoding=ImageEncoding())


def saved(kind: str, *frames: np.ndarray) -> bytes:
    stream = io.BytesIO()
    images = [Image.fromarray(pixels) for pixels in frames]
    several: dict[str, object] = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    lossless: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    images[0].save(stream, kind, **several, **lossless)
    return stream.getvalue()


@pytest.mark.parametrize("known", READ, ids=lambda known: known.name)
def test_training_and_serving_read_the_same_pixels_of_every_format_that_is_read(
    known: ImageFormat, tmp_path: Path
) -> None:
    data = saved(known.pillow, PIXELS)
    path = tmp_path / f"image{known.suffixes[-1]}"
    path.write_bytes(data)
    trained = np.asarray(open_image(path, "rgb"))
    np.testing.assert_array_equal(np.asarray(read_image(path).convert("RGB")), trained)
    served = encoder_of(CONDITION).encode(data, CONDITION)
    np.testing.assert_allclose(served, trained.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert np.abs(trained.astype(int) - PIXELS).mean() < 8, "GIF has 256 colours, JPEG loses some"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_of_an_animation_or_of_several_pages_the_first_is_read(kind: str) -> None:
    read = np.asarray(read_image(saved(kind, PIXELS, OTHER)).convert("RGB"))
    np.testing.assert_array_equal(read, np.asarray(read_image(saved(kind, PIXELS)).convert("RGB")))


def container(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"mif1" + brand + bytes(64)


def tiff(*tags: tuple[int, int, int]) -> bytes:
    """A TIFF file whose first page has these tags (number, type, value) beside those of 8x8 grey pixels."""
    needed = [(256, 3, 8), (257, 3, 8), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
              (278, 3, 8), (279, 4, 64)]  # fmt: skip
    entries = sorted((*needed, *tags))
    table = b"".join(struct.pack("<HHII", number, kind, 1, value) for number, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + struct.pack("<H", len(entries)) + table + bytes(4)


UNREAD = [
    (container(b"heic"), "a HEIC image", "heif-convert"),
    (container(b"mif1"), "a HEIC image", "heif-convert"),
    (container(b"avif"), "an AVIF image", "avifdec"),
    (container(b"crx "), "a camera RAW file", "darktable-cli"),
    (container(b"mp42"), "a video", "ffmpeg"),
    (b"\xff\x0a" + bytes(64), "a JPEG XL image", "djxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64), "a JPEG XL image", "djxl"),
    (saved("JPEG2000", PIXELS), "a JPEG 2000 image", "opj_decompress"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG image", "rsvg-convert"),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by --><svg/>', "an SVG image", "rsvg-convert"),
    (saved("PDF", PIXELS), "a PDF file", "pdftoppm"),
    (saved("EPS", PIXELS), "a PostScript image", "gs "),
    (b"8BPS\0\1" + bytes(64), "a Photoshop image", "magick"),
    (saved("ICO", PIXELS), "an icon", "magick"),
    (bytes(128) + b"DICM" + bytes(64), "a DICOM image", "dcmj2pnm"),
    (b"II*\0\x10\0\0\0CR\x02\0" + bytes(64), "a camera RAW file", "darktable-cli"),
    (tiff((50706, 1, 1)), "a camera RAW file", "darktable-cli"),
    (tiff((254, 4, 1)), "a camera RAW file", "darktable-cli"),
    (b"<!DOCTYPE html><html>", "a web page (a failed download)", ""),
    (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
    (b"PK\x03\x04" + bytes(64), "a zip archive", "unpack it"),
]


@pytest.mark.parametrize(("data", "what", "way_out"), UNREAD, ids=lambda value: str(value)[:24])
def test_what_is_not_read_is_named_by_its_content_with_the_way_out(
    data: bytes, what: str, way_out: str, tmp_path: Path
) -> None:
    """Telephones and web sites call many of them .jpg."""
    path = tmp_path / "image.jpg"
    path.write_bytes(data)
    reads: tuple[Callable[[], object], ...] = (
        lambda: read_image(path),
        lambda: read_image(data, str(path)),
        lambda: open_image(path, "rgb"),
    )
    for read in reads:
        with pytest.raises(ImageError) as refused:
            read()
        said = str(refused.value)
        assert said.startswith(f"{path} is {what}")
        assert way_out in said
        assert "\n" not in said
        assert said.endswith(".")


def test_the_made_tiff_is_read_where_no_tag_says_raw() -> None:
    assert read_image(tiff()).size == (8, 8)
    with pytest.raises(ImageError, match="signed 8-bit values"):
        read_image(tiff((339, 3, 2)))


@pytest.mark.parametrize("name", ["DSC_1.NEF", "DSC_1.arw", "DSC_1.Dng"])
def test_a_tiff_that_is_called_raw_is_not_taken_for_its_preview(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(saved("TIFF", PIXELS))
    with pytest.raises(ImageError, match="is a camera RAW file"):
        read_image(tmp_path / name)


def test_what_nothing_can_tell_is_named_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "x.tga").write_bytes(bytes(100))
    with pytest.raises(ImageError, match="is a Targa image, which is not read"):
        read_image(tmp_path / "x.tga")


def test_a_folder_lists_what_it_holds_and_no_source_of_a_readable_image(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "a.svg",
        "b.HEIC",
        "c.JPG",
        "c.CR2",
        "d.pdf",
        ".e.png",
        ".f/g.png",
        "notes.txt",
        "h/i.jfif",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(PIXELS))
    listed = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert listed == ["a.png", "b.HEIC", "c.JPG", "d.pdf", "h/i.jfif"]


def test_no_ending_belongs_to_two_formats_and_every_unread_one_has_a_way_out() -> None:
    endings = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(endings) == len(set(endings))
    assert all(known.way_out for known in FORMATS if not known.pillow)
    assert {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp"} <= set(READ_SUFFIXES)
