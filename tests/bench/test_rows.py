from __future__ import annotations

import numpy as np
import pytest
from cgan_bench.fidelity import MIN_PSNR_DB, compare_answers
from cgan_bench.rows import Row, ratio
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from cgan_bench.workload import check_seeds, inputs_for, round_seeds
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB
from cgan_runtime.contract import (
    Condition,
    Contract,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    SizeRule,
    VectorEncoding,
)
from cgan_runtime.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50)


def row(latencies_ms: list[float], *, batch: int = 1) -> Row:
    return Row(key="k", title="t", description="d", batch=batch, latencies_ms=tuple(latencies_ms))


@given(times=TIMES, percent=st.sampled_from([50, 90, 99]))
def test_percentiles_are_numpys(times: list[float], percent: float) -> None:
    assert row(times).percentile_ms(percent) == np.percentile(times, percent)


def test_percentiles_of_known_values() -> None:
    measured = row([float(n) for n in range(101)])
    assert [measured.percentile_ms(percent) for percent in (50, 90, 99)] == [50, 90, 99]


def test_images_per_second_count_the_whole_batch_and_all_the_time() -> None:
    assert row([100.0, 300.0], batch=4).images_per_s == pytest.approx(20)


def test_the_ratio_is_paired_by_round() -> None:
    """A machine that is three times slower in some rounds changes both rows, and so no ratio."""
    ours = np.array([10.0, 30.0, 10.0, 30.0, 10.0])
    found = ratio(list(2 * ours), list(ours))
    assert (found.q1, found.median, found.q3) == (2, 2, 2)
    unpaired = ratio([20.0, 20.0, 60.0], [10.0, 30.0, 30.0])
    assert unpaired.median == 2
    assert unpaired.q1 == pytest.approx(4 / 3)


def test_a_row_is_noisy_when_its_slow_tenth_is_far_from_its_middle() -> None:
    assert not row([10.0] * 100).noisy
    assert row([10.0] * 80 + [16.0] * 20).noisy


@pytest.mark.parametrize(("error", "valid"), [(0.0, True), (0.0019, True), (0.0021, False), (np.nan, False)])
def test_a_row_is_valid_from_60_db(target: Target, error: float, valid: bool) -> None:
    """The range is -1..1, so 60 dB is a root mean square error of 0.002."""
    assert target.contract is not None
    shape = (2, *(axis for axis in target.contract.outputs[0].shape if isinstance(axis, int)))
    reference = {"picture": np.zeros(shape, dtype=np.float32)}
    other = np.zeros(shape, dtype=np.float32)
    other[1] += np.float32(error)  # the worst row counts, not the mean
    (found,) = compare_answers(target.contract, [reference], [{"picture": other}])
    assert found.within_limit is valid
    assert (found.psnr_db == PSNR_OF_EQUAL_DB) is (error == 0)
    assert found.limit == MIN_PSNR_DB["fp32"] == 60


def test_no_two_rounds_share_a_seed() -> None:
    for batch in (1, 3, 8):
        seeds = [seed for index in range(50) for seed in round_seeds(index, batch)]
        checked = [seed for seeds in check_seeds(batch) for seed in seeds]
        assert len(set(seeds)) == len(seeds) == 50 * batch
        assert not set(seeds) & set(checked)
        assert len(checked) >= 3


KINDS = Contract(
    conditions=(
        Condition(name="photo", shape=(3, 8, 12), range=(-1.0, 1.0), encoding=ImageEncoding()),
        Condition(
            name="depth", shape=(1, 8, 12), encoding=ImageEncoding(color="L", mean=(0.0,), std=(1.0,)), range=(0, 1)
        ),
        Condition(name="label", shape=(), dtype="int64", encoding=LabelEncoding(names=("a", "b", "c"))),
        Condition(name="style", shape=(5,), range=(2.0, 3.0), encoding=VectorEncoding()),
        Condition(name="raw", shape=(4, 2)),
        Condition(name="count", shape=(2,), dtype="int64", range=(1.0, 4.0)),
    ),
    noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(6,)),),
    outputs=(Output(name="values", shape=(2,)),),
    statistics="none",
)


