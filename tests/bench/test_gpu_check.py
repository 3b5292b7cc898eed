from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from cgan_bench.bare_machine import BaseModel
from cgan_bench.gpu_inference import HEADS, Result, check, work_of
from cgan_bench.gpu_training import TrainingResult
from cgan_bench.roofline.floor import Ceiling
from cgan_bench.roofline.work import work_of_graph
from cgan_bench.train.step_parity import Difference
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.pytorch.mode import GPU_MODES
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

from tests.export.fake_torch_cuda import FakeCuda, cuda

__all__ = ["cuda"]

# Blocks what a machine with nothing but torch and numpy lacks, then runs the check on the CPU.
BARE = """
import importlib.util, sys
from importlib.machinery import PathFinder
ABSENT = {"jaxtyping", "pydantic", "rich", "cyclopts", "onnx", "onnxruntime", "platformdirs", "beartype"}
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in ABSENT else found(name, *rest)
assert importlib.util.find_spec("pydantic") is None
import torch
from cgan_bench.bare_machine import BaseModel
import cgan_bench.gpu_check
from cgan_bench.gpu_inference import check
for result in check("cpu", {"size": 64, "ngf": 2}, batches=(1, 2), turns=1):
    print(result.mode, result.batch, result.psnr_db > 30, result.problem, sep="|")
from cgan_bench.bare_machine import BaseModel
from cgan_bench.gpu_training import check_training
torch.compile = lambda module: module
for result in check_training("cpu", {"size": 64, "ngf": 2, "ndf": 2}, batches=(2,), turns=2, steps=1):
    print(result.loop, result.batch, result.passed, result.problem, sep="|")
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.slow
def test_without_a_gpu_it_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cgan_bench.gpu_check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gpu-check: error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_it_needs_torch_and_numpy_only() -> None:
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        *([mode, batch] for batch in "12" for mode in ("FP32 eager", "FP16 NHWC")),
        *([loop, "2"] for loop in ("plain loop", "cgan-train, FP32", "cgan-train, BF16")),
    ]
    assert all(line[2] == "True" for line in lines), done.stdout


def test_a_result_below_its_limit_or_with_a_problem_fails() -> None:
    times_ms = {"compute": 0.5, "copy_in": 0.02, "copy_out": 0.01, "wall": 0.6}
    good = Result(
        mode="FP32 eager",
        batch=1,
        times_ms=times_ms,
        images_per_s=1500.0,
        least_ms=0.05,
        psnr_db=90.0,
        limit_db=80.0,
    )
    assert good.passed
    assert " ".join(str(good).split()) == "FP32 eager 1 500.0 20.0 - 10.0 600.0 1500.0 10% 90.0 ok"
    assert len(str(good)) <= len(HEADS) + 4
    assert not replace(good, psnr_db=70.0).passed
    assert "FAILED: below 80 dB" in str(replace(good, psnr_db=70.0))
    assert "FAILED: no memory" in str(Result(mode="FP32 eager", batch=8, problem="no memory"))


def test_on_a_gpu_every_mode_is_measured_by_stage(cuda: FakeCuda) -> None:
    """The code of a GPU, over the fake one; the compiler is left out."""
    del cuda
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda module, **_: module)
        results = list(
            check(
                "cpu",
                {"size": 64, "ngf": 2},
                batches=(2,),
                turns=1,
                ceiling=Ceiling(tflops=1.0, gb_s=1.0),
                by_stage=True,
            )
        )
    assert [result.mode for result in results] == [mode.words for mode in GPU_MODES]
    for result in results:
        assert result.passed, result
        assert set(result.times_ms) >= {"copy_in", "compute", "copy_out", "all", "wall"}
        assert result.least_ms is not None
        assert result.images_per_s > 0


def test_a_mode_that_fails_does_not_hide_the_others(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    del cuda

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no graph\nhere")

    monkeypatch.setattr(torch.cuda, "graph", fails)
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)
    results = list(check("cpu", {"size": 64, "ngf": 2}, batches=(1,), turns=1, by_stage=True))
    assert [result.passed for result in results] == [True, True, False, False]
    assert "PyTorch cannot run FP16 NHWC graph: no graph here" in results[2].problem


def test_work_counted_by_pytorch_is_that_of_the_graph(generator: Pix2pixGenerator) -> None:
    counted = work_of(generator)
    of_graph = work_of_graph(onnx_from_generator(generator, generator.contract), generator.contract)
    assert counted.flops == of_graph.flops
    assert counted.weight_bytes == pytest.approx(of_graph.weight_bytes, rel=0.01)
    # The layers read through activations of their own, so nothing is read twice.
    assert counted.value_bytes == of_graph.value_bytes


def test_a_loop_that_takes_another_step_fails_only_where_it_is_held_to_it() -> None:
    wide = Difference(losses=1.0, gradients=0.0, weights=0.0)
    held = TrainingResult(loop="cgan-train, FP32, CUDA", batch=1, step_ms=2.0, difference=wide, held=True)
    assert not held.passed
    assert "FAILED: another step" in str(held)
    free = TrainingResult(loop="cgan-train, BF16, CUDA", batch=4, step_ms=2.0, difference=wide)
    assert free.passed
    assert "2000.0" in str(free)
    assert not TrainingResult(loop="plain loop, CUDA", batch=1, problem="no memory").passed


STAND_INS = """
import sys
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in {absent} else found(name, *rest)
from cgan_bench.bare_machine import install_stand_ins
install_stand_ins()
install_stand_ins()
from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
contract = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=2)).contract
free = contract.model_copy(update={{"statistics": "running"}})
assert free != contract == contract.model_copy()
import json
print(json.dumps({{**free.to_json(), "statistics": contract.statistics}}))
print(sys.modules["pydantic"].__spec__.origin)
"""


@pytest.mark.slow
def test_a_contract_is_the_same_with_the_stand_ins_as_with_pydantic() -> None:
    real, bare = (
        subprocess.run(
            [sys.executable, "-c", STAND_INS.format(absent=absent)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.splitlines()
        for absent in ("{'nothing'}", "{'pydantic', 'jaxtyping'}")
    )
    assert json.loads(bare[0]) == json.loads(real[0])
    assert bare[1] == "None"
    assert real[1] != "None", "a real package must never be replaced"


def test_the_stand_ins_read_no_files() -> None:
    with pytest.raises(RuntimeError, match="pip install pydantic"):
        BaseModel.model_validate_json("{}")
