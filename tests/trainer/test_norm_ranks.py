"""Batch norms with running averages, trained by two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cgan_trainer.nets.norm import BatchNorm1d, BatchNorm2d
from torch import Tensor, nn

# Every rank takes its half of the batch, and writes what it got.
WORKER = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from cgan_trainer.nets.norm import BatchNorm1d, BatchNorm2d
from cgan_trainer.training.ranks import joined
with joined("cpu") as ranks:
    rank, folder = ranks.rank, Path(sys.argv[1])
    found = {}
    for name, norm, x, slope in torch.load(folder / "cases.pt", weights_only=False):
        half = len(x) // 2
        mine = x[rank * half : (rank + 1) * half].clone().requires_grad_()
        out = norm(mine)
        out.backward(slope[rank * half : (rank + 1) * half])
        for parameter in norm.parameters():
            dist.all_reduce(parameter.grad)
        found[name] = [out.detach(), mine.grad, *(parameter.grad for parameter in norm.parameters())]
        found[name] += [norm.running_mean, norm.running_var]
        found[name + " in use"] = norm.eval()(mine).detach()
    torch.save(found, folder / f"{rank}.pt")
"""


Norm = BatchNorm1d | BatchNorm2d


def torchs_own(norm: Norm) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """torch's layer with the same weights."""
    plain = (nn.BatchNorm1d if isinstance(norm, BatchNorm1d) else nn.BatchNorm2d)(3, eps=norm.eps)
    plain.load_state_dict(norm.state_dict())
    return plain


def cases() -> list[tuple[str, Norm, Tensor, Tensor]]:
    torch.manual_seed(0)
    found: list[tuple[str, Norm, Tensor, Tensor]] = []
    for name, norm, shape in (
        ("one", BatchNorm1d(3, eps=0.8), (6, 3)),
        ("two", BatchNorm2d(3), (6, 3, 4, 5)),
    ):
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        found.append((name, norm, torch.randn(shape) * 3 + 1, torch.randn(shape)))
    return found


@pytest.mark.slow
def test_two_ranks_with_half_of_a_batch_each_do_what_one_does_with_all_of_it(tmp_path: Path) -> None:
    torch.save(cases(), tmp_path / "cases.pt")
    (tmp_path / "worker.py").write_text(WORKER)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*launcher, str(tmp_path / "worker.py"), str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=200,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, norm, x, slope in cases():
        plain = torchs_own(norm)
        x.requires_grad_()
        out = plain(x)
        out.backward(slope)
        expected = [plain.weight.grad, plain.bias.grad, plain.running_mean, plain.running_var]
        for index, wanted in enumerate((out.detach(), x.grad)):
            torch.testing.assert_close(torch.cat([rank[name][index] for rank in ranks]), wanted)
        for rank in ranks:
            for given, wanted in zip(rank[name][2:], expected, strict=True):
                torch.testing.assert_close(given, wanted)
        in_use = torch.cat([rank[f"{name} in use"] for rank in ranks])
        torch.testing.assert_close(in_use, plain.eval()(x).detach())


@pytest.mark.parametrize("index", [0, 1])
def test_alone_they_are_torchs_own(index: int) -> None:
    _, norm, x, _ = cases()[index]
    plain = torchs_own(norm)
    assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.eval()(x), plain.eval()(x))


def test_a_single_row_is_normalised_by_the_running_averages_and_leaves_them() -> None:
    _, norm, x, _ = cases()[0]
    norm(x)
    kept = {name: value.clone() for name, value in norm.state_dict().items()}
    assert torch.equal(norm.train()(x[:1]), norm.eval()(x[:1]))
    assert all(torch.equal(value, kept[name]) for name, value in norm.state_dict().items())
