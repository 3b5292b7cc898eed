from __future__ import annotations

import pytest
import torch
from cgan_trainer.seeding import draw_noise


def test_noise_belongs_to_seed_purpose_and_position() -> None:
    whole = draw_noise("normal", (2, 3), 7, "z", range(10))
    assert whole.shape == (10, 2, 3)
    assert whole.dtype == torch.float32
    assert torch.equal(draw_noise("normal", (2, 3), 7, "z", [4, 9]), whole[[4, 9]])
    assert len({tuple(row.flatten().tolist()) for row in whole}) == 10
    for other in (draw_noise("normal", (2, 3), 8, "z", range(10)), draw_noise("normal", (2, 3), 7, "y", range(10))):
        assert not torch.equal(other, whole)


@pytest.mark.parametrize(
    ("distribution", "mean", "variance", "low", "high"),
    [("normal", 0.0, 1.0, -6, 6), ("uniform01", 0.5, 1 / 12, 0, 1), ("mask", 1.0, 1 / 3, 0, 4 / 3)],
)
def test_distributions_have_their_moments(
    distribution: str, mean: float, variance: float, low: float, high: float
) -> None:
    values = draw_noise(distribution, (100,), 0, "z", range(500), p=0.25)  # type: ignore[arg-type]  # from the list
    assert values.mean().item() == pytest.approx(mean, abs=0.02)
    assert values.var().item() == pytest.approx(variance, rel=0.03)
    assert low <= values.min() <= values.max() <= high + 1e-6
    if distribution == "mask":
        assert sorted(set(values.flatten().tolist())) == pytest.approx([0, 4 / 3])


def test_a_scalar_per_position() -> None:
    assert draw_noise("uniform01", (), 0, "share", range(3)).shape == (3,)
