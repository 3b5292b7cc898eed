"""What a caller gives becomes exactly the tensor it stands for, or one sentence; what comes out is exact too."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from cgan_export.fidelity.heatmap import condition_pixels
from cgan_runtime.contract import (
    Condition,
    ConditionEncoding,
    HeatmapEncoding,
    ImageEncoding,
    LabelEncoding,
    Output,
    OutputEncoding,
    ScoreEncoding,
    VectorEncoding,
)
from cgan_runtime.encodings import DECODERS, ENCODERS, decoder_of, encoder_of
from cgan_runtime.encodings.heatmap import COLORS, heatmap_pixels
from cgan_runtime.errors import BadInputError, CganError, ImageError, UsageError
from cgan_runtime.images import png_text, read_image, tensor_from_image
from PIL import Image

from tests.helpers import png, smooth_images

SHOES = Condition(
    name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=("T-shirt", "Sneaker", "Ankle boot"))
)
DIGITS = Condition(name="label", shape=(), dtype="int64", range=(0, 9), encoding=LabelEncoding())
CODE = Condition(name="code", shape=(3,), encoding=VectorEncoding())
RAW = Condition(name="raw", shape=(2, 2))
STEP = Condition(name="step", shape=(), dtype="int64")
PHOTO = Condition(name="photo", shape=(3, 16, 16), encoding=ImageEncoding())
MAP = Output(name="map", shape=(1, 2, 3), range=(-1.0, 3.0), encoding=HeatmapEncoding())
PIXELS = smooth_images(1, size=16)[0]


def encode(condition: Condition, given: Any) -> np.ndarray:
    value = encoder_of(condition).encode(given, condition)
    assert value.dtype == np.dtype(condition.dtype)
    return value


def kinds(union: object) -> set[str]:
    """The `kind` of every encoding of one of the contract's unions."""
    return {encoding.model_fields["kind"].default for encoding in get_args(get_args(union)[0])}


def test_every_kind_of_the_contract_is_in_the_tables() -> None:
    assert kinds(ConditionEncoding) == set(ENCODERS)
    assert kinds(OutputEncoding) | {"vector"} == set(DECODERS)


@pytest.mark.parametrize(
    ("given", "number"),
    [(2, 2), ("2", 2), ("sneaker", 1), ("Sneaker", 1), (" ankle BOOT ", 2), (b"T-shirt", 0), (np.int64(1), 1)],
)
def test_a_class_by_number_or_name(given: object, number: int) -> None:
    assert encode(SHOES, given) == number
    assert encode(SHOES, given).shape == ()


def test_a_name_that_looks_like_a_number_is_the_name() -> None:
    classes = Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=("1", "2", "3")))
    assert encode(classes, "3") == 2
    assert encode(classes, 1) == 1
    assert encode(classes, "0") == 0


