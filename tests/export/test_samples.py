"""The conditions of the gates: from a folder, from the checkpoint, or made up, for every kind of condition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.fidelity.gates import EXTREMES, VECTOR_RANGE, extreme
from cgan_export.fidelity.samples import calibration_conditions, sample_conditions
from cgan_export.sources import examples_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.readers import Loaded
from torch import Tensor

from tests.export.toys import CLASSES, SIDE, EveryKind, Unconditional
from tests.helpers import png, smooth_images
from tests.toys import LabelGenerator

CONTRACT = EveryKind().contract


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, pixels in enumerate(smooth_images(3, seed=1, size=SIDE)):
        (tmp_path / f"{number}.png").write_bytes(png(pixels))
    return tmp_path


def test_made_up_conditions_have_one_count_and_see_every_class() -> None:
    samples = sample_conditions(CONTRACT, None, None)
    assert {name: value.shape for name, value in samples.items()} == {
        "content": (10, 3, SIDE, SIDE),
        "style": (10, 3, SIDE, SIDE),
        "label": (10,),
        "code": (10, 5),
    }
    assert set(samples["label"]) == set(range(len(CLASSES)))
    assert not np.array_equal(samples["content"], samples["style"])
    assert samples["code"].dtype == np.float32


def test_more_classes_than_samples_are_seen_from_the_first_to_the_last() -> None:
    names = tuple(str(number) for number in range(1000))
    label = Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=names))
    contract = LabelGenerator().contract.model_copy(update={"conditions": (label,)})
    labels = sample_conditions(contract, None, None)["label"]
    assert len(labels) == len(set(labels)) == 64
    assert (labels.min(), labels.max()) == (0, 999)


def test_two_label_conditions_are_not_only_seen_in_equal_pairs() -> None:
    (label,) = LabelGenerator().contract.conditions
    contract = LabelGenerator().contract.model_copy(
        update={"conditions": (label, label.model_copy(update={"name": "other"}))}
    )
    samples = sample_conditions(contract, None, None)
    assert set(samples["other"]) == {0, 1, 2}
    assert not (samples["label"] == samples["other"]).any()


def test_a_generator_without_conditions_has_no_samples() -> None:
    assert sample_conditions(Unconditional().contract, None, None) == {}


def test_one_folder_serves_every_image_condition(folder: Path) -> None:
    samples = sample_conditions(CONTRACT, None, folder)
    np.testing.assert_array_equal(samples["style"][:2], samples["content"][1:3])
    np.testing.assert_array_equal(samples["style"][2], samples["content"][0])
    assert {len(value) for value in samples.values()} == {10}
    one = sample_conditions(LabelGenerator().contract, None, folder)
    assert list(one) == ["label"]


def test_a_folder_for_each_image_condition_is_taken_by_its_name(folder: Path) -> None:
    for number, name in enumerate(("content", "style")):
        (folder / name).mkdir()
        (folder / f"{number}.png").rename(folder / name / "a.png")
    samples = sample_conditions(CONTRACT, None, folder)
    assert (samples["content"] == samples["content"][:1]).all()
    assert not np.array_equal(samples["content"], samples["style"])


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="holds no image"):
        sample_conditions(CONTRACT, None, tmp_path)


def loaded(examples: dict[str, Tensor]) -> Loaded:
    return Loaded(
        path=Path("x.pt"),
        family="toy",
        title="toy",
        generator=EveryKind(),
        options={},
        examples=examples,
        provenance={},
        inferred=(),
        assumed=(),
        file_sha256="0" * 64,
    )


def test_the_examples_of_a_checkpoint_are_taken_by_the_name_of_their_condition() -> None:
    pixels = smooth_images(8, seed=4, size=SIDE).transpose(0, 3, 1, 2).copy()
    expected = pixels.astype(np.float32) / 127.5 - 1
    single = sample_conditions(CONTRACT, pixels, None)
    np.testing.assert_allclose(single["content"][:8], expected, atol=1e-6)
    named: dict[str, Tensor] = {
        "style": torch.from_numpy(pixels),
        "label": torch.tensor([3, 3, 4]),
        "code": torch.ones(2, 5),
    }
    by_name = sample_conditions(CONTRACT, examples_of(loaded(named)), None)
    np.testing.assert_allclose(by_name["style"], expected, atol=1e-6)
    assert by_name["label"].tolist() == [3, 3, 4, 3, 3, 4, 3, 3]
    assert (by_name["code"] == 1).all()
    assert not np.array_equal(by_name["content"], by_name["style"])
    assert examples_of(loaded({})) == {}


def test_calibration_takes_the_images_and_repeats_the_rest(folder: Path) -> None:
    samples = sample_conditions(CONTRACT, None, None)
    conditions = calibration_conditions(CONTRACT, folder, samples)
    assert {name: len(value) for name, value in conditions.items()} == dict.fromkeys(samples, 3)
    assert conditions["label"].tolist() == samples["label"][:3].tolist()
    assert calibration_conditions(CONTRACT, None, samples) == {}
    with pytest.raises(UsageError, match="takes none"):
        calibration_conditions(LabelGenerator().contract, folder, {})


def condition(name: str, contract: Contract = CONTRACT) -> Condition:
    return next(c for c in contract.conditions if c.name == name)


def test_extremes_are_the_ends_of_what_a_condition_may_be() -> None:
    content, label, code = (condition(name) for name in ("content", "label", "code"))
    low, high, board, random = (extreme(content, (3, 4, 4), kind) for kind in EXTREMES)
    assert (low == -1).all()
    assert (high == 1).all()
    assert sorted(np.unique(board)) == [-1, 1]
    assert board[0, 0, 0] != board[0, 0, 1]
    assert len(np.unique(random)) > 40
    assert np.abs(random).max() <= 1
    labels = [int(extreme(label, (), kind)) for kind in EXTREMES]
    assert labels[:3] == [0, 9, 5]
    assert 0 <= labels[3] <= 9
    assert tuple(np.unique(extreme(code, (5,), "checkerboard"))) == VECTOR_RANGE


def test_the_extremes_of_an_image_without_a_range_are_black_and_white() -> None:
    encoding = ImageEncoding(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    image = Condition(name="image", shape=(3, 4, 4), encoding=encoding)
    assert extreme(image, (3, 4, 4), "low").min() == pytest.approx(-0.485 / 0.229)
    assert extreme(image, (3, 4, 4), "high").max() == pytest.approx((1 - 0.406) / 0.225)
