"""The standard error of a mean spread is the jackknife's, written out: every image left out in turn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cgan_export.fidelity.measures import UNMEASURABLE, spread_sigmas


def jackknife(images: np.ndarray) -> tuple[float, float]:
    """Efron 1982: ``error^2 = (n - 1) / n * sum((s_i - mean(s))^2)``, s_i the spread without image i."""
    count = len(images)
    without = np.array([np.delete(images, i, axis=0).std(axis=0, ddof=1).mean() for i in range(count)])
    error = math.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return float(images.std(axis=0, ddof=1).mean()), error


@pytest.mark.parametrize(("ours", "theirs"), [(4, 7), (8, 8), (32, 5)])
def test_sigmas_are_the_difference_over_both_errors(ours: int, theirs: int) -> None:
    draws = np.random.default_rng(ours)
    a, b = draws.normal(size=(ours, 3, 4, 4)), draws.normal(size=(theirs, 3, 4, 4)) * 1.3
    (spread_a, error_a), (spread_b, error_b) = jackknife(a), jackknife(b)
    expected = abs(spread_a - spread_b) / math.hypot(error_a, error_b)
    assert spread_sigmas(a, b) == pytest.approx(expected, rel=1e-9)
    assert spread_sigmas(b, a) == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_measured_is_said() -> None:
    constant, other = np.zeros((4, 2)), np.random.default_rng(0).normal(size=(4, 2))
    assert spread_sigmas(constant, constant + 1) == 0
    for bad in (math.nan, math.inf):
        broken = other.copy()
        broken[1, 1] = bad
        assert spread_sigmas(broken, other) == spread_sigmas(other, broken) == UNMEASURABLE
