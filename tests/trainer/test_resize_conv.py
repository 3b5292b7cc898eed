"""Nearest-neighbour doubling and a convolution, as one transposed convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families.pix2pix import Pix2pixRecipe
from cgan_trainer.families.pix2pix_networks import Architecture, Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.nets.resize_conv import ResizeConv


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (9, 6)])
def test_it_is_the_doubled_image_convolved_and_so_is_its_gradient(sides: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = ResizeConv(5, 7, bias=bias).double()
    image = torch.randn(2, 5, *sides, dtype=torch.float64, requires_grad=True)
    ours = layer(image)
    plain = F.conv2d(F.interpolate(image, scale_factor=2.0, mode="nearest"), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    weights = torch.randn_like(plain)
    leaves = (image, *layer.parameters())
    gradients = (torch.autograd.grad((made * weights).sum(), leaves) for made in (ours, plain))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_a_constant_image_stays_constant_inside_where_a_free_kernel_draws_a_checkerboard() -> None:
    torch.manual_seed(0)
    image = torch.ones(1, 4, 8, 8)

    def unevenness(layer: torch.nn.Module) -> float:
        made = layer(image)[:, :, 2:-2, 2:-2]
        return float(made.std(dim=(2, 3)).max().detach())

    assert unevenness(ResizeConv(4, 3, bias=True)) < 1e-6
    assert unevenness(torch.nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)) > 0.01


@pytest.mark.parametrize("net", ["unet", "encoder-decoder", "resnet-6"])
def test_every_generator_can_be_built_with_it(net: Architecture) -> None:
    options = {"size": 64, "ngf": 4, "net": net}
    resized = Pix2pixGenerator.from_options({**options, "upsample": "resize"})
    transposed = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=4, net=net))
    layers = [module for module in resized.modules() if isinstance(module, ResizeConv)]
    assert len(layers) == sum(isinstance(module, torch.nn.ConvTranspose2d) for module in transposed.modules())
    assert not any(isinstance(module, torch.nn.ConvTranspose2d) for module in resized.modules())
    (image,) = resized.eval().live([torch.zeros(2, 3, 64, 64)], 2)
    assert image.shape == (2, 3, 64, 64)


@pytest.mark.parametrize("net", ["unet", "encoder-decoder", "resnet-6"])
def test_weights_that_double_otherwise_are_refused_with_the_option_to_give(net: Architecture) -> None:
    transposed, resized = (
        {name: tuple(value.shape) for name, value in Pix2pixGenerator(options).network.state_dict().items()}
        for options in (
            Pix2pixOptions(size=64, ngf=4, net=net),
            Pix2pixOptions(size=64, ngf=4, net=net, upsample="resize"),
        )
    )
    palettes: dict[str, Any] = {"palette": None, "source_palette": None, "target_palette": None}
    facts = PairedFacts(name="x", source="A", target="B", direction="AtoB", **palettes)
    recipe = Pix2pixRecipe(Pix2pixConfig(size=64, ngf=4, ndf=4), facts)
    assert recipe.fitting(transposed, resized) == "choose another --upsample"
    assert recipe.fitting(resized, transposed) == "choose another --upsample"
    other: Architecture = "resnet-6" if net == "unet" else "unet"
    options = Pix2pixOptions(size=64, ngf=4, net=other)
    shapes = {name: tuple(value.shape) for name, value in Pix2pixGenerator(options).network.state_dict().items()}
    assert "--net" in recipe.fitting(shapes, transposed)
