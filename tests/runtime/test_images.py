"""Any image a user has becomes the tensor its pixels stand for, or is refused with one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.contract import Condition, ImageEncoding
from cgan_runtime.errors import ImageError
from cgan_runtime.images import (
    image_text,
    pixels_from_tensor,
    png_bytes,
    png_text,
    read_image,
    tensor_from_image,
)
from PIL import Image

from tests.helpers import png, smooth_images

PIXELS = smooth_images(1, size=32)[0]


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encoding_of(color: str) -> ImageEncoding:
    return ImageEncoding(color=color, mean=(0.5,) * len(color), std=(0.5,) * len(color))  # type: ignore[arg-type]  # cases of any form


def condition(color: str = "RGB", size: tuple[int, int] = (32, 32)) -> Condition:
    return Condition(name="condition", shape=(len(color), *size), encoding=encoding_of(color))


def test_an_rgb_image_keeps_every_pixel() -> None:
    np.testing.assert_array_equal(np.asarray(read_image(png(PIXELS))), PIXELS)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.concatenate([PIXELS, np.zeros((32, 32, 1), dtype=np.uint8)], axis=2)
    rgba[:16, :, 3] = 255
    read = np.asarray(read_image(saved(Image.fromarray(rgba))))
    np.testing.assert_array_equal(read[:16], PIXELS[:16])
    assert (read[16:] == 255).all()


def test_a_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(1, (0, 0, 8, 16))
    read = np.asarray(read_image(saved(palette, transparency=0)))
    assert read[0, 0].tolist() == [200, 100, 50]
    assert read[0, 15].tolist() == [255, 255, 255]


def test_sixteen_bit_grey_is_rounded_not_cut() -> None:
    wide = np.array([[0, 128, 129, 257, 32768, 65535] * 3] * 8, dtype=np.uint16)
    read = np.asarray(read_image(saved(Image.fromarray(wide))))
    assert read[0, :6].tolist() == [0, 0, 1, 1, 128, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK"])
def test_every_mode_becomes_rgb_or_grey(mode: str) -> None:
    source = Image.fromarray(PIXELS).convert(mode)
    read = read_image(saved(source, "JPEG" if mode == "CMYK" else "PNG"))
    assert read.mode in ("RGB", "L")
    assert tensor_from_image(read, condition()).shape == (3, 32, 32)
    assert tensor_from_image(read, condition("L")).shape == (1, 32, 32)
    assert tensor_from_image(read, condition("RGBA")).shape == (4, 32, 32)


def test_exif_rotation_is_applied() -> None:
    tall = Image.fromarray(PIXELS[:, :16])
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    read = read_image(saved(tall, "PNG", exif=exif))
    assert read.size == (32, 16)
    np.testing.assert_array_equal(np.asarray(read), np.rot90(PIXELS[:, :16], k=-1))


def test_the_tensor_is_the_pixels_normalised_and_back() -> None:
    tensor = tensor_from_image(read_image(png(PIXELS)), condition())
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor, (PIXELS / 127.5 - 1).transpose(2, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(pixels_from_tensor(tensor, ImageEncoding()), PIXELS)


def test_another_size_is_stretched_with_the_contracts_filter() -> None:
    tensor = tensor_from_image(read_image(png(PIXELS)), condition(size=(16, 48)))
    expected = np.asarray(Image.fromarray(PIXELS).resize((48, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels_from_tensor(tensor, ImageEncoding()), expected)


def test_rounding_is_the_contracts() -> None:
    value = np.full((1, 8, 8), 100.7 / 127.5 - 1, dtype=np.float32)
    grey = {"color": "L", "mean": (0.5,), "std": (0.5,)}
    assert pixels_from_tensor(value, ImageEncoding(**grey))[0, 0] == 101  # type: ignore[arg-type]  # cases of any form
    assert pixels_from_tensor(value, ImageEncoding(**grey, rounding="truncate"))[0, 0] == 100  # type: ignore[arg-type]  # cases of any form
    assert pixels_from_tensor(value * 9, ImageEncoding(**grey)).max() == 0  # type: ignore[arg-type]  # cases of any form


def test_a_png_carries_its_origin() -> None:
    text = image_text("facades", "ab" * 32, 2**64 - 1, 3, "openvino/bf16")
    assert png_text(png_bytes(PIXELS, text)) == {
        "cgan-model": "facades",
        "cgan-model-digest": "ab" * 32,
        "cgan-seed": "18446744073709551615",
        "cgan-draw": "3",
        "cgan-artifact": "openvino/bf16",
    }
    assert png_bytes(PIXELS, text) == png_bytes(PIXELS, text)
    assert "cgan-artifact" not in image_text("facades", "ab" * 32, 1, 0, None)


def header_only(width: int, height: int) -> bytes:
    """A PNG whose header declares a size and whose pixels are missing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"these are words, not an image", "not an image that can be read"),
        (png(PIXELS[:1, :1]), "1x1 pixels; the smaller side needs at least 8"),
        (png(PIXELS[:, :4]), "4x32 pixels"),
        (header_only(20000, 20000), "400 million pixels; at most 16384 a side and 64 million"),
        (header_only(60000, 60000), "3600 million pixels; at most 16384"),
        (header_only(10000, 9000), "10000x9000 pixels"),
        (png(PIXELS)[:-60], "damaged PNG"),
        (saved(Image.fromarray(PIXELS), "PCX"), "not an image that can be read"),
    ],
)
def test_what_is_no_usable_image_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as refusal:
        read_image(data, "in.png")
    assert str(refusal.value).startswith("in.png ")
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing\.png cannot be read: No such file"):
        read_image(tmp_path / "nothing.png")


