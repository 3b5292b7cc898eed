"""Replaced statistics against the layer that was there: PyTorch's own, with its own eps, in float64."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.export import export_generator
from cgan_export.fidelity.samples import sample_conditions
from cgan_export.graph.statistics import with_statistics
from cgan_runtime.contract import ImageEncoding, Statistics
from cgan_runtime.generator import SeededGenerator
from cgan_trainer.families.translator import ImageSpec, ImageTranslator
from cgan_trainer.nets.norm import InstanceNorm, SampleNorm, norm_layer
from cgan_trainer.readers import Choices, read_generator
from torch import Tensor, nn

from tests.export.sources import junyanz
from tests.export.sources.files import saved, through, trained_like

EPS = (1e-5, 1e-2, 0.8)
IMAGE = ImageSpec(meaning="a", encoding=ImageEncoding())
SIDE = 16


class Net(nn.Sequential):
    """Layers in a row, called as a translator calls its network."""

    def forward(self, x: Tensor, _: tuple[Tensor, ...] = ()) -> Tensor:
        result: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch's, unannotated
        return result


def net(eps: float) -> Net:
    """Small values before its norm, so that eps matters; scale, shift and averages that are not 0 and 1."""
    torch.manual_seed(1)
    first, last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)
    norm = nn.BatchNorm2d(5, eps=eps)
    with torch.no_grad():
        first.weight.mul_(0.03)
        for value, low, high in ((norm.weight, 0.5, 2), (norm.bias, -1, 1)):
            value.uniform_(low, high)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.01, 0.02)
    return Net(first, norm, nn.ReLU(), last, nn.Tanh())


def translator(eps: float) -> ImageTranslator:
    return ImageTranslator(
        net(eps), c_in=3, size=(SIDE, SIDE), source=IMAGE, target=IMAGE, statistics="per_sample"
    ).eval()


def conditions(rows: int = 3) -> Tensor:
    return torch.rand(rows, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) * 2 - 1


def original(generator: ImageTranslator, x: Tensor, policy: Statistics) -> Tensor:
    """The unchanged network in float64: a batch of one in `train()`, or `eval()`."""
    exact = copy.deepcopy(generator).double().train(policy == "per_sample")
    with torch.no_grad():
        return torch.cat([exact(row[None].double())[0] for row in x])


@pytest.mark.parametrize("policy", ["per_sample", "running"])
@pytest.mark.parametrize("eps", EPS)
def test_the_exported_graph_is_the_original_network(eps: float, policy: Statistics) -> None:
    generator = translator(eps)
    wanted = original(generator, conditions(), policy)
    others = [original(translator(other), conditions(), policy) for other in EPS if other != eps]
    assert all((wanted - other).abs().max() > 1e-3 for other in others), "eps is to be seen"
    changed, contract = with_statistics(generator, generator.contract, policy)
    with torch.no_grad():
        torch.testing.assert_close(changed(conditions())[0].double(), wanted, rtol=0, atol=2e-5)
    exported = export_generator(
        generator, contract, sample_conditions(contract, None, None), name="toy", family="toy", statistics=policy
    )
    assert isinstance(exported.generator, SeededGenerator)
    given = exported.generator.generate({"condition": conditions().numpy()}, [1, 2, 3], [0, 0, 0])
    np.testing.assert_allclose(given["picture"], wanted.numpy(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("kind", ["batch", "affine"])
def test_a_norm_of_ours_is_batch_norm_on_a_batch_of_one(eps: float, kind: str) -> None:
    ours = norm_layer(kind, 4, eps)  # type: ignore[arg-type]  # one of its kinds
    assert isinstance(ours, SampleNorm)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    theirs = nn.BatchNorm2d(4, eps=eps, track_running_stats=False).double()
    theirs.load_state_dict({"weight": ours.weight.double(), "bias": ours.bias.double()})
    x = torch.rand(3, 4, 5, 7, generator=torch.Generator().manual_seed(3)) * 0.1
    with torch.no_grad():
        wanted = torch.cat([theirs.train()(row[None].double()) for row in x])
        torch.testing.assert_close(ours.eval()(x).double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("eps", EPS)
def test_instance_norm_is_torchs_in_both_modes(eps: float) -> None:
    ours, x = norm_layer("instance", 4, eps), torch.rand(3, 4, 5, 7) * 0.1
    assert isinstance(ours, InstanceNorm)
    wanted = nn.InstanceNorm2d(4, eps=eps)(x.double())
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(x).double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["batch", "instance"])
def test_the_eps_that_is_asked_for_is_that_of_every_norm(kind: str, tmp_path: Path) -> None:
    """--eps 0.1 against the source's own network with 0.1 in its layers, and not with the default."""
    source = trained_like(junyanz.resnet(1, kind=kind))
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(saved(source.state_dict()))
    loaded = read_generator(path, Choices(size=(SIDE, SIDE), eps=0.1, dropout=False))
    plain = through(copy.deepcopy(source))(conditions())
    for layer in source.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
            layer.eps = 0.1
    wanted = through(source)(conditions())
    assert (wanted - plain).abs().max() > 1e-3
    changed, _ = with_statistics(loaded.generator, loaded.generator.contract, None)
    with torch.no_grad():
        torch.testing.assert_close(changed(conditions())[0], wanted, rtol=0, atol=1e-4)
