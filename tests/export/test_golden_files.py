"""`cgan-export verify` holds a bundle to its golden samples: any of them that is another's is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cgan_export.bundle.verify import verify_bundle
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.manifest import Manifest

from tests.export.exporting import exported_toy, failed, written
from tests.export.toys import EveryKind

Change = Callable[[Path, Manifest], Manifest]
KEYS = {
    "picture": {"golden_levels", "golden_changed"},
    "heat": {"heat.golden_relative"},
    "score": {"score.golden_relative"},
    "features": {"features.golden_relative"},
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """FP32 alone."""
    return written(exported_toy(EveryKind()), tmp_path_factory.mktemp("golden") / "toy")


def changed(bundle: Bundle, folder: Path, change: Change) -> Bundle:
    """A copy whose golden samples were changed by somebody who also wrote the right hashes."""
    root = folder / "toy"
    shutil.copytree(bundle.path, root)
    manifest = change(root, bundle.manifest)
    files = tuple(file_entry(root, file.path) for file in manifest.files)
    write_manifest(root, manifest.model_copy(update={"files": files}))
    return read_bundle(root)


def found(bundle: Bundle) -> set[str]:
    return failed(verify_bundle(bundle)["model.onnx"])


def test_a_sound_copy_holds(sound: Bundle, tmp_path: Path) -> None:
    assert found(changed(sound, tmp_path, lambda _, manifest: manifest)) == set()


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("name", KEYS)
def test_an_output_of_another_sample_is_found(sound: Bundle, tmp_path: Path, name: str, at: int) -> None:
    def swap(root: Path, manifest: Manifest) -> Manifest:
        here, there = (root / manifest.golden[number].outputs[name] for number in (at, (at + 1) % 3))
        shutil.copy(there, here)
        if name == "score":  # all are near 6000, where the difference of two samples is no error
            np.save(here, np.load(there) * 1.01)
        return manifest

    assert found(changed(sound, tmp_path, swap)) == KEYS[name]


@pytest.mark.parametrize("name", ["content", "style", "label", "code"])
def test_a_condition_of_another_sample_is_found(sound: Bundle, tmp_path: Path, name: str) -> None:
    def swap(root: Path, manifest: Manifest) -> Manifest:
        here, there = (root / manifest.golden[number].conditions[name] for number in (1, 2))
        assert here.read_bytes() != there.read_bytes()
        shutil.copy(there, here)
        return manifest

    assert found(changed(sound, tmp_path, swap)) >= {"golden_levels", "features.golden_relative"}


@pytest.mark.parametrize("field", ["seed", "draw"])
def test_another_seed_or_draw_is_found(sound: Bundle, tmp_path: Path, field: str) -> None:
    def other(_: Path, manifest: Manifest) -> Manifest:
        first, *rest = manifest.golden
        moved = first.model_copy(update={field: getattr(first, field) + 1})
        return manifest.model_copy(update={"golden": (moved, *rest)})

    assert found(changed(sound, tmp_path, other)) >= {"golden_levels", "features.golden_relative"}


def test_the_golden_samples_differ_so_that_a_swap_means_something(sound: Bundle) -> None:
    for name in KEYS:
        files = [sound.path / golden.outputs[name] for golden in sound.manifest.golden]
        assert len({file.read_bytes() for file in files}) == 3, name
    pixels = np.load(sound.path / sound.manifest.golden[0].outputs["heat"])
    assert np.ptp(pixels) > 1
