from __future__ import annotations

import numpy as np
import pytest
from cgan_bench.fidelity import MIN_PSNR_DB, compare_answers
from cgan_bench.rows import Row, ratio
from cgan_bench.target import Target
from cgan_bench.workload import check_seeds, inputs_for, round_seeds
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=50)


def row(latencies_ms: list[float], *, batch: int = 1, **more: float) -> Row:
    return Row(
        key="k",
        title="t",
        description="d",
        batch=batch,
        latencies_ms=tuple(latencies_ms),
        wall_seconds=more.get("wall"),
    )


@given(times=TIMES, percent=st.sampled_from([50, 90, 99]))
def test_percentiles_are_numpys(times: list[float], percent: float) -> None:
    assert row(times).percentile_ms(percent) == np.percentile(times, percent)


def test_percentiles_of_known_values() -> None:
    measured = row([float(n) for n in range(101)])
    assert [measured.percentile_ms(percent) for percent in (50, 90, 99)] == [50, 90, 99]


def test_images_per_second_count_the_whole_batch_and_all_the_time() -> None:
    assert row([100.0, 300.0], batch=4).images_per_s == pytest.approx(20)
    assert row([100.0, 300.0], batch=4, wall=0.2).images_per_s == pytest.approx(40)


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


def test_inputs_follow_from_their_seed_alone(target: Target) -> None:
    assert target.contract is not None
    pair, alone = inputs_for(target.contract, [5, 6]), inputs_for(target.contract, [6])
    for name, value in alone.items():
        assert np.array_equal(pair[name][1:], value)
        assert not np.array_equal(pair[name][:1], value)
        assert value.dtype == np.float32
    assert np.abs(pair["condition"]).max() <= 1
