"""What of ours runs on a CUDA GPU, checked and timed: ``python -m cgan_bench.gpu_check``.

Needs torch with CUDA, numpy and the source tree; pydantic, rich, cyclopts, platformdirs, jaxtyping and beartype may
be missing (see bare_machine.py; for its sake everything of ours is imported inside the functions). The reference
U-Net-256 with seeded random weights and seeded masks is run by PyTorch in FP32 and FP16, as it is, compiled, and as
a CUDA graph, and each is compared with FP32 on the CPU. Latency is the median, inputs on the GPU to outputs on the
GPU.

Then the CUDA seam of the runtime, and the noise that is drawn on the GPU (gpu_seam.py).

Then training, where Pillow is there too: the loop of cgan-train in FP32, BF16 and with torch.compile in turns with
the plain loop of `cgan-bench --train`, all in this process, and one step of each compared with the plain one.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from cgan_bench.bare_machine import install_stand_ins
from cgan_bench.gpu_seam import check_seam

if TYPE_CHECKING:
    import torch
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

    from cgan_bench.train.loop_runner import Stage
    from cgan_bench.train.step_parity import Difference

__all__ = ["Result", "TrainingResult", "check", "check_training", "main", "no_gpu_reason"]

BATCHES: Final = (1, 8)
TRAINING_BATCHES: Final = (1, 16)
TURNS: Final = 8
STEPS: Final = 10  # of a turn
WARM_UP: Final = 10
RUNS: Final = 50
PEAK: Final = 2.0  # outputs are in -1..1
Call = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One mode at one batch size; `problem` says why there are no figures."""

    mode: str
    batch: int
    median_ms: float = 0.0
    psnr_db: float = 0.0
    limit_db: float = 0.0
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It ran and its images are those of the CPU."""
        return not self.problem and self.psnr_db >= self.limit_db

    def __str__(self) -> str:
        if self.problem:
            return f"{self.mode:<20}{self.batch:>6}  FAILED: {self.problem}"
        verdict = "ok" if self.passed else f"FAILED: below {self.limit_db:.0f} dB"
        rate = self.batch / self.median_ms * 1e3
        return f"{self.mode:<20}{self.batch:>6}{self.median_ms:>12.2f}{rate:>12.1f}{self.psnr_db:>10.1f}  {verdict}"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """One loop at one batch size; `problem` says why there are no figures."""

    loop: str
    batch: int
    step_ms: float = 0.0
    times_plain: float = 1.0
    difference: Difference | None = None
    held: bool = False
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It ran, and where it is held to the plain loop's step it takes it."""
        return not self.problem and (not self.held or self.difference is None or self.difference.within_limits)

    def __str__(self) -> str:
        if self.problem:
            return f"{self.loop:<34}{self.batch:>6}  FAILED: {self.problem}"
        verdict = ("same step" if self.held else "other result") if self.difference else "reference"
        verdict = verdict if self.passed else f"FAILED: another step ({self.difference})"
        rate = self.batch / self.step_ms * 1e3
        return (
            f"{self.loop:<34}{self.batch:>6}{self.step_ms:>12.2f}{rate:>10.1f}{self.times_plain:>8.2f}  {verdict}"
        )


