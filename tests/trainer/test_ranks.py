"""Several processes, started as torchrun starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cgan_runtime.errors import UsageError
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.training.start import train

from tests.trainer.pix2pix_runs import LOSSES, rows

# One rank with batches of 4 against two with batches of 2, over 10 images: the last batch is short.
ONE = Pix2pixConfig(size=64, ngf=4, ndf=4, images=10, batch=4, save_images=100, dropout="paper")


# cgan-train that says which threads are still there when the interpreter ends.
SAYS_ITS_THREADS = r"""
import atexit, pathlib, sys
from cgan_trainer.cli.train import main
tasks = pathlib.Path("/proc/self/task")
names = lambda: " ".join((task / "comm").read_text().strip() for task in tasks.iterdir())
atexit.register(lambda: sys.stderr.write(f"threads: {names()}\n"))
main()
"""


def torchrun(
    config: Pix2pixConfig, run: RunOptions, *more: str, program: tuple[str, ...] = ("-m", "cgan_trainer")
) -> subprocess.CompletedProcess[str]:
    words = [*command_line(config, run, resume=False).split()[1:], *more]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, *program, *words],
        capture_output=True, text=True, check=False, env=environment, timeout=200,
    )  # fmt: skip


def options(pairs: Path, out: Path) -> RunOptions:
    return RunOptions(data=pairs, out=out, threads=1, evaluate=False)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.slow
def test_two_ranks_with_a_batch_of_b_take_the_steps_of_one_with_2b(pairs: Path, tmp_path: Path, norm: str) -> None:
    config = replace(ONE, norm=norm)  # type: ignore[arg-type]  # from the list above
    assert train(config, options(pairs, tmp_path / "one")) == 0
    ended = torchrun(replace(config, batch=2), options(pairs, tmp_path / "two"))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{tmp_path / 'two' / 'last.pt'}\n"
    one, two = (read_checkpoint(tmp_path / name / "last.pt") for name in ("one", "two"))
    assert one.training is not None
    assert two.training is not None
    for phase in ("G", "D"):
        # Adam's first moment is an average of the gradients; its sign-like steps would hide how large they are.
        for index, state in one.training["optimizers"][phase]["state"].items():
            wanted, given = state["exp_avg"], two.training["optimizers"][phase]["state"][index]["exp_avg"]
            torch.testing.assert_close(given, wanted, rtol=2e-2, atol=1e-5 + 2e-3 * wanted.abs().max().item())
    sums = [
        checkpoint.training["counters"]["validation"]["val_L1"] for checkpoint in (one, two) if checkpoint.training
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-3)
    (alone,), (together,) = (rows(tmp_path / name) for name in ("one", "two"))  # rank 0 alone writes
    for loss in LOSSES:
        assert float(together[loss]) == pytest.approx(float(alone[loss]), rel=2e-2), loss


@pytest.mark.slow
def test_an_interrupted_run_of_two_ranks_is_resumed_by_two(pairs: Path, tmp_path: Path) -> None:
    config = replace(ONE, batch=2, images=4)
    run = options(pairs, tmp_path / "run")
    limited = replace(run, max_minutes=1e-9)
    assert torchrun(config, limited).returncode == 0
    assert read_checkpoint(tmp_path / "run" / "last.pt").provenance["images"] == 4
    with pytest.raises(UsageError, match="was begun by 2 processes, and these are 1"):
        train(config, replace(run, resume=True))


@pytest.mark.slow
def test_two_ranks_share_one_pool_of_older_images(pairs: Path, tmp_path: Path) -> None:
    config = replace(ONE, norm="instance", buffer=3, images=8)
    assert train(config, options(pairs, tmp_path / "one")) == 0
    assert torchrun(replace(config, batch=2), options(pairs, tmp_path / "two")).returncode == 0
    pools = []
    for name in ("one", "two"):
        training = read_checkpoint(tmp_path / name / "last.pt").training
        assert training is not None
        pools.append(training["pools"]["fakes"])
    assert len(pools[0]) == len(pools[1]) == 3
    for alone, shared in zip(*pools, strict=True):
        assert torch.equal(alone[3:], shared[3:])  # the conditions: the same images were kept
        torch.testing.assert_close(shared[:3], alone[:3], rtol=1e-2, atol=2e-2)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_dry_run_of_two_ranks_is_told_once_and_leaves_nothing(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text(SAYS_ITS_THREADS)
    run = options(pairs, tmp_path / "run")
    told = torchrun(replace(ONE, batch=2), run, "--dry-run", program=(str(tmp_path / "says.py"),))
    assert told.returncode == 0, told.stderr
    described = json.loads(told.stdout)
    assert (described["images"], described["images_per_s"] > 0) == (10, True)
    assert not (tmp_path / "run").exists()
    # A thread of gloo that frees its last tensor while the interpreter ends aborts the process.
    left = [line for line in told.stderr.splitlines() if line.startswith("threads:")]
    assert len(left) == 2
    assert "gloo" not in "".join(left)