@pytest.mark.parametrize(
    ("condition", "given", "words"),
    [
        (SHOES, "snaeker", r"label 'snaeker' is not a class \(did you mean Sneaker\?\); give 0 to 2, or a name"),
        (SHOES, "hat", r"label 'hat' is not a class; give 0 to 2, or a name \(T-shirt, Sneaker, Ankle boot\)"),
        (SHOES, 3, "label 3 is out of range; give 0 to 2"),
        (SHOES, "-1", "label -1 is out of range; give 0 to 2"),
        (SHOES, "99999999999999999999", "out of range; give 0 to 2"),
        (SHOES, True, "label True is not a class"),
        (SHOES, 1.5, "label 1.5 is not a class"),
        (SHOES, "1.5", "label '1.5' is not a class"),
        (SHOES, "", "label '' is not a class"),
        (DIGITS, "10", "label 10 is out of range; give 0 to 9[.]"),
        (CODE, "1,2", "code has 2 numbers, 3 are needed"),
        (CODE, [1, 2, 3, 4], "code has 4 numbers, 3 are needed"),
        (CODE, "1,two,3", "code '1,two,3' is not a list of numbers; give 3 numbers with commas between"),
        (CODE, "1,nan,3", "code holds NaN, infinity or a number too large"),
        (CODE, [1, 2, 1e39], "code holds NaN, infinity or a number too large"),
        (CODE, [[1, 2, 3]], "code has the shape 1 x 3, 3 is needed"),
        (CODE, [1, 2, None], "code holds something that is not a number"),
        (CODE, [[1, 2], [3]], "code holds something that is not a number"),
        (STEP, "1.5", "step holds a fraction; whole numbers are needed"),
        (STEP, "1,2", "step has the shape 2, one number is needed"),
        (PHOTO, 7, "photo needs a PNG, JPEG, WebP, TIFF, BMP, PPM or GIF image"),
    ],
)
def test_what_does_not_fit_is_one_sentence(condition: Condition, given: object, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        encode(condition, given)
    assert "\n" not in str(refusal.value)


def test_numbers_in_every_form_are_the_same_vector(tmp_path: Path) -> None:
    numbers = [0.5, -1.0, 2.25]
    np.save(tmp_path / "code.npy", np.array(numbers))
    (tmp_path / "code.json").write_text(json.dumps(numbers))
    forms = ["0.5, -1,2.25", numbers, np.array(numbers), tmp_path / "code.npy", str(tmp_path / "code.json")]
    for given in forms:
        np.testing.assert_array_equal(encode(CODE, given), np.array(numbers, dtype=np.float32))


def test_a_tensor_without_an_encoding_is_taken_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "raw.npy", np.eye(2, dtype=np.float32))
    np.testing.assert_array_equal(encode(RAW, tmp_path / "raw.npy"), np.eye(2))
    assert encode(STEP, "7").shape == ()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("short.json", b"[1, 2]", "short.json has 2 numbers, 3 are needed"),
        ("object.json", b'{"code": 1}', "object.json holds something that is not a number"),
        ("broken.json", b"[1, 2", "broken.json is not a .json file with numbers in it"),
        ("binary.json", b"\xff\xfe", "binary.json is not a .json file"),
        ("broken.npy", b"\x93NUMPY\x01\x00", "broken.npy is not a .npy file"),
        ("words.npy", b"these are words", "words.npy is not a .npy file"),
        ("empty.npy", b"", "empty.npy is not a .npy file"),
    ],
)
def test_a_file_that_holds_no_such_vector_is_a_bad_file(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInputError, match=words):
        encode(CODE, str(tmp_path / name))


def test_a_pickle_in_a_npy_file_is_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "code.npy", np.array([{"a": 1}, 2, 3], dtype=object), allow_pickle=True)
    with pytest.raises(BadInputError, match=r"not a \.npy file with numbers"):
        encode(CODE, tmp_path / "code.npy")


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        encode(CODE, "missing.npy")
    with pytest.raises(BadInputError, match=r"neither a \.npy nor a \.json"):
        encode(CODE, tmp_path / "code.csv")