def no_gpu_reason() -> str | None:
    """Why PyTorch has no GPU here; None when it has one."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if torch.cuda.is_available():
        return None
    build = torch.version.cuda
    return "PyTorch finds no CUDA GPU" if build else f"this PyTorch ({torch.__version__}) is built without CUDA"


def check(
    device: str, options: dict[str, Any], *, batches: tuple[int, ...] = BATCHES, runs: int = RUNS
) -> Iterator[Result]:
    """Every mode at every batch size on `device`, against FP32 on the CPU."""
    install_stand_ins()
    import torch
    from cgan_export.fidelity.measures import psnr_db

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu, on_device = _generator(options), _generator(options).to(device)
    for batch in batches:
        inputs = _inputs(on_cpu, batch)
        there = [tensor.to(device) for tensor in inputs]
        with torch.inference_mode():
            expected = on_cpu(*inputs)[0].numpy()
            for mode in MODES:
                if mode.needs_cuda and device != "cuda":
                    continue
                try:
                    call = mode.make(on_device, there)
                    answer = call(*there).float().cpu().numpy()
                    median_ms = _median_ms(call, there, device, runs)
                except Exception as error:  # noqa: BLE001 - one mode that fails must not hide the others
                    problem = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    yield Result(mode=mode.name, batch=batch, problem=problem)
                    continue
                worst_db = min(psnr_db(a, b, PEAK) for a, b in zip(answer, expected, strict=True))
                yield Result(
                    mode=mode.name, batch=batch, median_ms=median_ms, psnr_db=worst_db, limit_db=mode.limit_db
                )


def _eager(model: Any, _: list[torch.Tensor]) -> Call:
    return lambda *given: model(*given)[0]


def _autocast(model: Any, inputs: list[torch.Tensor]) -> Call:
    import torch

    def call(*given: torch.Tensor) -> torch.Tensor:
        with torch.autocast(inputs[0].device.type, torch.float16):
            image: torch.Tensor = model(*given)[0]
        return image

    return call


def _compiled(model: Any, _: list[torch.Tensor]) -> Call:
    import torch

    compiled: Call = torch.compile(model)
    return lambda *given: compiled(*given)[0]


def _halves(model: Any) -> tuple[Any, Callable[[torch.Tensor], torch.Tensor]]:
    """A copy of the model in FP16 with channels last, and what makes its inputs."""
    import copy

    import torch

    half: Any = copy.deepcopy(model).half()
    half = half.to(memory_format=torch.channels_last)
    return half, lambda tensor: tensor.half().to(memory_format=torch.channels_last)


def _half(model: Any, _: list[torch.Tensor]) -> Call:
    half, taken = _halves(model)
    return lambda *given: half(*map(taken, given))[0]


def _half_compiled(model: Any, inputs: list[torch.Tensor]) -> Call:
    import torch

    half, taken = _halves(model)
    compiled: Call = torch.compile(half, mode="max-autotune-no-cudagraphs")
    return _as_graph(lambda *given: compiled(*given)[0], [taken(tensor) for tensor in inputs])


def _half_graph(model: Any, inputs: list[torch.Tensor]) -> Call:
    half, taken = _halves(model)
    return _as_graph(lambda *given: half(*given)[0], [taken(tensor) for tensor in inputs])


def _as_graph(call: Call, inputs: list[torch.Tensor]) -> Call:
    """The call as one CUDA graph on buffers of its own, into which each call copies what it is given."""
    import torch

    buffers = [tensor.clone() for tensor in inputs]
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's, unannotated
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call(*buffers)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        image = call(*buffers)

    def replay(*given: torch.Tensor) -> torch.Tensor:
        for buffer, tensor in zip(buffers, given, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        result: torch.Tensor = image
        return result

    return replay


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way of PyTorch to run the network.

    Attributes:
        name: in the table.
        limit_db: least PSNR to FP32 on the CPU. FP32 on a GPU multiplies with TF32 inside cuDNN unless told
            otherwise; here it is told otherwise.
        make: of the model on the device and inputs there, what takes such inputs and gives the images.
        needs_cuda: a CPU has no such way.
    """

    name: str
    limit_db: float
    make: Callable[[Any, list[torch.Tensor]], Call]
    needs_cuda: bool = False


MODES: Final = (
    Mode(name="eager FP32", limit_db=80.0, make=_eager),
    Mode(name="FP16 autocast", limit_db=35.0, make=_autocast),
    Mode(name="torch.compile FP32", limit_db=80.0, make=_compiled),
    Mode(name="FP16 channels last", limit_db=35.0, make=_half, needs_cuda=True),
    Mode(name="FP16 CUDA graph", limit_db=35.0, make=_half_graph, needs_cuda=True),
    Mode(name="FP16 compiled graph", limit_db=35.0, make=_half_compiled, needs_cuda=True),
)


