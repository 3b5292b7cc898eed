"""PyTorch in every mode is the same function, and its stages are what they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.fidelity.measures import psnr_db
from cgan_export.pytorch import graphs
from cgan_export.pytorch.mode import EAGER, TorchMode
from cgan_export.pytorch.runner import TorchRunner
from cgan_export.pytorch.stages import TorchOnDevice
from cgan_runtime.errors import CganError, CheckFailedError, UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.on_device import SETS, sets_for
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

from tests.bench.toys import TwoOutputs
from tests.export.fake_torch_cuda import FakeCuda, NoiseDriver, cuda
from tests.runtime.cpu_noise import compile_for_the_cpu

__all__ = ["cuda"]

HALF = TorchMode(precision="fp16", channels_last=True)
GRAPH = TorchMode(graph=True)
HALF_GRAPH = TorchMode(precision="fp16", channels_last=True, graph=True)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_for_the_cpu(tmp_path_factory.mktemp("noise"))


@pytest.fixture(autouse=True)
def _compiles_anew() -> Iterator[None]:
    yield
    torch.compiler.reset()


def images(rows: int, side: int = 64, seed: int = 0) -> dict[str, Array]:
    values = np.random.default_rng(seed).uniform(-1, 1, (rows, 3, side, side))
    return {"condition": values.astype(np.float32)}


def worst_db(answer: Array, wanted: Array) -> float:
    return min(psnr_db(one, other, 2.0) for one, other in zip(answer, wanted, strict=True))


@pytest.mark.parametrize(
    ("mode", "least_db"),
    [
        (TorchMode(channels_last=True), 100),
        (HALF, 55),
    ],
    ids=lambda mode: mode.words if isinstance(mode, TorchMode) else "",
)
def test_every_mode_is_the_eager_function_and_leaves_the_network_as_it_was(
    generator: Pix2pixGenerator, mode: TorchMode, least_db: float
) -> None:
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    reference = SeededGenerator(TorchRunner(generator, generator.contract))
    runner = TorchRunner(generator, generator.contract, mode=mode)
    assert mode.words in runner.description
    seeds, draws = [3, 2**60, 5], [0, 0, 1]
    answer = SeededGenerator(runner).generate(images(3), seeds, draws)["picture"]
    wanted = reference.generate(images(3), seeds, draws)["picture"]
    assert answer.dtype == np.float32
    assert worst_db(answer, wanted) > least_db
    # A row never depends on its neighbours.
    alone = SeededGenerator(runner).generate({"condition": images(3)["condition"][1:2]}, seeds[1:2], [0])["picture"]
    assert worst_db(answer[1:2], alone) > least_db
    for name, value in generator.state_dict().items():
        assert value.dtype == before[name].dtype
        assert value.stride() == before[name].stride()
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_memory_layout_and_the_precision_are_really_other_ones(generator: Pix2pixGenerator) -> None:
    seen: list[tuple[torch.dtype, bool, bool]] = []

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        weight, value = convolution.weight, inputs[0]
        layouts = [tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (weight, value)]
        seen.append((value.dtype, layouts[0], layouts[1]))

    for mode in (EAGER, HALF):
        runner = TorchRunner(generator, generator.contract, mode=mode)
        convolution = next(m for m in runner._generator.modules() if isinstance(m, torch.nn.Conv2d))
        handle = convolution.register_forward_pre_hook(look)
        SeededGenerator(runner).generate(images(2), [1, 2], [0, 0])
        handle.remove()
    assert seen == [(torch.float32, False, False), (torch.float16, True, True)]


def test_labels_stay_integers_and_scores_come_back_as_float32() -> None:
    toy = TwoOutputs()
    given: dict[str, Array] = {
        "label": np.array([0, 2], dtype=np.int64),
        "style": np.ones((2, 5), dtype=np.float32),
    }
    for mode in (EAGER, TorchMode(precision="fp16")):
        answer = SeededGenerator(TorchRunner(toy, toy.contract, mode=mode)).generate(given, [1, 2], [0, 0])
        assert {value.dtype for value in answer.values()} == {np.dtype(np.float32)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch warns about modules of its own
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_network_is_the_eager_function() -> None:
    """With a toy: jaxtyping's checks, which the tests put into ours, cannot be compiled."""
    toy = TwoOutputs()
    given: dict[str, Array] = {"label": np.array([0, 2, 1]), "style": np.ones((3, 5), dtype=np.float32)}
    answers = [
        SeededGenerator(TorchRunner(toy, toy.contract, mode=mode)).generate(given, [1, 2, 3], [0, 0, 0])
        for mode in (EAGER, TorchMode(compiled="default"))
    ]
    for name, wanted in answers[0].items():
        np.testing.assert_allclose(answers[1][name], wanted, rtol=1e-5, atol=1e-5)


