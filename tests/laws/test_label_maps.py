"""A label map stays an image of colours on its whole way: trained, exported, translated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.generator import noise_tensors
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families import build_graph
from cgan_trainer.seeding import to_float
from cgan_trainer.training.start import train
from PIL import Image

from tests.helpers import LABEL_COLORS, run_here

CONFIG = Pix2pixConfig(size=64, ngf=4, ndf=4, images=30, condition="labels", objective="L1", lr=2e-3)
SEED = 7


@pytest.fixture(scope="module")
def run(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "run"
    assert train(CONFIG, RunOptions(data=labelled, out=out, threads=1, evaluate=False)) == 0
    return out


@pytest.fixture(scope="module")
def labels_bundle(run: Path) -> Bundle:
    target = run.parent / "blocks"
    done = run_here("cgan-export", run / "last.pt", "-o", target, "--precision", "fp32,fp16")
    assert done.returncode == 0, done.stderr
    return read_bundle(target)


def palette_png(path: Path, classes: np.ndarray) -> None:
    image = Image.fromarray(classes.astype(np.uint8), mode="P")
    image.putpalette([value for color in LABEL_COLORS for value in color])
    image.save(path)


def test_the_checkpoint_knows_the_classes(run: Path) -> None:
    generator = build_graph(read_checkpoint(run / "last.pt"), "main")
    assert generator.get_parameter("unet.down.0.conv.weight").shape[1] == len(LABEL_COLORS)
    assert read_checkpoint(run / "last.pt").graphs["main"].options["palette"]["names"] == ["ground", "red", "green"]


def test_a_palette_png_of_any_size_gives_the_image_pytorch_gives(
    run: Path, labels_bundle: Bundle, tmp_path: Path
) -> None:
    classes = np.random.default_rng(0).integers(0, 3, (4, 4)).repeat(50, axis=0).repeat(50, axis=1)
    palette_png(tmp_path / "labels.png", classes)
    words = ("--bundle", labels_bundle.path, "--seed", str(SEED), "-o", tmp_path / "out.png")
    done = run_here("cgan-translate", tmp_path / "labels.png", *words)
    assert done.returncode == 0, done.stderr
    made = np.asarray(Image.open(tmp_path / "out.png").convert("RGB")).astype(int)

    small = Image.open(tmp_path / "labels.png").convert("RGB").resize((64, 64), Image.Resampling.NEAREST)
    condition = to_float(torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None])
    masks = noise_tensors(labels_bundle.manifest.contract.noise, [SEED], [0])
    with torch.no_grad():
        generator = build_graph(read_checkpoint(run / "last.pt"), "main")
        values = generator(condition, *(torch.from_numpy(mask) for mask in masks.values()))[0][0]
    wanted = ((values + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(int)
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= 1
    assert made.std() > 5


def test_other_colours_are_other_classes_and_shades_of_one_are_not(run: Path) -> None:
    generator = build_graph(read_checkpoint(run / "last.pt"), "main")
    masks = [torch.ones(1, *map(int, noise.shape)) for noise in generator.contract.noise]
    red, dark_red, green = (
        torch.tensor(color, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 64, 64)
        for color in ((255, 0, 0), (220, 10, 10), (0, 255, 0))
    )
    with torch.no_grad():
        images = [generator(to_float(color), *masks)[0] for color in (red, dark_red, green)]
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])