def check_training(
    device: Literal["cpu", "cuda"],
    options: dict[str, int],
    *,
    batches: tuple[int, ...] = TRAINING_BATCHES,
    turns: int = TURNS,
    steps: int = STEPS,
) -> Iterator[TrainingResult]:
    """Every loop at every batch size in turns of `steps` steps; the plain loop that reads by itself comes first."""
    install_stand_ins()
    from cgan_bench.train.loop_runner import open_stage
    from cgan_bench.train.loops import Setup, loops
    from cgan_bench.train.sample_pairs import write_pairs
    from cgan_bench.train.step_parity import compare

    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        setup = Setup(data=Path(folder), cache=Path(folder) / "cache", **options)
        write_pairs(setup.data, setup.size)
        # Loader processes forked from one that uses CUDA would be another experiment.
        alone = [loop for loop in loops(device) if loop.loader_workers == 0]
        for batch in batches:
            stages: dict[str, Stage] = {}
            differences: dict[str, Difference | None] = {}
            for loop in alone:
                try:
                    stage = open_stage(loop, setup, batch)
                    stage.turn(2)
                    differences[loop.key] = compare(alone[0], loop, setup, batch) if loop.kind == "ours" else None
                    stages[loop.key] = stage
                except Exception as error:  # noqa: BLE001 - one loop that fails must not hide the others
                    problem = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    yield TrainingResult(loop=loop.title, batch=batch, problem=problem)
            times_ms: dict[str, list[float]] = {key: [] for key in stages}
            for _ in range(turns):
                for key, stage in stages.items():
                    times_ms[key].append(stage.turn(steps).total_ms)
            medians_ms = {key: statistics.median(values) for key, values in times_ms.items()}
            for loop in (loop for loop in alone if loop.key in medians_ms):
                yield TrainingResult(
                    loop=loop.title,
                    batch=batch,
                    step_ms=medians_ms[loop.key],
                    times_plain=medians_ms.get(alone[0].key, float("nan")) / medians_ms[loop.key],
                    difference=differences[loop.key],
                    held=loop.must_agree,
                )


def _generator(options: dict[str, Any]) -> Pix2pixGenerator:
    """The reference network in eval mode, the same weights each time."""
    import torch
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
    from cgan_trainer.nets.init import init_weights

    torch.manual_seed(0)
    generator = Pix2pixGenerator(Pix2pixOptions(**options))
    init_weights(generator)
    return generator.eval()


def _inputs(generator: Pix2pixGenerator, batch: int) -> list[torch.Tensor]:
    """Condition and masks [batch, ...]; row i is drawn from seed i alone, as every backend of ours does."""
    import torch
    from cgan_runtime.noise import noise

    side, channels = generator.options.size, generator.options.in_channels
    rows = [noise("uniform11", (channels, side, side), seed=seed, tensor=2**31) for seed in range(batch)]
    drawn = [np.stack(rows)]
    for item in generator.contract.noise:
        shape = tuple(axis for axis in item.shape if isinstance(axis, int))
        masks = [
            noise(item.distribution, shape, seed=seed, tensor=item.index, parameters=item.parameters)
            for seed in range(batch)
        ]
        drawn.append(np.stack(masks))
    return [torch.from_numpy(array) for array in drawn]


def _median_ms(call: Callable[..., object], inputs: list[torch.Tensor], device: str, runs: int) -> float:
    """Median latency; the device is idle before the clock starts and before it stops."""
    import torch

    def synchronize() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    times_ms = []
    for index in range(WARM_UP + runs):
        synchronize()
        started = time.perf_counter_ns()
        call(*inputs)
        synchronize()
        if index >= WARM_UP:
            times_ms.append((time.perf_counter_ns() - started) / 1e6)
    return float(np.median(times_ms))


def main() -> int:
    """0 when everything ran and agrees, 5 when something does not, 1 without a GPU."""
    if reason := no_gpu_reason():
        sys.stderr.write(f"gpu-check: error: {reason}; run it on a machine with an NVIDIA GPU.\n")
        return 1
    import torch

    sys.stdout.write(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, U-Net-256, against FP32 CPU\n")
    sys.stdout.write(f"{'mode':<20}{'batch':>6}{'median ms':>12}{'images/s':>12}{'PSNR dB':>10}\n")
    passed = True
    for result in check("cuda", {}):
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        passed = passed and result.passed
    sys.stdout.write(f"{'library':<15}{'law of the CUDA seam':<46}\n")
    for held in check_seam():
        sys.stdout.write(f"{held}\n")
        sys.stdout.flush()
        passed = passed and held.passed
    if importlib.util.find_spec("PIL") is None:
        sys.stdout.write("training: not checked, Pillow is not installed\n")
        return 0 if passed else 5
    sys.stdout.write(f"{'training loop':<34}{'batch':>6}{'ms/step':>12}{'images/s':>10}{'times':>8}\n")
    for trained in check_training("cuda", {}):
        sys.stdout.write(f"{trained}\n")
        sys.stdout.flush()
        passed = passed and trained.passed
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
