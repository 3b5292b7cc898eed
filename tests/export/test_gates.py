"""A gate that cannot fail is no gate: each is shown an artifact with the fault it is there to find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cgan_export.fidelity import gates
from cgan_export.fidelity.case import Case
from cgan_export.fidelity.gates import EXTREMES, extreme
from cgan_export.fidelity.labels import Figures
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB, psnr_db, ssim
from cgan_export.fidelity.noise_gate import noise_is_alive
from cgan_export.fidelity.samples import sample_conditions
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, LabelEncoding, Output, VectorEncoding
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner, Tensors

from tests.helpers import smooth_images


class Changed(Runner):
    """A runner whose answer is changed on the way out."""

    def __init__(self, runner: Runner, change: Callable[[Tensors, Array], Array]) -> None:
        super().__init__(runner.contract)
        self._runner, self._change = runner, change

    @property
    def description(self) -> str:
        return "changed"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        answer = self._runner.infer(inputs)["picture"]
        return {"picture": self._change(inputs, answer).astype(np.float32)}

    def infer_live(self, conditions: Tensors, rows: int, seed: int) -> dict[str, Array]:
        """Masks of another random generator, as live dropout draws them."""
        rng = np.random.default_rng(seed)
        masks = {
            n.name: (rng.random((rows, *map(int, n.shape))) >= 0.5).astype(np.float32) * 2
            for n in self.contract.noise
        }
        return self.infer({**conditions, **masks})


def unchanged(_: Tensors, answer: Array) -> Array:
    return answer


@pytest.fixture(scope="module")
def case_of(bundle: Bundle) -> Callable[..., Case]:
    runner = bundle.runner()
    images = np.ascontiguousarray(smooth_images(8, seed=3).transpose(0, 3, 1, 2), dtype=np.float32) / 127.5 - 1

    def make(
        change: Callable[[Tensors, Array], Array], live: Callable[[Tensors, Array], Array] = unchanged
    ) -> Case:
        return Case(
            target=SeededGenerator(Changed(runner, change)),
            reference=SeededGenerator(runner),
            live=Changed(runner, live),
            samples={"condition": images},
            limits=Limits.of("fp32"),
        )

    return make


def failed(figures: Figures) -> set[str]:
    return {key for key, figure in figures.items() if not figure.passed}


def test_a_faithful_artifact_passes_all(case_of: Callable[..., Case]) -> None:
    figures = gates.run_gates(case_of(unchanged))
    assert failed(figures) == set()
    assert len(figures) == 9


def test_parity_finds_a_small_error_in_one_pixel_of_one_sample(case_of: Callable[..., Case]) -> None:
    def bend(inputs: Tensors, answer: Array) -> Array:
        changed = answer.copy()
        if inputs["condition"][0, 0, 0, 0] == case.samples["condition"][5, 0, 0, 0]:
            changed[0, 1, 3, 4] += 2e-4
        return changed

    case = case_of(bend)
    assert failed(gates.parity(case)) == {"parity_max_abs"}


def test_batch_invariance_finds_coupled_rows(case_of: Callable[..., Case]) -> None:
    case = case_of(lambda _, answer: answer + 0.1 * (answer.mean(axis=0, keepdims=True) - answer))
    assert failed(gates.batch_invariance(case)) == {"batch_levels"}
    assert failed(gates.parity(case)) == set()  # at batch 1 nothing is to be seen


def test_identical_rows_finds_a_position_that_matters(case_of: Callable[..., Case]) -> None:
    def skew(_: Tensors, answer: Array) -> Array:
        skewed: Array = answer + np.arange(len(answer)).reshape(-1, 1, 1, 1) * 1e-6
        return skewed

    assert failed(gates.identical_rows(case_of(skew))) == {"identical_rows_max_abs"}


def test_noise_is_alive_finds_a_silenced_dropout(case_of: Callable[..., Case], bundle: Bundle) -> None:
    runner = bundle.runner()

    def silence(inputs: Tensors, _: Array) -> Array:
        ones = {n.name: np.ones_like(inputs[n.name]) for n in bundle.manifest.contract.noise}
        return runner.infer({"condition": inputs["condition"], **ones})["picture"]

    found = failed(noise_is_alive(case_of(silence)))
    assert found == {"other_seed_max_abs", "weakest_noise_input_max_abs", "spread_error_sigmas"}


def test_noise_is_alive_finds_one_dead_input(case_of: Callable[..., Case], bundle: Bundle) -> None:
    runner = bundle.runner()

    def deafen(inputs: Tensors, _: Array) -> Array:
        return runner.infer({**inputs, "mask_1": np.full_like(inputs["mask_1"], 2.0)})["picture"]

    assert "weakest_noise_input_max_abs" in failed(noise_is_alive(case_of(deafen)))


def test_noise_is_alive_finds_another_spread(case_of: Callable[..., Case], bundle: Bundle) -> None:
    """Masks of 0 and 1 instead of 0 and 2: as many images, less spread."""
    runner = bundle.runner()

    def weaken(inputs: Tensors, _: Array) -> Array:
        masks = {n.name: 1 + 0.7 * (inputs[n.name] - 1) for n in bundle.manifest.contract.noise}
        return runner.infer({"condition": inputs["condition"], **masks})["picture"]

    assert failed(noise_is_alive(case_of(weaken))) == {"spread_error_sigmas"}


def test_finite_finds_an_overflow_on_an_extreme_condition(case_of: Callable[..., Case]) -> None:
    def overflow(inputs: Tensors, answer: Array) -> Array:
        return answer + (np.inf if (inputs["condition"] == -1).all() else 0.0)

    assert failed(gates.finite(case_of(overflow))) == {"nonfinite_values"}


def test_psnr_is_its_formula() -> None:
    a, b = np.zeros((3, 20, 20)), np.full((3, 20, 20), 0.02)
    assert psnr_db(a, b, 2.0) == pytest.approx(40.0)
    assert psnr_db(a, a, 2.0) == PSNR_OF_EQUAL_DB


def test_ssim_keeps_to_the_definition() -> None:
    """Against the formula of the paper written out for one window of weights and one pixel."""
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 11, 11)), rng.random((1, 11, 11))
    at = np.arange(11) - 5
    w = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    ma, mb = (w * a[0]).sum(), (w * b[0]).sum()
    va, vb = (w * (a[0] - ma) ** 2).sum(), (w * (b[0] - mb) ** 2).sum()
    cov = (w * (a[0] - ma) * (b[0] - mb)).sum()
    c1, c2 = 0.01**2, 0.03**2
    expected = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim(a, b, 1.0) == pytest.approx(expected, rel=1e-9)
    assert ssim(a, a, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", EXTREMES)
def test_extremes_have_the_dtype_and_the_classes_of_their_condition(kind: str) -> None:
    digits = Condition(name="label", shape=(), dtype="int64", range=(0, 9), encoding=LabelEncoding())
    counts = Condition(name="counts", shape=(4,), dtype="int64", range=(0, 5), encoding=VectorEncoding())
    assert extreme(digits, (), kind).dtype == extreme(counts, (4,), kind).dtype == np.int64
    if kind != "random":
        assert extreme(digits, (), kind) == {"low": 0, "high": 9, "checkerboard": 5}[kind]
    assert len(set(sample_conditions(contract_of_label(digits), None, None)["label"].tolist())) == 10


def contract_of_label(condition: Condition) -> Contract:
    output = Output(name="picture", shape=(1, 8, 8), range=(-1, 1))
    return Contract(conditions=(condition,), noise=(), outputs=(output,), statistics="none")
