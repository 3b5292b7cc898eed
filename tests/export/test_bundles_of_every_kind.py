"""What is written of generators of every kind: golden files, grid, card, comparison and the worst samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_export.bundle.compare import Drift, compare_bundles
from cgan_export.bundle.model_card import model_card
from cgan_export.bundle.verify import verify_bundle
from cgan_export.bundle.writer import provenance, write_failed_report
from cgan_export.export import Exported
from cgan_export.fidelity.measures import UNMEASURABLE
from cgan_export.report.diagnostics import gather
from cgan_runtime.bundle import Bundle
from cgan_runtime.runners.base import Array
from PIL import Image

from tests.export.exporting import exported_toy, failed, written
from tests.export.toys import CLASSES, SIDE, BatchedScore, EveryKind, Unconditional
from tests.toys import LabelGenerator


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


def test_the_golden_files_are_of_the_kind(bundle_of_every_kind: Bundle) -> None:
    (golden, *_) = bundle_of_every_kind.manifest.golden
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
    assert bundle_of_every_kind.manifest.provenance.graph == "BtoA"
    assert "graph `BtoA`" in (bundle_of_every_kind.path / "README.md").read_text()


def test_verify_checks_every_output_of_every_artifact(bundle_of_every_kind: Bundle) -> None:
    results = verify_bundle(bundle_of_every_kind)
    assert not {path: failed(figures) for path, figures in results.items() if failed(figures)}
    golden = {"golden_levels", "golden_changed", *(f"{x}.golden_relative" for x in ("heat", "score", "features"))}
    assert golden <= set(results["model.onnx"])
    assert {"fp32_psnr", "heat.fp32_psnr", "score.fp32_relative"} <= set(results["model.int8.onnx"])
    assert all(figure.label for figures in results.values() for figure in figures.values())
    assert "FP32" in results["model.fp16.onnx"]["score.fp32_relative"].label


@pytest.mark.slow
def test_compare_looks_at_every_output(bundle_of_every_kind: Bundle, tmp_path: Path) -> None:
    same = compare_bundles(bundle_of_every_kind, bundle_of_every_kind)
    assert all(drift.kept and drift.relative == 0 for drift in same.drifts)

    class Shifted(EveryKind):
        def forward(self, *inputs: Array) -> tuple[Array, ...]:  # type: ignore[override]  # arrays stand for tensors
            image, heat, score, features = super().forward(*inputs)  # type: ignore[arg-type]  # see above
            return image, heat, score * 1.01, features  # type: ignore[return-value]  # see above

    moved = compare_bundles(bundle_of_every_kind, written(exported_toy(Shifted()), tmp_path / "toy"))
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


def test_the_grid_shows_condition_images_and_every_output_that_has_pixels(bundle_of_every_kind: Bundle) -> None:
    grid = np.asarray(Image.open(bundle_of_every_kind.path / "golden" / "grid.png"))
    tiles = 2 + 8 + 8  # content and style, the image and the heatmap under eight seeds
    assert grid.shape == (len(CLASSES) * SIDE + 9 * 4, tiles * SIDE + (tiles - 1) * 4, 3)


def test_bundles_without_golden_samples_or_with_nan_are_not_kept(bundle_of_every_kind: Bundle) -> None:
    bare = replace(bundle_of_every_kind, manifest=bundle_of_every_kind.manifest.model_copy(update={"golden": ()}))
    comparison = compare_bundles(bare, bundle_of_every_kind)
    assert comparison.drifts
    assert all("no golden samples" in drift.problem and not drift.kept for drift in comparison.drifts)
    assert not Drift(artifact="model.onnx", samples=1, psnr_db=200, max_abs=UNMEASURABLE).kept


def test_the_card_says_where_a_run_was_stopped_that_had_not_reached_its_end(bundle_of_every_kind: Bundle) -> None:
    manifest = bundle_of_every_kind.manifest
    stopped = {"images": 1765, "planned_images": 2200, "stopped_by": "time limit"}
    for training, said in ((stopped, True), ({"images": 2200}, False)):
        origin = manifest.provenance.model_copy(update={"training": training})
        card = model_card("toy", manifest.family, manifest.contract, tuple(manifest.artifacts), origin)
        assert (
            "have seen 1,765 of the 2,200 images planned; the run was stopped by its time limit." in card
        ) == said
