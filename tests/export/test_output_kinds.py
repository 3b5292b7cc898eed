"""Every output is checked, each by the tolerance of its kind, and generators without conditions are too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.bundle.compare import Drift, compare_bundles
from cgan_export.bundle.model_card import model_card
from cgan_export.bundle.verify import verify_bundle
from cgan_export.bundle.writer import provenance, write_bundle, write_failed_report
from cgan_export.export import Exported, export_generator, require_passed
from cgan_export.fidelity import gates
from cgan_export.fidelity.case import Case, worst_psnr_db
from cgan_export.fidelity.labels import Figures
from cgan_export.fidelity.limits import Limits
from cgan_export.fidelity.measures import UNMEASURABLE
from cgan_export.fidelity.noise_gate import noise_is_alive, spread_samples
from cgan_export.fidelity.output_kinds import RangedMeasure, RelativeMeasure, measure_of
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.fidelity.torch_runner import TorchRunner
from cgan_export.report.diagnostics import gather
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Contract, ImageEncoding, Output, ScoreEncoding
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_trainer.generator import Generator
from PIL import Image

from tests.export.toys import CLASSES, SIDE, BatchedScore, EveryKind, Unconditional
from tests.toys import LabelGenerator

EVERY_PRECISION = ArtifactOptions(precisions=("fp32", "fp16", "int8"))
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


def exported_toy(generator: Generator, options: ArtifactOptions | None = None) -> Exported:
    contract = generator.contract
    samples = sample_conditions(contract, None, None)
    return export_generator(generator, contract, samples, name="toy", family="toy", options=options)


def written(exported: Exported, path: Path) -> Bundle:
    origin = provenance(Path("toy.pt"), "0" * 64, options={}, training={}, graph="BtoA")
    write_bundle(path, exported, name="toy", family="toy", origin=origin)
    return read_bundle(path)


def case_of(generator: Generator, change: Change = lambda *_: {}, precision: str = "fp32") -> Case:
    runner = TorchRunner(generator, generator.contract)
    return Case(
        target=SeededGenerator(Changed(runner, change)),
        reference=SeededGenerator(runner),
        live=runner,
        samples=sample_conditions(generator.contract, None, None),
        limits=Limits.of(precision),
    )


def failed(figures: Figures) -> set[str]:
    return {key for key, figure in figures.items() if not figure.passed}


@pytest.fixture(scope="module")
def every_kind() -> Exported:
    return exported_toy(EveryKind(), EVERY_PRECISION)


@pytest.fixture(scope="module")
def bundle(every_kind: Exported, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(every_kind, tmp_path_factory.mktemp("kinds") / "toy")


@pytest.mark.slow
def test_every_output_has_figures_of_its_kind(every_kind: Exported) -> None:
    require_passed(every_kind.figures, "toy")
    assert set(every_kind.figures) == {
        *("parity_psnr", "parity_max_abs", "parity_ssim", "batch_levels", "identical_rows_max_abs"),
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


@pytest.mark.slow
def test_a_bundle_without_conditions_is_written_and_verified(tmp_path: Path) -> None:
    bundle = written(exported_toy(Unconditional()), tmp_path / "toy")
    assert [dict(golden.conditions) for golden in bundle.manifest.golden] == [{}] * 3
    assert not failed(verify_bundle(bundle)["model.onnx"])
    grid = np.asarray(Image.open(bundle.path / "golden" / "grid.png"))
    assert grid.shape == (4 * SIDE + 3 * 4, 8 * SIDE + 7 * 4, 3)
    tiles = {grid[y : y + SIDE, x : x + SIDE].tobytes() for y in range(0, 80, 20) for x in range(0, 160, 20)}
    assert len(tiles) == 32, "each tile is a seed of its own"
    card = (bundle.path / "README.md").read_text()
    assert "generator: from a seed it makes a grey image. One seed gives one result" in card
    assert "cgan-generate --bundle toy --samples 16" in card


def test_the_golden_files_are_of_the_kind(bundle: Bundle) -> None:
    (golden, *_) = bundle.manifest.golden
    files = {**golden.conditions, **golden.outputs}
    assert {name: Path(path).suffix for name, path in files.items()} == {
        "content": ".png",
        "style": ".png",
        "label": ".npy",
        "code": ".npy",
        "picture": ".png",
        "heat": ".npy",
        "score": ".npy",
        "features": ".npy",
    }
    assert bundle.manifest.provenance.graph == "BtoA"
    assert "graph `BtoA`" in (bundle.path / "README.md").read_text()


def test_verify_checks_every_output_of_every_artifact(bundle: Bundle) -> None:
    results = verify_bundle(bundle)
    assert not {path: failed(figures) for path, figures in results.items() if failed(figures)}
    golden = {"golden_levels", "golden_changed", *(f"{x}.golden_relative" for x in ("heat", "score", "features"))}
    assert golden <= set(results["model.onnx"])
    assert {"fp32_psnr", "heat.fp32_psnr", "score.fp32_relative"} <= set(results["model.int8.onnx"])
    assert all(figure.label for figures in results.values() for figure in figures.values())
    assert "FP32" in results["model.fp16.onnx"]["score.fp32_relative"].label


def test_golden_values_of_a_score_are_held_to_a_share_of_them() -> None:
    measure = measure_of(Output(name="score", shape=(), encoding=ScoreEncoding()))
    near = [(np.float32(6045.551), np.float32(6045.549))]
    assert not failed(measure.golden([(np.asarray(a), np.asarray(b)) for a, b in near]))
    assert failed(measure.golden([(np.asarray(6045.551 * 1.01), np.asarray(6045.551))]))


@pytest.mark.slow
def test_compare_looks_at_every_output(bundle: Bundle, tmp_path: Path) -> None:
    same = compare_bundles(bundle, bundle)
    assert all(drift.kept and drift.relative == 0 for drift in same.drifts)

    class Shifted(EveryKind):
        def forward(self, *inputs: Array) -> tuple[Array, ...]:  # type: ignore[override]  # arrays stand for tensors
            image, heat, score, features = super().forward(*inputs)  # type: ignore[arg-type]  # see above
            return image, heat, score * 1.01, features  # type: ignore[return-value]  # see above

    moved = compare_bundles(bundle, written(exported_toy(Shifted()), tmp_path / "toy"))
    (fp32, *_) = moved.drifts
    assert not fp32.kept
    assert fp32.levels <= 1, "the images are the same"
    assert fp32.relative == pytest.approx(0.01, rel=0.05)


@pytest.mark.slow
def test_the_worst_sample_of_every_output_is_at_hand(every_kind: Exported, tmp_path: Path) -> None:
    diagnostics = gather(every_kind.context, every_kind.artifacts[1])
    assert [d.output.name for d in (diagnostics, *diagnostics.others)] == ["picture", "heat", "score", "features"]
    assert diagnostics.condition is not None
    assert diagnostics.others[1].ours.shape == ()
    assert diagnostics.others[0].spread is not None
    assert diagnostics.others[0].spread.ours.shape == (1, SIDE, SIDE)
    failing = exported_toy(BatchedScore())
    origin = provenance(Path("toy.pt"), "0" * 64, options={}, training={})
    page = write_failed_report(tmp_path / "out", failing, name="toy", origin=origin).read_text()
    assert "model.onnx, score: in a batch or alone, share of the scale: " in page


@pytest.mark.slow
def test_the_grid_of_a_class_conditional_generator_has_a_row_for_each_class(tmp_path: Path) -> None:
    bundle = written(exported_toy(LabelGenerator()), tmp_path / "toy")
    grid = np.asarray(Image.open(bundle.path / "golden" / "grid.png"))
    assert grid.shape == (3 * SIDE + 2 * 4, 8 * SIDE + 7 * 4, 3)
    assert "each row a class of label" in (bundle.path / "README.md").read_text()


def test_the_grid_shows_condition_images_and_every_output_that_has_pixels(bundle: Bundle) -> None:
    grid = np.asarray(Image.open(bundle.path / "golden" / "grid.png"))
    tiles = 2 + 8 + 8  # content and style, the image and the heatmap under eight seeds
    assert grid.shape == (len(CLASSES) * SIDE + 9 * 4, tiles * SIDE + (tiles - 1) * 4, 3)


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


def test_bundles_without_golden_samples_or_with_nan_are_not_kept(bundle: Bundle) -> None:
    bare = replace(bundle, manifest=bundle.manifest.model_copy(update={"golden": ()}))
    comparison = compare_bundles(bare, bundle)
    assert comparison.drifts
    assert all("no golden samples" in drift.problem and not drift.kept for drift in comparison.drifts)
    assert not Drift(artifact="model.onnx", samples=1, psnr_db=200, max_abs=UNMEASURABLE).kept


def test_the_card_says_where_a_run_was_stopped_that_had_not_reached_its_end(bundle: Bundle) -> None:
    manifest = bundle.manifest
    stopped = {"images": 1765, "planned_images": 2200, "stopped_by": "time limit"}
    for training, said in ((stopped, True), ({"images": 2200}, False)):
        origin = manifest.provenance.model_copy(update={"training": training})
        card = model_card("toy", manifest.family, manifest.contract, tuple(manifest.artifacts), origin)
        assert (
            "have seen 1,765 of the 2,200 images planned; the run was stopped by its time limit." in card
        ) == said
