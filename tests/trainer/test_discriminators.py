from __future__ import annotations

import pytest
import torch
from cgan_trainer.configs.pix2pix import HALVINGS, least_size
from cgan_trainer.nets.patchgan import Discriminator, patchgan, pixelgan
from torch import nn


def discriminator(patch: int, ndf: int = 2) -> Discriminator:
    return pixelgan(ndf=ndf) if patch == 1 else patchgan(ndf=ndf, n_layers=HALVINGS[patch])


@pytest.mark.parametrize(
    ("patch", "parameters"),
    [(1, 9_024), (16, 139_585), (34, 666_433), (70, 2_768_705), (142, 6_964_033), (286, 11_159_361)],
)
def test_it_has_the_published_parameters(patch: int, parameters: int) -> None:
    with torch.device("meta"):
        net = discriminator(patch, ndf=64)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


@pytest.mark.parametrize("patch", [1, 16, 34, 70, 142, 286])
def test_a_logit_sees_a_patch_of_that_many_pixels(patch: int) -> None:
    # eval(): batch statistics would connect every pixel with every logit. In double precision no gradient, however
    # small at the rim of the patch, is lost.
    torch.manual_seed(0)
    net = discriminator(patch).double().eval()
    for module in net.modules():
        if hasattr(module, "running_mean"):
            module.forward = lambda x: x  # statistics of the sample would connect them as well
    side = 512 if patch == 286 else 256
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    logits = net(image, torch.zeros_like(image))
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    for axes in ((0, 1, 3), (0, 1, 2)):
        seen = gradient.abs().sum(dim=axes).nonzero().flatten()
        assert int(seen.max() - seen.min()) + 1 == patch


@pytest.mark.parametrize(("patch", "side"), [(1, 256), (16, 126), (34, 62), (70, 30), (142, 14), (286, 6)])
def test_the_map_at_256_is_the_published_one(patch: int, side: int) -> None:
    with torch.device("meta"):
        logits = discriminator(patch)(torch.zeros(1, 3, 256, 256), torch.zeros(1, 3, 256, 256))
    assert logits.shape == (1, 1, side, side)


@pytest.mark.parametrize("patch", [1, 16, 34, 70, 142, 286])
def test_the_least_size_gives_a_logit_and_half_of_it_none(patch: int) -> None:
    side = least_size(patch)
    net = discriminator(patch).eval()
    assert net(torch.zeros(1, 3, side, side), torch.zeros(1, 3, side, side)).numel() >= 1
    if patch > 1:
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 3, side // 2, side // 2), torch.zeros(1, 3, side // 2, side // 2))


def test_an_unconditional_one_sees_the_image_alone() -> None:
    net = patchgan(c_in=3, ndf=2)
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 6, 6)
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("patch", [1, 16, 70])
def test_its_rectifiers_leak_by_a_fifth(patch: int) -> None:
    """Isola et al. 2017, section 6.1.2."""
    slopes = {
        module.negative_slope for module in discriminator(patch).modules() if isinstance(module, nn.LeakyReLU)
    }
    assert slopes == {0.2}
