"""`cgan-export compare` names the worst of all outputs and samples, by arithmetic that is written out here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cgan_export.bundle.compare import MORE_SEEDS, Drift, compare_bundles
from cgan_runtime.bundle import Bundle
from cgan_runtime.golden import golden_conditions
from torch import Tensor

from tests.export.exporting import exported_toy, written
from tests.export.toys import EveryKind

Values = dict[str, list[np.ndarray]]


class Moved(EveryKind):
    """The same network, one output a little further."""

    def __init__(self, name: str) -> None:
        super().__init__()
        with torch.no_grad():
            layer, step = (self.picture, 0.02) if name == "picture" else (self.features, 0.5)
            assert isinstance(layer.bias, Tensor)
            layer.bias[1] += step


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(exported_toy(EveryKind()), tmp_path_factory.mktemp("old") / "toy")


def answers(bundle: Bundle, of: Bundle) -> Values:
    """What a bundle makes of the golden conditions of another, in float64."""
    found: Values = {}
    for golden, conditions in zip(of.manifest.golden, golden_conditions(of), strict=True):
        for seed in (golden.seed, *MORE_SEEDS):
            row = {name: value[None] for name, value in conditions.items()}
            for name, value in bundle.generator().generate(row, [seed], [golden.draw]).items():
                found.setdefault(name, []).append(value[0].astype(np.float64))
    return found


@pytest.mark.parametrize("name", ["picture", "features"])
def test_the_figures_of_a_drift_are_those_of_the_worst_sample(
    name: str, old: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = written(exported_toy(Moved(name)), tmp_path_factory.mktemp("new") / "toy")
    (drift,) = compare_bundles(old, new).drifts
    before, after = answers(old, old), answers(new, old)
    apart = {key: [abs(a - b) for a, b in zip(after[key], before[key], strict=True)] for key in before}
    assert {key for key, values in apart.items() if max(value.max() for value in values) > 0} == {name}
    assert not drift.kept
    assert drift.samples == len(before[name])
    assert drift.max_abs == pytest.approx(max(value.max() for value in apart[name]), rel=1e-6)
    if name == "picture":  # range -1..1: a peak of 2
        worst = max((value**2).mean() for value in apart[name])
        assert drift.psnr_db == pytest.approx(10 * np.log10(4 / worst), rel=1e-6)
        levels = [np.round((value + 1) * 127.5) for value in (*before[name], *after[name])]
        half = len(levels) // 2
        moved = [abs(a - b) for a, b in zip(levels[:half], levels[half:], strict=True)]
        assert drift.levels == max(value.max() for value in moved) >= 2
        assert drift.changed_share == pytest.approx(max((value > 0).mean() for value in moved), abs=0.01)
        assert drift.relative == 0
    else:
        scale = max(abs(value).max() for value in before[name])
        assert drift.relative == pytest.approx(max(value.max() for value in apart[name]) / scale, rel=1e-6)
        assert drift.levels == drift.changed_share == 0
        assert drift.psnr_db < 60


def test_a_bundle_compared_with_itself_is_kept(old: Bundle) -> None:
    (drift,) = compare_bundles(old, old).drifts
    assert isinstance(drift, Drift)
    assert drift.kept
    assert (drift.psnr_db, drift.max_abs, drift.levels, drift.changed_share, drift.relative) == (200, 0, 0, 0, 0)