def test_every_kind_of_condition_gets_values_of_its_kind() -> None:
    seeds = list(range(200))
    given = inputs_for(KINDS, seeds)
    for tensor in KINDS.inputs:
        assert given[tensor.name].shape == (200, *tensor.shape)
        assert given[tensor.name].dtype == np.dtype(tensor.dtype)
    assert set(given["label"]) == {0, 1, 2}
    assert set(given["count"].ravel()) == {1, 2, 3, 4}
    assert 2 <= given["style"].min() < 2.1
    assert 2.9 < given["style"].max() <= 3
    assert given["raw"].std() == pytest.approx(1, abs=0.1)
    for name, low, high in (("photo", -1, 1), ("depth", 0, 1)):
        pixels = (given[name] - low) / (high - low) * 255
        assert np.allclose(pixels, np.rint(pixels), atol=1e-3), f"{name} must be made of 8-bit levels"
        assert pixels.min() < 5
        assert pixels.max() > 250
    assert not np.allclose(given["photo"][:, :1] / 2 + 0.5, given["depth"], atol=0.1)
    assert all(len(np.unique(value, axis=0)) > 1 for value in given.values())


def test_without_conditions_there_is_noise_alone() -> None:
    assert list(inputs_for(KINDS.model_copy(update={"conditions": ()}), [1, 2])) == ["z"]


@pytest.mark.parametrize(
    ("apart", "within"), [(0.0, True), (0.0009, True), (0.0011, False), (np.inf, False), (np.nan, False)]
)
def test_a_score_is_held_relative_to_the_largest(apart: float, within: bool) -> None:
    """6000 or 6e-6: the unit of a score must not matter."""
    score = Output(name="score", shape=(), encoding=ScoreEncoding())
    contract = KINDS.model_copy(update={"outputs": (score,)})
    for scale in (6e3, 6e-6):
        reference = np.array([0.0, -0.5, 1.0], dtype=np.float32) * np.float32(scale)
        answer = reference + np.array([apart, 0, 0], dtype=np.float32) * np.float32(scale)
        (found,) = compare_answers(contract, [{"score": reference}], [{"score": answer}])
        assert found.within_limit is within
        assert found.psnr_db is None
    (found,) = compare_answers(contract, [{"score": reference}], [{"score": answer}], precisions=("fp32", "int8"))
    assert found.limit == pytest.approx(0.09)


@given(side=st.integers(1, 3000), multiple=st.sampled_from([1, 4, 64, 300]))
def test_a_free_size_becomes_numbers_or_one_sentence(side: int, multiple: int) -> None:
    free = KINDS.model_copy(
        update={
            "conditions": (Condition(name="photo", shape=(3, "h", "w"), encoding=ImageEncoding()),),
            "noise": (NoiseInput(name="z", index=0, distribution="normal", shape=(2, "h", "2*w")),),
            "sides": SizeRule(multiple=multiple, min=multiple, max=multiple * 6),
        }
    )
    if side % multiple == 0 and side <= multiple * 6:
        bound = at_size(free, (side, multiple))
        assert bound.conditions[0].shape == (3, side, multiple)
        assert bound.noise[0].shape == (2, side, 2 * multiple)
    else:
        with pytest.raises(UsageError, match=f"multiple of {multiple}"):
            at_size(free, (side, multiple))
    height, width = at_size(free, None).conditions[0].shape[1:]
    assert height == width
    assert free.sides is not None
    assert free.sides.takes(int(height))
    assert at_size(KINDS, None) == KINDS


def test_inputs_follow_from_their_seed_alone(target: Target) -> None:
    assert target.contract is not None
    pair, alone = inputs_for(target.contract, [5, 6]), inputs_for(target.contract, [6])
    for name, value in alone.items():
        assert np.array_equal(pair[name][1:], value)
        assert not np.array_equal(pair[name][:1], value)
        assert value.dtype == np.float32
    assert np.abs(pair["condition"]).max() <= 1
