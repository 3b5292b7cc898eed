"""A tiny paired dataset, and the real one cut once per session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_pairs(folder: Path, count: int, *, size: int = 64, seed: int = 0) -> None:
    """Smooth random images whose right half is the left one with its channels turned round."""
    folder.mkdir(parents=True)
    draws = np.random.default_rng(seed)
    for index in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        left = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
        Image.fromarray(np.concatenate((left, left[:, :, ::-1]), axis=1)).save(folder / f"{index:03d}.png")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dataset of 7 training and 3 validation pairs, 64x64: epochs end in the middle of a batch of 2."""
    root = tmp_path_factory.mktemp("pairs")
    write_pairs(root / "train", 7)
    write_pairs(root / "val", 3, seed=1)
    return root


@pytest.fixture(scope="session")
def satellite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cgan_trainer.data.satellite import make_satellite

    out = tmp_path_factory.mktemp("data") / "satellite"
    make_satellite(out)
    return out


@pytest.fixture(scope="session")
def unbroken(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small pix2pix run that nothing interrupted; read it only."""
    from tests.trainer.pix2pix_runs import train

    out = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(pairs, out) == 0
    return out
