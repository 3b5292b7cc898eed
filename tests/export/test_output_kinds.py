"""Every output is checked, each by the tolerance of its kind, and generators without conditions are too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from cgan_export.export import Exported, require_passed
from cgan_export.fidelity import gates
from cgan_export.fidelity.case import Case, worst_psnr_db
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.noise_gate import noise_is_alive, spread_samples
from cgan_export.fidelity.output_kinds import RangedMeasure, RelativeMeasure, measure_of
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.contract import Contract, ImageEncoding, Output, ScoreEncoding
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_trainer.generator import Generator

from tests.export.exporting import exported_toy, failed
from tests.export.toys import SIDE, BatchedScore, EveryKind, Unconditional

Change = Callable[[Tensors, dict[str, Array]], Mapping[str, Array]]


class Changed(Runner):
    """A runner whose answer is changed on the way out."""

    def __init__(self, runner: Runner, change: Change) -> None:
        super().__init__(runner.contract)
        self._runner, self._change = runner, change

    @property
    def description(self) -> str:
        return "changed"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        answer = self._runner.infer(inputs)
        changed = {**answer, **self._change(inputs, answer)}
        return {name: np.asarray(value, dtype=np.float32) for name, value in changed.items()}


class Constant(Runner):
    """A score of one value whatever the seed is, or one value per seed."""

    def __init__(self, contract: Contract, value: float) -> None:
        super().__init__(contract)
        self._value = value

    @property
    def description(self) -> str:
        return "constant"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        return {"score": np.full(len(inputs["z"]), self._value, dtype=np.float32)}


def case_of(generator: Generator, change: Change = lambda *_: {}, precision: str = "fp32") -> Case:
    runner = TorchRunner(generator, generator.contract)
    return Case(
        target=SeededGenerator(Changed(runner, change)),
        reference=SeededGenerator(runner),
        live=runner,
        samples=sample_conditions(generator.contract, None, None),
        limits=Limits.of(precision),
    )


@pytest.mark.slow
def test_every_output_has_figures_of_its_kind(every_kind: Exported) -> None:
    require_passed(every_kind.figures, "toy")
    assert set(every_kind.figures) == {
        *("parity_psnr", "parity_max_abs", "parity_ssim", "batch_levels", "identical_rows_max_abs"),
        *("probes_psnr", "probes_max_abs", "probes_ssim", "heat.probes_psnr", "heat.probes_relative"),
        *("score.probes_relative", "features.probes_relative"),
        *("heat.parity_psnr", "heat.parity_relative", "heat.batch_relative", "heat.identical_rows_max_abs"),
        *("score.parity_relative", "score.batch_relative", "score.identical_rows_max_abs"),
        *("features.parity_relative", "features.batch_relative", "features.identical_rows_max_abs"),
        *("other_seed_max_abs", "weakest_noise_input_max_abs", "nonfinite_values", "spread_error_sigmas"),
        *(f"{name}.spread_error_sigmas" for name in ("heat", "score", "features")),
    }


@pytest.mark.slow
def test_every_figure_carries_its_label(every_kind: Exported) -> None:
    for artifact in every_kind.artifacts:
        for key, figure in artifact.figures.items():
            name, dot, _ = key.rpartition(".")
            assert figure.label.startswith(f"{name}: ") == bool(dot), key
            assert figure.label
            assert figure.label != key


@pytest.mark.slow
def test_the_other_precisions_pass_with_every_output(every_kind: Exported) -> None:
    assert [artifact.precision for artifact in every_kind.artifacts] == ["fp32", "fp16", "int8"]
    for artifact in every_kind.artifacts:
        assert artifact.passed, failed(artifact.figures)


@pytest.mark.slow
def test_an_output_that_depends_on_its_batch_fails_though_it_is_the_second() -> None:
    exported = exported_toy(BatchedScore())
    assert failed(exported.figures) == {"score.batch_relative"}
    with pytest.raises(CheckFailedError, match="score: in a batch or alone, share of the scale"):
        require_passed(exported.figures, "toy")


@pytest.mark.parametrize(
    ("name", "key", "off"),
    [
        ("picture", "parity_max_abs", 2e-4),
        ("heat", "heat.parity_relative", 4e-3),
        ("score", "score.parity_relative", 1.0),
        ("features", "features.parity_relative", 1e-3),
    ],
)
def test_parity_finds_an_error_in_any_output(name: str, key: str, off: float) -> None:
    """The heatmap's range is 50 wide and the score near 6000: the same step is no error there."""

    def bend(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        bent = answer[name].copy()
        bent.reshape(-1)[0] += off
        return {name: bent}

    assert failed(gates.parity(case_of(EveryKind(), bend))) == {key}
    if name in ("heat", "score"):
        slight = case_of(EveryKind(), lambda _, answer: {name: answer[name] + np.float32(2e-4)})
        assert failed(gates.parity(slight)) == set()


@pytest.mark.parametrize("name", ["heat", "score", "features"])
def test_a_position_in_the_batch_that_matters_is_found_in_any_output(name: str) -> None:
    def skew(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        value = answer[name]
        return {name: value + np.arange(len(value)).reshape(-1, *[1] * (value.ndim - 1)) * 2e-3 * np.abs(value)}

    case = case_of(EveryKind(), skew)
    assert f"{name}.identical_rows_max_abs" in failed(gates.identical_rows(case))
    assert failed(gates.batch_invariance(case)) == {f"{name}.batch_relative"}


@pytest.mark.parametrize("name", ["heat", "score", "features"])
def test_not_a_number_is_found_in_any_output_and_ends_in_figures(name: str) -> None:
    for wrong in (np.nan, np.inf):
        case = case_of(EveryKind(), lambda _, answer, w=wrong: {name: np.full_like(answer[name], w)})  # type: ignore[misc]  # w is bound now
        found = failed(gates.run_gates(case))
        assert "nonfinite_values" in found
        assert any(key.startswith(f"{name}.parity") for key in found)
        assert worst_psnr_db(case) == -math.inf


def test_not_a_number_in_one_sample_is_no_parity() -> None:
    """A mean over NaN compares as false with everything: it must not read as the best of all."""
    case = case_of(Unconditional())
    second = case.reference.generate({}, [2], [0])["picture"] if case.reference else np.zeros(1)

    def spoil(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        here = np.asarray(np.isclose(answer["picture"], second).all(axis=(1, 2, 3)))
        return {"picture": np.where(here[:, None, None, None], np.float32(np.nan), answer["picture"])}

    found = failed(gates.run_gates(case_of(Unconditional(), spoil)))
    assert {"parity_psnr", "parity_max_abs", "parity_ssim", "nonfinite_values"} <= found


def test_a_score_that_ignores_the_noise_is_told_by_its_spread() -> None:
    def freeze(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        return {"score": np.full_like(answer["score"], 6000)}

    assert failed(noise_is_alive(case_of(EveryKind(), freeze))) == {"score.spread_error_sigmas"}


def score_case(ours: float, theirs: float, precision: str = "fp32") -> Case:
    contract = Unconditional().contract
    contract = contract.model_copy(update={"outputs": (Output(name="score", shape=(), encoding=ScoreEncoding()),)})
    return Case(
        target=SeededGenerator(Constant(contract, ours)),
        reference=SeededGenerator(Constant(contract, theirs)),
        live=None,
        samples={},
        limits=Limits.of(precision),
    )


def test_a_score_is_held_to_a_share_of_its_size() -> None:
    assert failed(gates.parity(score_case(6045.551, 6045.549))) == set()
    assert failed(gates.parity(score_case(6045.551 * 1.01, 6045.551))) == {"parity_relative"}
    assert failed(gates.parity(score_case(6045.551 * 1.01, 6045.551, "fp16"))) == {"parity_relative"}
    assert failed(gates.parity(score_case(6045.551 * 1.1, 6045.551, "int8"))) == {"parity_relative"}
    assert failed(gates.parity(score_case(0.0, 0.0))) == set()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_limits_in_db_and_as_a_share_are_the_same_limit(precision: str) -> None:
    """Of the search for INT8 layers: an error at the limit has the PSNR of the floor."""
    limits = Limits.of(precision)
    measure = RelativeMeasure(Output(name="score", shape=()))
    (quality,) = measure.quality_db([(np.array(100 * (1 + limits.relative)), np.array(100.0))])
    assert quality == pytest.approx(limits.min_psnr_db, abs=0.2)
    assert worst_psnr_db(score_case(1.0, 1.0)) == pytest.approx(200)


def test_an_output_with_a_range_is_measured_by_it() -> None:
    measure = measure_of(Output(name="depth", shape=(2,), range=(-10.0, 10.0)))
    assert isinstance(measure, RangedMeasure)
    pairs = [(np.array([0.5, 0.0]), np.array([0.0, 0.0]))]
    figures = measure.parity(pairs, Limits.of("fp32"))
    assert figures["parity_psnr"].value == pytest.approx(10 * math.log10(20**2 / (0.25 / 2)))
    assert figures["parity_relative"].value == pytest.approx(0.05)


def test_without_conditions_the_rows_come_from_the_seeds() -> None:
    case = case_of(Unconditional())
    ours, theirs = spread_samples(case)
    assert theirs is not None
    for values in (ours["picture"], theirs["picture"]):
        assert values.shape == (32, 1, SIDE, SIDE)
        assert len({row.tobytes() for row in values}) == 32
    require_passed(gates.run_gates(case), "toy")

    def skew(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        return {"picture": answer["picture"] + np.arange(len(answer["picture"])).reshape(-1, 1, 1, 1) * 1e-6}

    assert failed(gates.identical_rows(case_of(Unconditional(), skew))) == {"identical_rows_max_abs"}

    def repeat(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        return {"picture": np.repeat(answer["picture"][:1], len(answer["picture"]), axis=0)}

    def weaken(_: Tensors, answer: dict[str, Array]) -> dict[str, Array]:
        return {"picture": answer["picture"] / 2}

    assert failed(noise_is_alive(case_of(Unconditional(), repeat))) == {"other_seed_max_abs"}
    assert failed(noise_is_alive(case_of(Unconditional(), weaken))) == {"spread_error_sigmas"}


def test_golden_values_of_a_score_are_held_to_a_share_of_them() -> None:
    measure = measure_of(Output(name="score", shape=(), encoding=ScoreEncoding()))
    near = [(np.float32(6045.551), np.float32(6045.549))]
    assert not failed(measure.golden([(np.asarray(a), np.asarray(b)) for a, b in near]))
    assert failed(measure.golden([(np.asarray(6045.551 * 1.01), np.asarray(6045.551))]))


def test_golden_images_may_move_by_one_level_in_a_thousandth() -> None:
    output = Output(name="image", shape=(3, 32, 32), range=(-1.0, 1.0), encoding=ImageEncoding())
    measure, stored = measure_of(output), np.full((32, 32, 3), 128, dtype=np.uint8)
    still = np.full((3, 32, 32), 128 / 127.5 - 1, dtype=np.float32)

    def moved(levels: int, values: int) -> set[str]:
        changed = still.copy()
        changed.reshape(-1)[:values] += levels / 127.5
        return failed(measure.golden([(changed, stored)]))

    assert moved(0, 0) == moved(1, 3) == set()
    assert moved(1, 4) == {"golden_changed"}  # 4 of 3,072 are more than a thousandth
    assert moved(2, 3) == {"golden_levels"}