def test_a_graph_on_a_cpu_and_a_network_that_has_a_type_of_its_own_are_one_sentence(
    generator: Pix2pixGenerator,
) -> None:
    with pytest.raises(UsageError, match="a CUDA graph was asked for on cpu; give the device cuda"):
        TorchRunner(generator, generator.contract, mode=GRAPH)

    class Stubborn(TwoOutputs):
        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return super().forward(*inputs[:-1], torch.zeros(len(inputs[-1]), 6, dtype=torch.float32))

    toy = Stubborn(conditions=False)
    with pytest.raises(CheckFailedError, match=r"cannot be computed in FP16 \(.*\): let forward make tensors"):
        TorchRunner(toy, toy.contract, mode=TorchMode(precision="fp16")).infer({"z": np.ones((1, 6), np.float32)})


def test_a_graph_is_recorded_for_each_shape_and_gives_the_new_inputs_outputs(
    cuda: FakeCuda, generator: Pix2pixGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_GRAPHS", 2)
    plain = SeededGenerator(TorchRunner(generator, generator.contract))
    runner = TorchRunner(generator, generator.contract, mode=GRAPH)
    for turn, rows in enumerate([1, 2, 1, 3, 2, 2]):
        seeds, draws = [turn + row for row in range(rows)], [0] * rows
        wanted = plain.generate(images(rows, seed=turn), seeds, draws)["picture"]
        answer = SeededGenerator(runner).generate(images(rows, seed=turn), seeds, draws)["picture"]
        np.testing.assert_allclose(answer, wanted, atol=1e-5)
    assert cuda.replays == 6
    assert isinstance(runner._call, graphs.GraphPerShape)
    assert len(runner._call._graphs) == 2


@pytest.mark.parametrize("mode", [EAGER, HALF, GRAPH, HALF_GRAPH], ids=lambda mode: mode.words)
@pytest.mark.parametrize("on_device", [True, False], ids=["noise on the device", "noise of the host"])
def test_stages_of_pytorch(
    cuda: FakeCuda, library: Path, generator: Pix2pixGenerator, mode: TorchMode, on_device: bool
) -> None:
    """The images of the seeds, stages that add up, sets that take turns."""
    driver = NoiseDriver(library, cuda) if on_device else None
    contract = generator.contract
    plain = SeededGenerator(TorchRunner(generator, contract))
    on = None if driver is None else driver.as_driver()
    measured = TorchOnDevice(generator, contract, batch=2, mode=mode, device="cpu", driver=on)
    assert measured.stages == ("copy_in", *["noise"] * on_device, "compute", "copy_out", "all")
    for turn in range(3):
        seeds = [turn, 2**63 + turn]
        wanted = plain.generate(images(2, seed=turn), seeds, [0, 0])["picture"]
        answer = measured.generate(images(2, seed=turn), seeds)["picture"]
        assert answer.dtype == np.float32
        assert worst_db(answer, wanted) > (100 if mode.precision == "fp32" else 55)
    times = {stage: measured.elapsed_ms(stage, 1) for stage in measured.stages}
    assert times["all"] == sum(times[stage] for stage in measured.stages if stage != "all")
    inputs = 1 if on_device else 1 + len(contract.noise)
    assert (times["copy_in"], times["copy_out"]) == (inputs, 1)
    if on_device:
        assert times["noise"] == 2, "seeds, and one kernel"
    cuda.replays = 0
    measured.elapsed_ms("compute", 0)
    assert cuda.replays == (2 if mode.graph else 0), "that of the set before, and that of the stage"
    places = []
    for index in range(SETS):
        cuda.copied.clear()
        measured.elapsed_ms("copy_out", index)
        places.append(cuda.copied[-1])
        assert cuda.copied[-1] != cuda.copied[-2], "another set runs before"
    assert len(set(places)) == SETS
    measured.close()
    assert driver is None or driver.is_closed


def test_several_streams_of_pytorch(cuda: FakeCuda, generator: Pix2pixGenerator) -> None:
    measured = TorchOnDevice(generator, generator.contract, batch=1, mode=GRAPH, device="cpu", streams=3)
    cuda.used.clear()
    cuda.replays = 0
    assert measured.seconds_of(7) > 0
    assert len(set(cuda.used)) == 3
    assert cuda.replays == 7
    assert sets_for(3) == 9
    measured.close()


def test_what_pytorch_says_in_many_lines_is_one_sentence(
    cuda: FakeCuda, library: Path, generator: Pix2pixGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = NoiseDriver(library, cuda)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate much")

    monkeypatch.setattr(torch.cuda, "graph", fails)
    with pytest.raises(CganError, match=r"PyTorch cannot run FP32 graph: CUDA out of memory\. Tried"):
        TorchOnDevice(generator, generator.contract, batch=1, mode=GRAPH, device="cpu", driver=driver.as_driver())
    assert driver.is_closed, "and everything was given back before"
