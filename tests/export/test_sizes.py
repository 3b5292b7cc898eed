"""Images of any size that the net takes: found by asking it, kept by every runner, refused with the rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.graph.sizes import SizeWish, parse_size, sized
from cgan_export.pytorch.runner import TorchRunner
from cgan_runtime.axes import axis_size, nearest_size
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Contract, SizeRule
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import SeededGenerator, noise_tensors
from cgan_runtime.images import read_image
from cgan_runtime.serving.repository import RepositoryOptions, write_repository
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator
from PIL import Image
from torch import nn

from tests.helpers import pix2pix_generator, png, run_here, smooth_images
from tests.toys import LabelGenerator


def contract_of(generator: Pix2pixGenerator | LabelGenerator) -> Contract:
    return generator.contract


@pytest.fixture(scope="module")
def free_bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Bundle:
    target = tmp_path_factory.mktemp("free") / "facades"
    done = run_here("cgan-export", checkpoint, "-o", target, "--dynamic-size", "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert "PSNR at other sizes" in done.stdout
    return read_bundle(target)


def test_the_noise_follows_the_image_and_the_rule_is_the_nets_own(generator: Pix2pixGenerator) -> None:
    free = sized(generator.eval(), contract_of(generator), SizeWish())
    assert free.sides == SizeRule(multiple=64, min=64, max=4096)
    assert free.conditions[0].shape == (3, "h", "w")
    assert [n.shape[1:] for n in free.noise] == [("h/32", "w/32"), ("h/16", "w/16"), ("h/8", "w/8")]
    fixed = sized(generator, contract_of(generator), parse_size("128x64"))
    assert fixed.sides is None
    assert fixed.outputs[0].shape == (3, 64, 128)
    assert fixed.noise[0].shape[1:] == (2, 4)


class Small(Pix2pixGenerator):
    """Fully convolutional with two halvings, and a normalisation on the smallest map."""

    def __init__(self) -> None:
        super().__init__(pix2pix_generator(ngf=4).options)
        self.unet = nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1), nn.Conv2d(4, 4, 4, 2, 1), nn.InstanceNorm2d(4), nn.Upsample(scale_factor=4),
            nn.Conv2d(4, 3, 3, 1, 1),
        )  # fmt: skip

    def forward(  # type: ignore[override]  # as its base narrows it
        self, condition: torch.Tensor, *masks: torch.Tensor
    ) -> tuple[torch.Tensor]:
        del masks
        return (self.unet(condition),)


def test_a_size_that_leaves_one_pixel_to_normalise_is_not_taken() -> None:
    contract = contract_of(pix2pix_generator(ngf=4)).model_copy(update={"noise": ()})
    assert sized(Small(), contract, SizeWish()).sides == SizeRule(multiple=4, min=8, max=4096)


def test_a_net_of_one_size_is_refused() -> None:
    with pytest.raises(UsageError, match="that is given an image"):
        sized(LabelGenerator(), contract_of(LabelGenerator()), SizeWish())


def test_any_legal_size_is_what_pytorch_gives(free_bundle: Bundle, generator: Pix2pixGenerator) -> None:
    contract = free_bundle.manifest.contract
    torch_runs = SeededGenerator(TorchRunner(generator.eval(), contract))
    ours = free_bundle.generator()
    for height, width in ((64, 64), (128, 64), (64, 192)):
        x = np.random.default_rng(height + width).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
        image = ours.generate({"condition": x}, [7, 8], [0, 0])["picture"]
        assert image.shape == (2, 3, height, width)
        np.testing.assert_allclose(
            image, torch_runs.generate({"condition": x}, [7, 8], [0, 0])["picture"], atol=1e-4
        )
        alone = ours.generate({"condition": x[1:]}, [8], [0])["picture"]
        np.testing.assert_allclose(image[1:], alone, atol=1e-6)
    inputs = onnx.load(free_bundle.path / "model.onnx").graph.input
    assert [d.dim_param or d.dim_value for d in inputs[0].type.tensor_type.shape.dim] == ["batch", 3, "h", "w"]


def test_an_illegal_size_is_refused_with_the_rule(free_bundle: Bundle) -> None:
    ours = free_bundle.generator()
    with pytest.raises(UsageError, match="multiple of 64, from 64 to 4096"):
        ours.runner.infer(
            {
                "condition": np.zeros((1, 3, 96, 64), dtype=np.float32),
                **noise_tensors(ours.contract.noise, [1], [0], {"h": 64, "w": 64}),
            }
        )
    with pytest.raises(UsageError, match="multiple of 64, from 64"):
        ours.generate({"condition": np.zeros((1, 3, 70, 64), dtype=np.float32)}, [1], [0])


def test_images_keep_their_size_or_take_the_nearest(free_bundle: Bundle, tmp_path: Path) -> None:
    for name, size in (("a", (128, 64)), ("b", (150, 70)), ("c", (64, 64)), ("d", (20, 300))):
        pixels = np.asarray(Image.fromarray(smooth_images(1)[0]).resize(size))
        (tmp_path / f"{name}.png").write_bytes(png(pixels))
    words = [tmp_path / f"{name}.png" for name in "abcd"]
    common = ("--bundle", free_bundle.path, "--seed", "7")
    done = run_here("cgan-translate", *words, *common, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    sizes = {p.stem: read_image(p).size for p in (tmp_path / "out").iterdir()}
    assert sizes == {"a": (128, 64), "b": (128, 64), "c": (64, 64), "d": (64, 320)}
    more = ("-o", tmp_path / "half.png", "--precision", "fp16")
    half = run_here("cgan-translate", words[0], *common, *more)
    assert half.returncode == 0, half.stderr
    a, b = (np.asarray(read_image(p)).astype(int) for p in (tmp_path / "out" / "a.png", tmp_path / "half.png"))
    assert np.abs(a - b).max() <= 8


def test_triton_is_told_which_axes_are_free(free_bundle: Bundle, tmp_path: Path) -> None:
    write_repository(tmp_path, free_bundle, RepositoryOptions(precision="fp16"))
    config = (tmp_path / "facades_core" / "config.pbtxt").read_text()
    assert "dims: [ 3, -1, -1 ]" in config
    model = (tmp_path / "facades_core" / "1" / "model.onnx").read_bytes()
    assert model == (free_bundle.path / "model.fp16.onnx").read_bytes()


def test_samples_follow_the_size_asked_for(generator: Pix2pixGenerator) -> None:
    contract = sized(generator.eval(), contract_of(generator), parse_size("128x64"))
    examples = smooth_images(8).transpose(0, 3, 1, 2)
    assert sample_conditions(contract, examples, None)["condition"].shape == (8, 3, 64, 128)


def test_axes_are_a_name_and_a_whole_factor() -> None:
    assert [axis_size(a, {"h": 256}) for a in (7, "h", "h/64", "4*h")] == [7, 256, 4, 1024]
    for bad in ("w", "h/3", "h-1", "__import__"):
        with pytest.raises(UsageError):
            axis_size(bad, {"h": 256})
    sides = SizeRule(multiple=64, min=64, max=256)
    assert [nearest_size(n, sides) for n in (8, 95, 96, 200, 9999)] == [64, 64, 128, 192, 256]
    with pytest.raises(ValueError, match="multiples"):
        SizeRule(multiple=64, min=64, max=100)
