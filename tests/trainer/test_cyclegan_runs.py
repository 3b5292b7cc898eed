"""CycleGAN from two folders of images to a checkpoint: both directions, interrupted, fine-tuned, on two ranks."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.configs.cyclegan import CycleganConfig
from cgan_trainer.families import FAMILIES, build_graph
from cgan_trainer.training.start import train
from PIL import Image
from torch import Tensor, nn

from tests.export.sources import junyanz

# 9 images in steps of 4 over 5: steps cross epochs, the last one is short, and the pools of 3 are full soon.
SMALL = CycleganConfig(
    size=32, net="resnet-6", ngf=4, ndf=4, patch=34, pool=3, images=9, batch=2, accumulate=2, save_images=4
)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 dark and 4 light images to train with, 2 and 3 held out, of 32 pixels."""
    root = tmp_path_factory.mktemp("domains")
    draws = np.random.default_rng(0)
    for folder, count, light in (("trainA", 5, 0), ("trainB", 4, 128), ("testA", 2, 0), ("testB", 3, 128)):
        (root / folder).mkdir()
        for number in range(count):
            coarse = Image.fromarray(draws.integers(light, light + 128, (4, 4, 3), dtype=np.uint8))
            coarse.resize((32, 32), Image.Resampling.BICUBIC).save(root / folder / f"{number}.png")
    return root


def run_options(domains: Path, out: Path, **changes: Any) -> RunOptions:
    return RunOptions(data=domains, out=out, threads=1, **{"evaluate": False, **changes})


@pytest.fixture(scope="module")
def unbroken(domains: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(SMALL, run_options(domains, out)) == 0
    return out


def test_both_directions_are_graphs_of_one_checkpoint(domains: Path, unbroken: Path) -> None:
    checkpoint = read_checkpoint(unbroken / "best.pt")
    assert list(checkpoint.graphs) == ["AtoB", "BtoA"]
    held_out = FAMILIES["cyclegan"].data(SMALL, 32).load(domains, "test")
    for graph, side in (("AtoB", "a"), ("BtoA", "b")):
        generator = build_graph(checkpoint, graph)
        assert torch.equal(checkpoint.examples[graph]["condition"], held_out.arrays[side])
        assert generator.contract.conditions[0].meaning == side.upper()
        (picture,) = generator(held_out.arrays[side][:1] / 127.5 - 1)
        assert picture.shape == (1, 3, 32, 32)


def test_the_log_has_every_loss_of_both_phases(unbroken: Path) -> None:
    with (unbroken / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["images"] for row in rows] == ["4", "8", "9"]
    wanted = ["G_AB", "G_BA", "G_cycle_A", "G_cycle_B", "G_identity_A", "G_identity_B", "D_A", "D_B", "val_cycle"]
    assert all(float(row[name]) > 0 for row in rows for name in wanted)
    with Image.open(max((unbroken / "samples").iterdir())) as grid:
        assert grid.size == (3 * 32, 5 * 32)  # 2 of A and 3 of B are held out


def tensors(state: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Tensor]]:
    items = state.items() if isinstance(state, dict) else enumerate(state)
    for key, value in items:
        if isinstance(value, Tensor):
            yield f"{where}/{key}", value
        elif isinstance(value, dict | list):
            yield from tensors(value, f"{where}/{key}")  # type: ignore[arg-type]  # numbered like a dict


def training_of(out: Path) -> dict[str, Tensor]:
    state = read_checkpoint(out / "last.pt").training
    assert state is not None
    return dict(tensors(state))


