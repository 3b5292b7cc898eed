"""What of ours runs on a CUDA GPU, checked and timed: ``python -m cgan_bench.gpu_check``.

Needs torch with CUDA, numpy and the source tree; jaxtyping, pydantic and rich may be missing. The reference
U-Net-256 with seeded random weights and seeded masks is run as FP32, FP16 autocast and torch.compile on the GPU,
and each is compared with FP32 on the CPU. Latency is the median, inputs on the GPU to outputs on the GPU.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cgan_export.measures import psnr_db
from cgan_runtime.noise import noise

if TYPE_CHECKING:
    import torch
    from cgan_trainer.families.pix2pix import Pix2pixGenerator

__all__ = ["Result", "check", "main", "no_gpu_reason"]

BATCHES: Final = (1, 8)
WARM_UP: Final = 10
RUNS: Final = 50
PEAK: Final = 2.0  # outputs are in -1..1
# FP32 on a GPU multiplies with TF32 inside cuDNN unless told otherwise; here it is told otherwise.
MODES: Final = {"eager FP32": 80.0, "FP16 autocast": 35.0, "torch.compile FP32": 80.0}


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
        """It ran and its pictures are those of the CPU."""
        return not self.problem and self.psnr_db >= self.limit_db

    def __str__(self) -> str:
        if self.problem:
            return f"{self.mode:<20}{self.batch:>6}  FAILED: {self.problem}"
        verdict = "ok" if self.passed else f"FAILED: below {self.limit_db:.0f} dB"
        rate = self.batch / self.median_ms * 1e3
        return f"{self.mode:<20}{self.batch:>6}{self.median_ms:>12.2f}{rate:>12.1f}{self.psnr_db:>10.1f}  {verdict}"


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
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu, on_device = _generator(options), _generator(options).to(device)
    compiled = torch.compile(on_device)
    for batch in batches:
        inputs = _inputs(on_cpu, batch)
        there = [tensor.to(device) for tensor in inputs]
        with torch.inference_mode():
            expected = on_cpu(*inputs).numpy()
            for mode, limit_db in MODES.items():
                call = compiled if "compile" in mode else on_device
                half = torch.autocast(device, torch.float16) if "FP16" in mode else nullcontext()
                try:
                    with half:
                        answer = call(*there).float().cpu().numpy()
                        median_ms = _median_ms(call, there, device, runs)
                except Exception as error:  # noqa: BLE001 - one mode that fails must not hide the others
                    problem = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    yield Result(mode=mode, batch=batch, problem=problem)
                    continue
                worst_db = min(psnr_db(a, b, PEAK) for a, b in zip(answer, expected, strict=True))
                yield Result(mode=mode, batch=batch, median_ms=median_ms, psnr_db=worst_db, limit_db=limit_db)


def _generator(options: dict[str, Any]) -> Pix2pixGenerator:
    """The reference network in eval mode, the same weights each time."""
    if "jaxtyping" not in sys.modules and importlib.util.find_spec("jaxtyping") is None:
        # Only annotations use it, and they are never evaluated.
        stand_in = ModuleType("jaxtyping")
        stand_in.__dict__["Float"] = None
        sys.modules["jaxtyping"] = stand_in
    import torch
    from cgan_trainer.families.pix2pix import Pix2pixGenerator, Pix2pixOptions
    from cgan_trainer.nets.init import init_weights

    torch.manual_seed(0)
    generator = Pix2pixGenerator(Pix2pixOptions(**options))
    init_weights(generator)
    return generator.eval()


def _inputs(generator: Pix2pixGenerator, batch: int) -> list[torch.Tensor]:
    """Condition and masks [batch, ...]; row i is drawn from seed i alone, as every backend of ours does."""
    import torch

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
    sys.stdout.write(f"{'mode':<20}{'batch':>6}{'median ms':>12}{'pictures/s':>12}{'PSNR dB':>10}\n")
    passed = True
    for result in check("cuda", {}):
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        passed = passed and result.passed
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
