"""Both loops of a training benchmark train the networks that the setup names; else they are no comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cgan_bench.train.loop_runner import _OurStage, _PlainStage, open_stage
from cgan_bench.train.loops import Loop, Setup, loops
from cgan_bench.train.sample_pairs import write_pairs
from cgan_trainer.nets.patchgan import patchgan
from torch import nn

PLAIN, _, OURS, _ = loops("cpu")


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Two widths that are no default and not the same."""
    root = write_pairs(tmp_path_factory.mktemp("pairs"), 64, count=3)
    return Setup(data=root, cache=root / "cache", size=64, ngf=2, ndf=3, threads=1)


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


@pytest.mark.parametrize("weight", [100.0, 7.0])
def test_both_have_its_widths_and_the_loops_weight(setup: Setup, weight: float) -> None:
    plain = _PlainStage(replace(PLAIN, lambda_l1=weight), setup, 2).training
    ours = _OurStage(replace(OURS, lambda_l1=weight), setup, 2).run
    networks = ours.recipe.networks
    assert shapes(plain.generator) == shapes(networks["generator"])
    assert len({value.shape for value in plain.discriminator.parameters()}) > 1
    assert shapes(plain.discriminator) == shapes(patchgan(c_in=6, ndf=3))
    widths = [next(network.parameters()).shape for network in (plain.discriminator, networks["discriminator"])]
    assert widths[0] == widths[1] == (3, 6, 4, 4)
    assert plain.lambda_l1 == ours.config.lambda_l1 == weight


@pytest.mark.parametrize("loop", [PLAIN, OURS], ids=["plain", "ours"])
@pytest.mark.parametrize("threads", [3, 0])
def test_both_have_its_threads_and_0_leaves_them(
    setup: Setup, loop: Loop, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    open_stage(loop, replace(setup, threads=threads), 2)
    assert asked == [threads] * (threads > 0)