def test_flipped_bytes_never_crash() -> None:
    """Every mutant is read as some image or refused as an ImageError."""
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF"):
        good = saved(Image.fromarray(PIXELS), kind)
        for _ in range(150):
            mutant = bytearray(good)
            mutant[rng.integers(len(mutant))] ^= 1 << rng.integers(8)
            try:
                read_image(bytes(mutant))
            except ImageError as error:
                assert "\n" not in str(error)


LEVELS = np.linspace(0, 1, 16 * 16).reshape(16, 16)
FROM = np.arange(256).reshape(16, 16)  # what LEVELS are in 8 bits


def wide(values: np.ndarray, kind: str = "TIFF") -> bytes:
    return saved(Image.fromarray(values), kind)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (wide(np.rint(LEVELS * 255).astype(np.uint16), "PNG"), FROM),
        (wide(np.rint(LEVELS * 1023).astype(np.uint16), "PNG"), FROM),
        (wide(np.rint(LEVELS * 4095).astype(np.uint16), "PNG"), FROM),
        (wide(np.rint(LEVELS * 4095).astype(np.uint16)), FROM),
        (wide(np.rint(LEVELS * 16383).astype(np.uint16)), FROM),
        (wide(np.rint(LEVELS * 65535).astype(np.uint16)), FROM),
        (wide(np.rint(LEVELS * 4095).astype(np.int32)), FROM),
        (wide(LEVELS.astype(np.float32)), FROM),
        (wide((LEVELS * 255).astype(np.float32)), FROM),
        (wide((LEVELS * 2 - 1).astype(np.float32)), FROM),
        (wide((LEVELS > 0.5).astype(np.uint16)), (LEVELS > 0.5) * 255),
        (wide(np.zeros((16, 16), dtype=np.uint16)), FROM * 0),
        (b"P5 16 16 1023\n" + np.rint(LEVELS * 1023).astype(">u2").tobytes(), FROM),
    ],
    ids=["8 in 16", "10", "12", "12 tiff", "14", "16", "int32", "0..1", "0..255", "-1..1", "mask", "black", "pgm"],
)
def test_values_of_more_than_8_bits_are_scaled_from_the_range_they_are_in(
    data: bytes, expected: np.ndarray
) -> None:
    assert np.abs(np.asarray(read_image(data)).astype(int) - expected).max() <= 1
    assert np.asarray(read_image(data)).max() == expected.max()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            np.array([[-1000, 3000] * 8] * 16, dtype=np.int32),
            "has values from -1000 to 3000, which is no usual range",
        ),
        (np.array([[0, 10**6] * 8] * 16, dtype=np.int32), "has values from 0 to 1e\\+06"),
        (np.array([[0.0, np.nan] * 8] * 16, dtype=np.float32), "holds values that are no finite numbers"),
        (np.array([[0.0, np.inf] * 8] * 16, dtype=np.float32), "holds values that are no finite numbers"),
    ],
)
def test_values_of_no_usual_range_are_refused_not_guessed(values: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=f"scan.tif {words}"):
        read_image(wide(values), "scan.tif")