def test_an_image_is_the_tensor_of_its_pixels(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(PIXELS))
    expected = tensor_from_image(Image.fromarray(PIXELS), PHOTO)
    for given in (tmp_path / "photo.png", str(tmp_path / "photo.png"), png(PIXELS), Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(encode(PHOTO, given), expected)
    with pytest.raises(ImageError, match="photo is not an image that can be read"):
        encode(PHOTO, b"these are words")


def test_an_image_comes_back_with_its_text_and_in_the_size_asked_for() -> None:
    output = Output(name="picture", shape=(3, 16, 16), encoding=ImageEncoding())
    tensor = tensor_from_image(Image.fromarray(PIXELS), PHOTO)
    data = decoder_of(output).decode(tensor, output, text={"cgan-seed": "7"})
    assert isinstance(data, bytes)
    np.testing.assert_array_equal(np.asarray(read_image(data)), PIXELS)
    assert png_text(data) == {"cgan-seed": "7"}
    larger = decoder_of(output).decode(tensor, output, size=(40, 20))
    assert isinstance(larger, bytes)
    expected = Image.fromarray(PIXELS).resize((40, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(read_image(larger)), np.asarray(expected))


def test_a_heatmap_runs_from_black_over_red_and_yellow_to_white_over_its_range() -> None:
    values = np.array([[-1, 1 / 3, 5 / 3], [3, -9, 9]], dtype=np.float32)
    expected = [[[0, 0, 0], [255, 0, 0], [255, 255, 0]], [[255, 255, 255], [0, 0, 0], [255, 255, 255]]]
    assert heatmap_pixels(values, (-1, 3)).tolist() == expected


def test_a_heatmap_in_grey_and_what_is_not_a_number() -> None:
    values = np.array([[0.0, 1.0, 2.0], [np.nan, np.inf, -np.inf]], dtype=np.float32)
    assert heatmap_pixels(values, (0, 2), "grey").tolist() == [[0, 128, 255], [255, 255, 0]]
    assert set(get_args(HeatmapEncoding.model_fields["colors"].annotation)) == set(COLORS)


def test_a_heatmap_is_a_png() -> None:
    data = DECODERS["heatmap"].decode(np.full((1, 9, 8), 3, dtype=np.float32), MAP)
    assert isinstance(data, bytes)
    assert (np.asarray(read_image(data)) == 255).all()


@pytest.mark.parametrize(
    ("value", "encoding", "expected"),
    [
        (0.7, ScoreEncoding(), {"value": 0.7}),
        (
            0.7,
            ScoreEncoding(threshold=0.7, positive="odd"),
            {"threshold": 0.7, "positive": "odd", "is_positive": True},
        ),
        (0.69, ScoreEncoding(threshold=0.7), {"value": 0.69, "is_positive": False}),
        (np.nan, ScoreEncoding(threshold=0.7), {"value": None, "is_positive": None}),
    ],
)
def test_a_score_is_a_number_and_what_it_means(
    value: float, encoding: ScoreEncoding, expected: dict[str, object]
) -> None:
    output = Output(name="score", shape=(), encoding=encoding)
    answer = decoder_of(output).decode(np.array(value, dtype=np.float32), output)
    assert isinstance(answer, dict)
    assert expected.items() <= answer.items()
    json.dumps(answer, allow_nan=False)


def test_an_output_without_an_encoding_is_a_npy_file() -> None:
    output = Output(name="features", shape=(3,))
    array = np.arange(3, dtype=np.float32)
    data = decoder_of(output).decode(array, output)
    assert isinstance(data, bytes)
    np.testing.assert_array_equal(np.load(io.BytesIO(data)), array)


@pytest.mark.parametrize("condition", [SHOES, DIGITS, CODE, RAW, STEP, PHOTO], ids=lambda c: c.name)
def test_every_kind_says_what_may_be_given_and_refuses_what_may_not(condition: Condition) -> None:
    """The conformance test of an encoder: a new kind is one more condition here."""
    assert encoder_of(condition).choices(condition)
    with pytest.raises(CganError) as refusal:
        encode(condition, "no such thing")
    assert "\n" not in str(refusal.value)


def test_an_image_object_gives_what_its_file_gives(tmp_path: Path) -> None:
    """Transparency on white, 16 bits scaled, turned upright: as with a file."""
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((16, 16), 40000, dtype=np.uint16))
    turned = Image.fromarray(PIXELS)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    for number, image in enumerate((clear, deep, turned)):
        path = tmp_path / f"{number}.png"
        image.save(path, exif=exif if image is turned else Image.Exif())
        with Image.open(path) as opened:
            np.testing.assert_array_equal(encode(PHOTO, opened), encode(PHOTO, path))


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_every_level_of_a_condition_survives_being_stored(rounding: Any) -> None:
    encoding = ImageEncoding(rounding=rounding)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    condition = PHOTO.model_copy(update={"encoding": encoding})
    np.testing.assert_array_equal(condition_pixels(encode(condition, png(levels)), encoding), levels)
