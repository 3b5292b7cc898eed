"""A checkpoint and a toy of every kind, exported in every precision, for the tests of what an export writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgan_export.artifacts.artifacts import ArtifactOptions
from cgan_export.export import Exported
from cgan_runtime.bundle import Bundle, read_bundle

from tests.export.exporting import exported_toy, written
from tests.export.toys import EveryKind
from tests.helpers import png, run_here, smooth_images


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the user's images."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(smooth_images(6, seed=5)):
        (folder / f"{number}.png").write_bytes(png(pixels))
    return folder


@pytest.fixture(scope="session")
def full_bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, calibration: Path) -> Bundle:
    """facades/ in FP32, FP16 with FP16 inputs, and INT8."""
    target = tmp_path_factory.mktemp("full") / "facades"
    words = ("--precision", "int8,fp16", "--io-type", "fp16", "--calibrate", calibration)
    done = run_here("cgan-export", checkpoint, "-o", target, *words)
    assert done.returncode == 0, done.stderr
    return read_bundle(target)


@pytest.fixture(scope="session")
def every_kind() -> Exported:
    """The toy with every kind of condition and output, in every precision."""
    return exported_toy(EveryKind(), ArtifactOptions(precisions=("fp32", "fp16", "int8")))


@pytest.fixture(scope="session")
def bundle_of_every_kind(every_kind: Exported, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return written(every_kind, tmp_path_factory.mktemp("kinds") / "toy")
