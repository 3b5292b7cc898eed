from __future__ import annotations

import pytest
import torch
from cgan_trainer.nets.init import init_weights
from cgan_trainer.nets.norm import BatchNorm1d, SampleNorm
from cgan_trainer.nets.patchgan import patchgan
from cgan_trainer.nets.unet import UNet, unet_widths
from torch import nn


def test_networks_of_pix2pix_get_the_weights_they_always_got() -> None:
    for make in (
        lambda: patchgan(ndf=4),
        lambda: UNet(
            widths=unet_widths(6, 4), c_in=3, c_out=3, dropout_sites=(0,), norm="batch", bias=False, skips=True
        ),
    ):
        net = make()
        torch.manual_seed(5)
        init_weights(net)
        given = {name: value.clone() for name, value in net.state_dict().items()}
        torch.manual_seed(5)
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert torch.equal(module.weight, torch.empty_like(module.weight).normal_(0, 0.02))
                assert module.bias is None or not module.bias.any()
            elif isinstance(module, SampleNorm):
                assert torch.equal(module.weight, torch.empty_like(module.weight).normal_(1, 0.02))
        assert all(torch.equal(value, given[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(100, 100),
        nn.Conv1d(100, 40, 3),
        nn.Conv3d(20, 20, 3),
        nn.ConvTranspose1d(100, 40, 3),
        nn.ConvTranspose3d(20, 20, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_dense_layers_and_convolutions_of_every_rank_are_drawn(layer: nn.Linear) -> None:
    init_weights(layer)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not layer.bias.any()


@pytest.mark.parametrize(
    "norm",
    [
        BatchNorm1d(4000),
        nn.BatchNorm3d(4000),
        nn.GroupNorm(2, 4000),
        nn.LayerNorm(4000),
        nn.InstanceNorm2d(4000, affine=True),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_of_every_kind_are_drawn_around_one(norm: nn.BatchNorm1d) -> None:
    init_weights(norm)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
    init_weights(norm, norm_std=0.0)
    assert torch.equal(norm.weight, torch.ones(4000))
    assert not norm.bias.any()


def test_a_norm_without_weights_and_an_embedding_stay_as_they_are() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.InstanceNorm2d(3), nn.Embedding(5, 5))
    before = [value.clone() for value in net.state_dict().values()]
    init_weights(net)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), before, strict=True))