def test_an_unsigned_tiff_of_32_bits_is_not_taken_for_a_signed_one() -> None:
    data = wide(np.array([[0, -1] * 8] * 16, dtype=np.int32))  # the bits of 2^32 - 1
    unsigned = data.replace(struct.pack("<HHII", 339, 3, 1, 2), struct.pack("<HHII", 339, 3, 1, 1))
    assert unsigned != data
    with pytest.raises(ImageError, match=r"from 0 to 4\.29497e\+09"):
        read_image(unsigned, "scan.tif")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_kept_for_a_generator_that_takes_it(kind: str) -> None:
    rgba = np.dstack([PIXELS, 1 + np.arange(32 * 32).reshape(32, 32) % 255]).astype(np.uint8)
    encoding = encoding_of("RGBA")
    options = {"lossless": True} if kind == "WEBP" else {}
    read = read_image(saved(Image.fromarray(rgba), kind, **options), encoding=encoding)
    np.testing.assert_array_equal(np.asarray(read), rgba)
    tensor = tensor_from_image(read, condition("RGBA"))
    np.testing.assert_allclose(tensor, rgba.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(pixels_from_tensor(tensor, encoding), rgba)


def test_an_image_without_transparency_is_opaque_and_what_is_hidden_does_not_bleed_into_a_smaller_one() -> None:
    opaque = tensor_from_image(read_image(png(PIXELS), encoding=encoding_of("RGBA")), condition("RGBA"))
    assert (opaque[3] == 1).all()
    rgba = np.zeros((32, 32, 4), dtype=np.uint8)
    rgba[:, :16] = (255, 0, 0, 255)
    rgba[:, 16:] = (0, 255, 0, 0)  # green that cannot be seen
    half = condition("RGBA", size=(16, 16))
    smaller = tensor_from_image(read_image(saved(Image.fromarray(rgba)), encoding=encoding_of("RGBA")), half)
    seen = smaller[3] > 0
    assert (smaller[1][seen] < -0.9).all()


@pytest.mark.parametrize(("dtype", "top"), [("uint16", 4095), ("float32", 1000.0)])
def test_a_dark_image_is_read_by_the_range_that_the_generator_was_trained_with(dtype: str, top: float) -> None:
    dark = (LEVELS * top / 8).astype(dtype)  # alone it would be taken for 10 bits, or for 0..255
    encoding = ImageEncoding(integers=(0, 4095), floats=(0, 1000))
    read = np.asarray(read_image(wide(dark), encoding=encoding)).astype(int)
    assert np.abs(read - np.rint(LEVELS * 255 / 8)).max() <= 1
    alone = np.asarray(read_image(wide(dark))).astype(int)
    assert alone.max() > 2 * read.max()


def test_a_range_that_goes_down_is_none() -> None:
    with pytest.raises(ValueError, match="a range goes up"):
        ImageEncoding(integers=(4095, 0))
