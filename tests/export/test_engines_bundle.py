"""Engines in bundles: they come and go, all else stays; where they run they are measured, else nothing is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.bundle.compare import compare_bundles
from cgan_export.bundle.rebuild import rebuild_bundle
from cgan_export.bundle.verify import built_elsewhere, verify_bundle
from cgan_export.cli.export import main
from cgan_export.engine_flags import EngineFlags
from cgan_export.engines.engines import EngineWish
from cgan_export.engines.plan_header import targets_of
from cgan_export.export import engines_of
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.errors import BundleError, CheckFailedError
from cgan_runtime.manifest import MANIFEST
from cgan_runtime.own_plans import is_own
from cgan_runtime.runners import RUNNERS, RunnerKind

from tests.export import fake_engine
from tests.export.exporting import exported_toy, written
from tests.export.toys import Unconditional

PLAN = "engines/model.fp16.rtx-sm86.plan"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with FP32 and FP16, and no engine."""
    exported = exported_toy(Unconditional(), ArtifactOptions(precisions=("fp32", "fp16")))
    return written(exported, tmp_path_factory.mktemp("original") / "toy").path


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(original, tmp_path / "toy")
    return read_bundle(tmp_path / "toy")


@pytest.fixture
def runs_here(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines for sm86 run here, on ONNX Runtime."""
    monkeypatch.setattr(fake_engine, "GRAPH", bundle.read("model.fp16.onnx"))
    monkeypatch.setattr(fake_engine, "ERRORS", {})
    monkeypatch.setattr(fake_engine, "OPENED", [])
    kind = RunnerKind(name="an engine", module="tests.export.fake_engine", runs_code=True)
    monkeypatch.setitem(RUNNERS, "tensorrt_rtx", kind)


def no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(RUNNERS, "tensorrt_rtx", raising=False)


def wish(**flags: object) -> EngineWish:
    made = EngineFlags(**{"backend": "tensorrt-rtx", "target_gpu": "sm86", "batch": ["1,1..4"], **flags}).wish()  # type: ignore[arg-type]  # of any flag
    assert made is not None
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_engine_is_added_and_all_else_is_as_it_was(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    no_runner(monkeypatch)
    before = contents(bundle.path)
    rebuild_bundle(bundle.path, wish())
    after = contents(bundle.path)
    assert set(after) - set(before) == {PLAN}
    assert {name for name in before if after[name] != before[name]} == {MANIFEST}
    new = read_bundle(bundle.path)
    assert new.model_digest == bundle.model_digest
    assert new.digest != bundle.digest
    assert new.manifest.golden == bundle.manifest.golden
    entry = new.manifest.artifacts[-1]
    assert (entry.path, entry.backend, entry.precision, entry.fidelity) == (PLAN, "tensorrt_rtx", "fp16", {})
    assert entry.plan is not None
    assert entry.plan.targets == targets_of(after[PLAN]) == ("sm86",)
    assert new.manifest.schema_version == 3
    assert is_own(hashlib.sha256(after[PLAN]).hexdigest())


@pytest.mark.slow
def test_an_engine_of_the_same_gpus_is_replaced_and_another_is_kept(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_runner(monkeypatch)
    rebuild_bundle(bundle.path, wish())
    first = contents(bundle.path)
    rebuild_bundle(bundle.path, wish(target_gpu="sm89,sm120", batch=["2"]))
    second = contents(bundle.path)
    assert second[PLAN] == first[PLAN]
    rebuild_bundle(bundle.path, wish(batch=["8"]))
    third = read_bundle(bundle.path).manifest
    assert [a.path for a in third.artifacts if a.plan] == ["engines/model.fp16.rtx-sm89-sm120.plan", PLAN]
    assert [p.batch.max for a in third.artifacts if a.plan for p in a.plan.profiles] == [2, 8]


@pytest.mark.slow
def test_without_a_wish_every_engine_is_built_again_as_it_was(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_runner(monkeypatch)
    with pytest.raises(BundleError, match="has no engine to build again; say which with --backend"):
        rebuild_bundle(bundle.path, None)
    rebuild_bundle(bundle.path, wish())
    rebuild_bundle(bundle.path, wish(target_gpu="sm89", batch=["2..3"]))
    before = read_bundle(bundle.path).manifest
    rebuild_bundle(bundle.path, None)
    after = read_bundle(bundle.path).manifest
    assert [(a.path, a.plan) for a in after.artifacts] == [(a.path, a.plan) for a in before.artifacts]


@pytest.mark.slow
def test_an_engine_of_bytes_stands_beside_the_other_and_is_built_again_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_runner(monkeypatch)
    rebuild_bundle(bundle.path, wish())
    rebuild_bundle(bundle.path, wish(byte_images=True))
    for _ in range(2):
        plans = {a.path: a.plan for a in read_bundle(bundle.path).manifest.artifacts if a.plan}
        assert {path: plan.byte_images for path, plan in plans.items()} == {
            PLAN: False,
            "engines/model.fp16.bytes.rtx-sm86.plan": True,
        }
        rebuild_bundle(bundle.path, None)


@pytest.mark.slow
def test_a_bundle_without_a_half_precision_graph_says_what_to_do(tmp_path: Path) -> None:
    plain = written(exported_toy(Unconditional()), tmp_path / "toy")
    before = contents(plain.path)
    with pytest.raises(BundleError, match=r"has no model.fp16.onnx .* export the checkpoint again with --backend"):
        rebuild_bundle(plain.path, wish())
    assert contents(plain.path) == before


@pytest.mark.usefixtures("runs_here")
def test_where_it_runs_the_gates_measure_it(bundle: Bundle) -> None:
    new, (engine,) = rebuild_bundle(bundle.path, wish())
    assert engine.not_run is None
    figures = engine.artifact.fidelity
    assert figures["fp32_psnr"].value > 60
    assert all(figure.passed for figure in figures.values())
    assert list(fake_engine.OPENED) == [engine.data]
    results = verify_bundle(read_bundle(new.path))
    assert results[PLAN]["fp32_psnr"].value == pytest.approx(figures["fp32_psnr"].value)
    assert built_elsewhere(new) == {}


@pytest.mark.usefixtures("runs_here")
def test_an_engine_that_is_another_model_leaves_the_bundle_as_it_was(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(bundle.path)
    monkeypatch.setattr(fake_engine, "DEFAULT_ERROR", 0.05)
    with pytest.raises(CheckFailedError, match=f"left as it was, its new engine is another model: {PLAN}"):
        rebuild_bundle(bundle.path, wish())
    assert contents(bundle.path) == before


@pytest.mark.usefixtures("runs_here")
def test_an_engine_for_another_gpu_has_no_figures_and_verify_says_so(bundle: Bundle) -> None:
    new, (engine,) = rebuild_bundle(bundle.path, wish(target_gpu="sm89"))
    told = "this plan was built for sm89; here is sm86"
    assert (engine.not_run, engine.artifact.fidelity) == (told, {})
    assert built_elsewhere(new) == {"engines/model.fp16.rtx-sm89.plan": told}
    assert set(verify_bundle(new)) == {"model.onnx", "model.fp16.onnx"}


@pytest.mark.usefixtures("runs_here")
def test_an_export_measures_its_engines_against_pytorch() -> None:
    exported = exported_toy(Unconditional(), ArtifactOptions(precisions=("fp32", "fp16")))
    (engine,) = engines_of(exported, wish())
    assert engine.artifact.fidelity["parity_psnr"].value > 60
    assert engine.passed
    assert engines_of(exported, None) == engines_of(None, wish()) == ()


@pytest.mark.slow
@pytest.mark.usefixtures("runs_here")
def test_two_builds_of_one_graph_are_compared_where_both_run(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild_bundle(bundle.path, wish())
    shutil.copytree(bundle.path, tmp_path / "again")
    other, (engine,) = rebuild_bundle(tmp_path / "again", wish(batch=["2"]))
    old = read_bundle(bundle.path)
    monkeypatch.setitem(fake_engine.ERRORS, engine.data, 1e-3)  # 66 dB below the range of 2: within FP16
    near = compare_bundles(old, other)
    (drift,) = [d for d in near.drifts if d.artifact == PLAN]
    assert drift.kept
    assert drift.psnr_db == pytest.approx(66, abs=0.5)
    assert near.not_compared == {}
    monkeypatch.setitem(fake_engine.ERRORS, engine.data, 1e-2)
    far = compare_bundles(old, other)
    assert [d.kept for d in far.drifts if d.artifact == PLAN] == [False]
    with pytest.raises(CheckFailedError, match="at least 60 dB is needed of an engine"):
        far.require_kept(old.path, other.path)


def test_engines_that_cannot_run_here_are_not_compared_and_that_is_said(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_runner(monkeypatch)
    shutil.copytree(bundle.path, tmp_path / "bare")
    old, _ = rebuild_bundle(bundle.path, wish())
    assert "it cannot run here (this release has no runner" in compare_bundles(old, old).not_compared[PLAN]
    comparison = compare_bundles(old, read_bundle(tmp_path / "bare"))
    assert comparison.not_compared == {PLAN: "the newer bundle has none"}
    comparison.require_kept(old.path, tmp_path / "bare")


def outcome(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    done = capsys.readouterr()
    return int(ended.value.code or 0), done.out, done.err


@pytest.mark.parametrize("words", [("rebuild",), ("--rebuild",)])
def test_rebuild_is_a_command_and_an_option(
    words: tuple[str, ...], bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_runner(monkeypatch)
    (bundle.path / "model.sig").write_text("a signature")
    flags = ("--backend", "tensorrt-rtx", "--target", "sm86", "--batch", "1", "--batch", "2..4", "--json")
    code, out, err = outcome(capsys, *words, bundle.path, *flags)
    assert code == 0, err
    told = json.loads(out)
    assert list(told["artifacts"]) == [PLAN]
    assert told["model"] == bundle.model_digest
    assert "no runner" in told["not_run"][PLAN]
    assert "the signature" in err
    assert "sign again with --sign KEY" in " ".join(err.split())
    assert not (bundle.path / "model.sig").exists()
    code, out, err = outcome(capsys, "verify", bundle.path)
    assert code == 0, err
    assert f"{PLAN}: built, not run here (this release has no runner for tensorrt_rtx)" in out


@pytest.mark.slow
def test_an_export_writes_its_engine_beside_the_files(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_runner(monkeypatch)
    target = tmp_path / "facades"
    words = ("--backend", "tensorrt-rtx", "--target", "sm86", "--io-type", "fp16", "--batch", "2")
    code, out, err = outcome(capsys, checkpoint, "-o", target, *words)
    assert code == 0, err
    assert f"{PLAN}: built, not run here" in out
    made = read_bundle(target)
    assert [a.path for a in made.manifest.artifacts] == ["model.onnx", "model.fp16.onnx", PLAN]
    assert [a.io for a in made.manifest.artifacts] == ["fp32", "fp16", "fp16"]
    assert f"`{PLAN}` was built, not run" in (target / "README.md").read_text()
