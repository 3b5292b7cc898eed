"""Engines lie beside the model: they say what they need, run only where they are trusted, and rename nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.manifest import Artifact, Batch, Manifest, Plan, Profile, dumps, loads
from cgan_runtime.own_plans import remember_own
from cgan_runtime.runners import RUNNERS, Runner, RunnerKind
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from PIL import Image

from tests.helpers import run_here

HERE = "sm89"


def misfit(plan: Plan, device: str | None) -> str | None:
    """A machine with one GPU."""
    del device
    return None if HERE in plan.targets else f"this plan was built for {', '.join(plan.targets)}; here is {HERE}"


def open_runner(
    model: bytes, contract: Contract, *, precision: str, device: str | None, threads: int, in_flight: int
) -> Runner:
    del precision, device, in_flight
    assert model == b"plan of sm89"
    return OnnxRuntimeRunner(OPENED[0], contract, threads=threads)


OPENED: list[bytes] = []


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A backend whose artifacts are built for certain GPUs."""
    module = ModuleType("tests_engines")
    module.__dict__.update(absence=lambda: None, misfit=misfit, open_runner=open_runner)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kind = RunnerKind(name="Engines", module=module.__name__, runs_code=True)
    monkeypatch.setitem(RUNNERS, "tensorrt", kind)
    return module


@pytest.fixture
def copy(tmp_path: Path, bundle_path: Path) -> Path:
    return Path(shutil.copytree(bundle_path, tmp_path / "facades"))


def with_engines(root: Path, *targets: str) -> Bundle:
    """The bundle with one engine for each of the targets."""
    manifest = read_bundle(root).manifest
    (root / "engines").mkdir(exist_ok=True)
    artifacts = list(manifest.artifacts)
    for target in targets:
        path = f"engines/{target}.plan"
        (root / path).write_bytes(f"plan of {target}".encode())
        profile = Profile(batch=Batch(max=16))
        artifacts.append(
            Artifact(
                **file_entry(root, path).model_dump(),
                backend="tensorrt",
                precision="fp16",
                batch=profile.batch,
                size=None,
                plan=Plan(version="11.4.0.106", targets=(target,), profiles=(profile,)),
            )
        )
    write_manifest(root, changed(manifest, artifacts=tuple(artifacts)))
    return read_bundle(root)


def changed(manifest: Manifest, **parts: object) -> Manifest:
    """Another manifest, whose version follows from what is in it."""
    plain = {name: getattr(manifest, name) for name in Manifest.model_fields if name != "schema_version"}
    return Manifest(**{**plain, **parts})


def test_a_bundle_with_engines_is_of_version_3_and_one_without_is_written_as_before(copy: Path) -> None:
    plain = read_bundle(copy).manifest
    text = dumps(plain)
    assert '"plan"' not in text
    manifest = with_engines(copy, "sm86", "sm89").manifest
    assert (plain.schema_version, manifest.schema_version) == (1, 3)
    assert loads(dumps(manifest).encode(), "x")[0] == manifest
    back = changed(manifest, artifacts=plain.artifacts)
    assert dumps(back) == text


def test_engines_come_and_go_and_the_model_keeps_its_digest(copy: Path) -> None:
    before = read_bundle(copy)
    after = with_engines(copy, "sm89")
    assert after.digest != before.digest
    assert after.model_digest == before.model_digest


@pytest.mark.parametrize(
    "change",
    [
        lambda m: changed(m, contract=m.contract.model_copy(update={"statistics": "running"})),
        lambda m: changed(m, artifacts=(m.artifacts[0].model_copy(update={"sha256": "0" * 64}), *m.artifacts[1:])),
        lambda m: changed(m, golden=(m.golden[0].model_copy(update={"seed": 99}), *m.golden[1:])),
        lambda m: changed(m, golden=m.golden[1:]),
        lambda m: changed(
            m,
            files=tuple(
                f.model_copy(update={"sha256": "0" * 64}) if f.path in m.golden[0].outputs.values() else f
                for f in m.files
            ),
        ),
    ],
    ids=["contract", "graph", "seed", "samples", "image"],
)
def test_another_model_has_another_digest(bundle: Bundle, change: Callable[[Manifest], Manifest]) -> None:
    assert change(bundle.manifest).model_digest != bundle.manifest.model_digest


def test_the_name_of_a_model_is_no_part_of_its_digest(bundle: Bundle) -> None:
    renamed = changed(bundle.manifest, name="other")
    assert renamed.model_digest == bundle.manifest.model_digest


def test_an_image_is_the_same_file_with_and_without_engines(copy: Path, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (200, 30, 90)).save(tmp_path / "in.png")
    made = []
    for number in range(2):
        out = tmp_path / f"{number}.png"
        done = run_here("cgan-translate", tmp_path / "in.png", "--bundle", copy, "--seed", "7", "--out", out)
        assert done.returncode == 0, done.stderr
        made.append(out.read_bytes())
        if number == 0:
            with_engines(copy, "sm89")
    assert made[0] == made[1]


def test_the_engine_that_fits_here_is_taken_and_what_does_not_fit_is_explained(
    copy: Path, engines: ModuleType
) -> None:
    bundle = with_engines(copy, "sm86", "sm89", "sm90")
    assert bundle.artifact("tensorrt", "fp16").path == "engines/sm89.plan"
    engines.__dict__["misfit"] = lambda plan, _: f"no {plan.targets[0]}"
    with pytest.raises(BundleError, match=r"sm86.plan: no sm86: run cgan-export --rebuild"):
        bundle.artifact("tensorrt", "fp16")


def test_a_backend_that_is_not_installed_is_said_before_its_engines_are_looked_at(
    copy: Path, engines: ModuleType
) -> None:
    engines.__dict__["absence"] = lambda: "tensorrt is not installed; run: pip install tensorrt"
    with pytest.raises(CganError, match=r"sm89.plan needs Engines: tensorrt is not installed"):
        with_engines(copy, "sm89").artifact("tensorrt", "fp16")
    with pytest.raises(BundleError, match="has no tensorrt fp32 artifact, only:"):
        with_engines(copy, "sm86").artifact("tensorrt", "fp32")


@pytest.mark.usefixtures("engines")
def test_an_engine_runs_where_it_was_built_and_that_of_others_only_with_a_signature(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = with_engines(copy, "sm89")
    OPENED[:] = [bundle.read("model.onnx")]
    with pytest.raises(BundleError, match=r"may hold program code.*was not built here.*--require-signature"):
        bundle.runner(backend="tensorrt", precision="fp16")
    remember_own(bundle.artifact("tensorrt", "fp16").sha256)
    bundle.runner(backend="tensorrt", precision="fp16").close()