def test_a_run_stopped_after_every_step_ends_as_one_that_was_not(
    domains: Path, unbroken: Path, tmp_path: Path
) -> None:
    run = run_options(domains, tmp_path / "run", max_minutes=1e-9)
    for resume in (False, True, True):
        assert train(SMALL, replace(run, resume=resume)) == 0
    wanted, given = training_of(unbroken), training_of(tmp_path / "run")
    assert wanted.keys() == given.keys()
    assert sum("/pools/" in name for name in wanted) == 6
    for name, value in wanted.items():
        assert torch.equal(given[name], value), name


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one_with_the_larger_batch(domains: Path, tmp_path: Path) -> None:
    one, two = replace(SMALL, images=8, save_images=100), replace(SMALL, images=8, save_images=100, batch=1)
    assert train(one, run_options(domains, tmp_path / "one")) == 0
    words = command_line(two, run_options(domains, tmp_path / "two"), resume=False).split()[1:]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*launcher, "-m", "cgan_trainer", *words],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    wanted, given = training_of(tmp_path / "one"), training_of(tmp_path / "two")
    assert wanted.keys() == given.keys()
    for name, value in wanted.items():
        if "exp_avg" in name and "exp_avg_sq" not in name:
            torch.testing.assert_close(given[name], value, rtol=2e-2, atol=1e-5 + 2e-3 * value.abs().max().item())
        elif "/pools/" in name:
            # The same images in the same places; each was made by weights whose small steps differ in rounding.
            torch.testing.assert_close(given[name], value, rtol=0, atol=0.02)


def pair(folder: Path, *, ngf: int = 4) -> tuple[nn.Module, nn.Module]:
    """A trained CycleGAN as junyanz's code saves it."""
    torch.manual_seed(5)
    nets = junyanz.resnet(6, ngf=ngf), junyanz.resnet(6, ngf=ngf)
    for net, side in zip(nets, "AB", strict=True):
        for parameter in net.parameters():
            nn.init.normal_(parameter, 0.0, 0.1)
        torch.save(net.state_dict(), folder / f"latest_net_G_{side}.pth")
    return nets


# One step so small that it moves no weight visibly.
TUNED = replace(SMALL, images=1, lr=1e-12)


@pytest.mark.parametrize("named", ["latest_net_G_A.pth", "latest_net_G_B.pth", "."])
@pytest.mark.slow
def test_a_run_goes_on_from_a_pair_of_files(domains: Path, tmp_path: Path, named: str) -> None:
    nets = pair(tmp_path)
    assert train(TUNED, run_options(domains, tmp_path / "run", init_from=tmp_path / named)) == 0
    checkpoint = read_checkpoint(tmp_path / "run" / "best.pt")
    assert checkpoint.provenance["origin"]["file"] == "latest_net_G_A.pth, latest_net_G_B.pth"
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        for graph, net in zip(("AtoB", "BtoA"), nets, strict=True):
            torch.testing.assert_close(build_graph(checkpoint, graph)(image)[0], net(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "judges"), [("best.pt", False), ("last.pt", True)])
def test_a_run_goes_on_from_a_checkpoint_of_ours(
    domains: Path, unbroken: Path, tmp_path: Path, name: str, judges: bool
) -> None:
    assert train(TUNED, run_options(domains, tmp_path / "run", init_from=unbroken / name)) == 0
    source, tuned = read_checkpoint(unbroken / name), read_checkpoint(tmp_path / "run" / "last.pt")
    for graph in ("AtoB", "BtoA"):
        assert close(source.graphs[graph].state, tuned.graphs[graph].state)
    trained = training_state(read_checkpoint(unbroken / "last.pt"))["networks"]
    for judge in ("D_A", "D_B"):
        assert close(trained[judge], training_state(tuned)["networks"][judge]) == judges


def training_state(checkpoint: Checkpoint) -> Mapping[str, Any]:
    assert checkpoint.training is not None
    return checkpoint.training


def close(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.allclose(value, other[name], rtol=0, atol=1e-7) for name, value in one.items())


def test_a_pair_that_does_not_fit_is_refused(domains: Path, tmp_path: Path) -> None:
    pair(tmp_path, ngf=8)
    run = run_options(domains, tmp_path / "run", init_from=tmp_path)
    with pytest.raises(UsageError, match=r"latest_net_G_A\.pth does not fit this run .* give --ngf 8"):
        train(SMALL, run)
    (tmp_path / "latest_net_G_B.pth").unlink()
    with pytest.raises(BadInputError, match=r"latest_net_G_B\.pth is missing"):
        train(SMALL, run)
    assert not (tmp_path / "run").exists()
