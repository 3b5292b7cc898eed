"""--backend auto: the fastest artifact that is faithful enough, told and remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cgan_runtime import choosing
from cgan_runtime.bundle import Bundle
from cgan_runtime.choosing import choose_artifact
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.manifest import Artifact, Figure
from cgan_runtime.runners import RunnerKind

from tests.helpers import assert_one_sentence, png, run_here, smooth_images

SECONDS = {
    ("onnxruntime", "fp32"): 0.070,
    ("openvino", "fp32"): 0.060,
    ("openvino", "bf16"): 0.040,
    ("openvino", "int8"): 0.020,
}
PSNR = {("openvino", "fp32"): 120.0, ("openvino", "bf16"): 52.0, ("openvino", "int8"): 38.0}


@pytest.fixture
def offered(bundle: Bundle) -> Bundle:
    """A bundle with four artifacts, all of one file."""
    (first,) = bundle.manifest.artifacts
    others = tuple(
        Artifact(**{**dict(first), "backend": backend, "precision": precision, "fidelity": _figures(psnr_db)})
        for (backend, precision), psnr_db in PSNR.items()
    )
    manifest = bundle.manifest.model_copy(update={"artifacts": (first, *others)})
    return Bundle(path=bundle.path, manifest=manifest, digest="f" * 64)


def _figures(psnr_db: float) -> dict[str, Figure]:
    return {
        "parity_psnr": Figure(value=psnr_db, limit=35, rule=">=", unit="dB"),
        "probes_psnr": Figure(value=3, limit=0, rule=">=", unit="dB"),
    }


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[set[tuple[str, str]]]:
    """Every trial that was made, by what was in it; times as in SECONDS. The cache folder is empty at first."""
    made: list[set[tuple[str, str]]] = []

    def measured(_: Bundle, keys: list[tuple[str, str]], threads: int) -> dict[tuple[str, str], float]:
        del threads
        made.append(set(keys))
        return {key: SECONDS[key] for key in keys}

    monkeypatch.setattr(choosing, "_measured", measured)
    monkeypatch.setattr(RunnerKind, "absence", lambda _: None)
    monkeypatch.setattr(RunnerKind, "lack", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return made


@pytest.mark.parametrize(
    ("floor", "chosen"),
    [
        (None, "openvino/bf16"),
        (52.0, "openvino/bf16"),
        (52.1, "openvino/fp32"),
        (38.0, "openvino/int8"),
        (121.0, "onnxruntime/fp32"),
    ],
)
def test_the_fastest_that_keeps_the_floor_is_chosen(
    offered: Bundle, trials: list[set[tuple[str, str]]], floor: float | None, chosen: str
) -> None:
    choice = choose_artifact(offered, min_psnr_db=floor)
    assert f"{choice.backend}/{choice.precision}" == chosen
    assert len(trials) == 1
    assert str(choice).startswith(f"{chosen}, ")


def test_it_says_how_much_faster_and_how_faithful(offered: Bundle, trials: list[set[tuple[str, str]]]) -> None:
    del trials
    said = str(choose_artifact(offered, min_psnr_db=40))
    assert said == (
        "openvino/bf16, 40.0 ms, 1.8 times as fast as onnxruntime/fp32 here; 52.0 dB, at least 40 were asked for"
    )


def test_a_trial_is_made_once_for_a_bundle_and_a_machine(
    offered: Bundle, trials: list[set[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        choose_artifact(offered)
    assert len(trials) == 1
    choose_artifact(offered, min_psnr_db=100)  # fewer: all of them were measured
    assert len(trials) == 1
    choose_artifact(offered, min_psnr_db=30)  # one more
    assert len(trials) == 2
    choose_artifact(offered, threads=1)
    assert len(trials) == 3
    monkeypatch.setattr(RunnerKind, "version", lambda _: "another")
    choose_artifact(offered)
    assert len(trials) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"onnxruntime/fp32": "fast"}', '{"onnxruntime/fp32": -1}'])
def test_a_damaged_memory_is_replaced(
    offered: Bundle, trials: list[set[tuple[str, str]]], tmp_path: Path, content: str
) -> None:
    first = choose_artifact(offered)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    assert choose_artifact(offered) == first
    assert len(trials) == 2
    assert json.loads(file.read_text())["openvino/bf16"] == 0.040


def test_without_a_cache_folder_it_is_measured_every_time(
    offered: Bundle, trials: list[set[tuple[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        choose_artifact(offered)
    assert len(trials) == 2


def test_what_is_not_installed_or_not_computed_here_is_not_tried(
    offered: Bundle, trials: list[set[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunnerKind, "lack", lambda _, precision: "no." if precision == "bf16" else None)
    assert choose_artifact(offered).precision == "fp32"
    monkeypatch.setattr(RunnerKind, "absence", lambda kind: "no." if kind.name == "OpenVINO" else None)
    assert choose_artifact(offered, min_psnr_db=30).backend == "onnxruntime"
    assert all(("openvino", "bf16") not in trial for trial in trials)


def test_an_artifact_without_a_figure_is_not_vouched_for(
    offered: Bundle, trials: list[set[tuple[str, str]]]
) -> None:
    bare = tuple(a.model_copy(update={"fidelity": {}}) for a in offered.manifest.artifacts)
    manifest = offered.manifest.model_copy(update={"artifacts": bare})
    choice = choose_artifact(Bundle(path=offered.path, manifest=manifest, digest="e" * 64), min_psnr_db=1)
    assert (choice.backend, trials) == ("onnxruntime", [{("onnxruntime", "fp32")}])


def test_a_real_trial_times_every_artifact(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    choice = choose_artifact(bundle)
    assert set(choice.seconds) == {("onnxruntime", "fp32")}
    assert 0 < choice.seconds["onnxruntime", "fp32"] < 10
    without = bundle.manifest.model_copy(update={"golden": ()})
    with pytest.raises(BundleError, match="no golden samples to time"):
        choose_artifact(Bundle(path=bundle.path, manifest=without, digest="d" * 64))


def test_no_floor_is_refused(bundle: Bundle) -> None:
    for floor in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="is no floor"):
            choose_artifact(bundle, min_psnr_db=floor)


def test_the_commands_choose_and_name_what_ran(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(png(smooth_images(1)[0]))
    words: list[str | Path] = [
        tmp_path / "a.png",
        "--bundle",
        bundle.path,
        "--seed",
        "7",
        "-o",
        tmp_path / "b.png",
        "--json",
    ]
    done = run_here("cgan-translate", *words, "--backend", "auto")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("cgan-translate: chosen for facades: onnxruntime/fp32, ")
    told = json.loads(done.stdout)
    assert told["artifact"] == "onnxruntime/fp32"
    assert told["runtime"].startswith("ONNX Runtime 1.")
    assert_one_sentence(run_here("cgan-translate", *words, "--min-psnr", "40"), 2, "add --backend auto")
    refused = run_here("cgan-translate", *words, "--backend", "auto", "--precision", "int8")
    assert_one_sentence(refused, 2, "leave out --precision")
    twice = run_here("cgan-serve", bundle.path, bundle.path, "--backend", "auto")
    assert_one_sentence(twice, 2, "chooses for one bundle")
