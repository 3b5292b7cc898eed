from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from cgan_bench.gpu_check import Result

# Blocks what a machine with nothing but torch and numpy lacks, then runs the check on the CPU.
BARE = """
import importlib.util, sys
from importlib.machinery import PathFinder
ABSENT = {"jaxtyping", "pydantic", "rich", "cyclopts", "onnx", "onnxruntime", "platformdirs"}
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in ABSENT else found(name, *rest)
assert importlib.util.find_spec("pydantic") is None
import torch
torch.compile = lambda module: module
from cgan_bench.gpu_check import check
for result in check("cpu", {"size": 64, "ngf": 2}, batches=(1, 2), runs=2):
    print(result.mode, result.batch, result.psnr_db > 30, result.problem, sep="|")
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cgan_bench.gpu_check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gpu-check: error: ")
    assert done.stderr.count("\n") == 1


def test_it_needs_torch_and_numpy_only() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        [mode, batch] for batch in "12" for mode in ("eager FP32", "FP16 autocast", "torch.compile FP32")
    ]
    assert all(line[2] == "True" for line in lines if line[0] != "FP16 autocast"), done.stdout


def test_a_result_below_its_limit_or_with_a_problem_fails() -> None:
    good = Result(mode="eager FP32", batch=1, median_ms=2.0, psnr_db=90.0, limit_db=80.0)
    assert good.passed
    assert "500.0" in str(good)
    assert not Result(mode="eager FP32", batch=1, median_ms=2.0, psnr_db=70.0, limit_db=80.0).passed
    assert "FAILED: no memory" in str(Result(mode="eager FP32", batch=8, problem="no memory"))
