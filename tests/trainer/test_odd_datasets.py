"""Datasets as they are: names in any script, flat images. A training ends with finite weights or a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.errors import CganError
from cgan_trainer.checkpoint import read_checkpoint
from PIL import Image

from tests.helpers import smooth_images
from tests.trainer.pix2pix_runs import SMALL, state_of, train


def write(root: Path, pixels: np.ndarray) -> Path:
    for split in ("train", "val"):
        for side in "AB":
            for number, image in enumerate(pixels):
                path = root / side / split / "übung 1" / f"Straße №{number} 日本.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    return root


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_flat_images_train_to_finite_weights(tmp_path: Path, level: int, mode: str) -> None:
    data = write(tmp_path / "flat", np.full((3, 64, 64, 3), level, dtype=np.uint8))
    config = replace(SMALL, images=4, gan_mode=mode)  # type: ignore[arg-type]  # both are modes
    assert train(data, tmp_path / "run", config) == 0
    assert all(torch.isfinite(value).all() for value in state_of(tmp_path / "run" / "last.pt").values())


def test_names_in_any_script_are_trained_on_and_resumed(tmp_path: Path) -> None:
    data = write(tmp_path / "дані ü", smooth_images(3, size=64))
    config = replace(SMALL, images=4)
    assert train(data, tmp_path / "ラン 1", config, max_minutes=1e-9) == 0
    assert train(data, tmp_path / "ラン 1", config, resume=True) == 0
    assert read_checkpoint(tmp_path / "ラン 1" / "last.pt").provenance["images"] == 4


@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_a_rate_that_blows_up_ends_in_a_sentence_and_never_in_weights_that_are_not_finite(
    tmp_path: Path, mode: str
) -> None:
    data = write(tmp_path / "data", smooth_images(3, size=64))
    config = replace(SMALL, images=60, batch=1, save_images=1, lr=1e30, gan_mode=mode)  # type: ignore[arg-type]  # both are modes
    with pytest.raises(CganError, match="finite"):
        train(data, tmp_path / "run", config)
    last = tmp_path / "run" / "last.pt"
    if last.exists():
        assert all(torch.isfinite(value).all() for value in state_of(last).values())
