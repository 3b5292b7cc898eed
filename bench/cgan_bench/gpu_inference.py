"""The modes of PyTorch on a GPU, each stage by itself: a part of ``python -m cgan_bench.gpu_check``.

The same code as that of ``cgan-bench --device cuda``, in one process, with the reference U-Net of seeded random
weights. A machine with torch and numpy alone can run it, so everything of ours is imported inside the functions.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cgan_bench.bare_machine import install_stand_ins

if TYPE_CHECKING:
    from cgan_export.pytorch.mode import TorchMode
    from cgan_runtime.runners.on_device import OnDevice
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator

    from cgan_bench.roofline.floor import Ceiling, Work

__all__ = ["HEADS", "Result", "check", "work_of"]

BATCHES: Final = (1, 8, 32)
TURNS: Final = 20
STAGES: Final = ("compute", "copy_in", "noise", "copy_out", "wall")
LIMITS_DB: Final = {"fp32": 80.0, "fp16": 35.0}
PEAK: Final = 2.0  # outputs are in -1..1


@dataclass(frozen=True, kw_only=True)
class Result:
    """One mode at one batch size; `problem` says why there are no figures.

    Attributes:
        mode: its words.
        batch: rows of a call.
        times_ms: median by stage and of the wall clock.
        images_per_s: end to end, without waiting between.
        least_ms: what this card needs at least; None where that is not known.
        psnr_db: of the worst image, to FP32 on the CPU.
        limit_db: it must have.
        problem: what failed.
    """

    mode: str
    batch: int
    times_ms: Mapping[str, float] = field(default_factory=dict)
    images_per_s: float = 0.0
    least_ms: float | None = None
    psnr_db: float = 0.0
    limit_db: float = 0.0
    problem: str = ""

    @property
    def passed(self) -> bool:
        """It ran and its images are those of the CPU."""
        return not self.problem and self.psnr_db >= self.limit_db

    def __str__(self) -> str:
        if self.problem:
            return f"{self.mode:<30}{self.batch:>6}  FAILED: {self.problem}"
        verdict = "ok" if self.passed else f"FAILED: below {self.limit_db:.0f} dB"
        times = "".join(
            f"{self.times_ms[stage] * 1e3:>9.1f}" if stage in self.times_ms else f"{'-':>9}" for stage in STAGES
        )
        known = self.least_ms is not None and "compute" in self.times_ms
        share = f"{(self.least_ms or 0) / self.times_ms['compute']:>9.0%}" if known else f"{'-':>9}"
        rates = f"{self.images_per_s:>10.1f}{share}{self.psnr_db:>7.1f}"
        return f"{self.mode:<30}{self.batch:>6}{times}{rates}  {verdict}"


HEADS: Final = (
    f"{'PyTorch, times in us':<30}{'batch':>6}{'compute':>9}{'in':>9}{'noise':>9}{'out':>9}{'wall':>9}"
    f"{'images/s':>10}{'roofline':>9}{'dB':>7}"
)


def check(
    device: str,
    options: dict[str, Any],
    *,
    batches: tuple[int, ...] = BATCHES,
    turns: int = TURNS,
    ceiling: Ceiling | None = None,
    by_stage: bool | None = None,
) -> Iterator[Result]:
    """Every mode of PyTorch at every batch size on `device`, against FP32 on the CPU.

    Args:
        device: "cuda", or "cpu": by the wall clock, and only what a CPU can do.
        options: of the U-Net.
        batches: rows of a call.
        turns: of about 0.1 s each.
        ceiling: of the card.
        by_stage: stages by events; by default on a GPU.
    """
    install_stand_ins()
    from cgan_export.fidelity.measures import psnr_db
    from cgan_export.pytorch.mode import GPU_MODES
    from cgan_export.pytorch.runner import TorchRunner
    from cgan_runtime.generator import SeededGenerator

    from cgan_bench.gpu.meter import Meter
    from cgan_bench.roofline.floor import floor_ms
    from cgan_bench.workload import check_seeds, conditions_for

    by_stage = device == "cuda" if by_stage is None else by_stage
    generator = _generator(options)
    reference = SeededGenerator(TorchRunner(_generator(options), generator.contract))
    work = work_of(generator) if ceiling else None
    for batch in batches:
        seeds = check_seeds(batch)[0]
        expected = reference.generate(conditions_for(generator.contract, seeds), seeds, [0] * batch)["picture"]
        for mode in GPU_MODES:
            if not by_stage and (mode.graph or mode.compiled):
                continue
            try:
                meter = Meter(_opened(_generator(options), mode, batch, device, by_stage=by_stage), batch)
                try:
                    answer = meter.answers(seeds)["picture"]
                    timed = [meter.turn(index) for index in range(turns + 1)][1:]  # the first is a warm-up
                    rate = meter.images_per_s()
                finally:
                    meter.close()
            except Exception as error:  # noqa: BLE001 - one mode that fails must not hide the others
                problem = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                yield Result(mode=mode.words, batch=batch, problem=problem)
                continue
            yield Result(
                mode=mode.words,
                batch=batch,
                times_ms={stage: statistics.median(turn[stage] for turn in timed) for stage in timed[0]},
                images_per_s=rate,
                least_ms=floor_ms(work, batch, ceiling) if work and ceiling else None,
                psnr_db=min(psnr_db(a, b, PEAK) for a, b in zip(answer, expected, strict=True)),
                limit_db=LIMITS_DB[mode.precision],
            )


def _opened(generator: Pix2pixGenerator, mode: TorchMode, batch: int, device: str, *, by_stage: bool) -> OnDevice:
    from cgan_export.pytorch.runner import TorchRunner
    from cgan_export.pytorch.stages import TorchOnDevice
    from cgan_runtime.cuda import driver as cuda

    from cgan_bench.gpu.meter import WallClock

    contract = generator.contract
    if not by_stage:
        return WallClock(TorchRunner(generator, contract, device=device, mode=mode), contract)
    driver = None if cuda.absence() else cuda.open_driver()
    return TorchOnDevice(generator, contract, batch=batch, mode=mode, device=device, driver=driver)


def work_of(generator: Pix2pixGenerator) -> Work:
    """The work of one image, counted by PyTorch: a machine without onnx has no graph to count in."""
    import torch
    from torch import Tensor, nn
    from torch.utils.flop_counter import FlopCounterMode

    from cgan_bench.roofline.floor import Work

    values = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal values
        values += inputs[0].numel() + output.numel()

    layers = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    shapes = [tuple(axis for axis in tensor.shape if isinstance(axis, int)) for tensor in generator.contract.inputs]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        generator(*(torch.zeros(1, *shape) for shape in shapes))
    for hook in hooks:
        hook.remove()
    weights = sum(value.numel() for value in generator.parameters())
    return Work(flops=counter.get_total_flops(), weight_bytes=2 * weights, value_bytes=2 * values)


def _generator(options: dict[str, Any]) -> Pix2pixGenerator:
    """The reference network in eval mode, the same weights each time."""
    import torch
    from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
    from cgan_trainer.nets.init import init_weights

    torch.manual_seed(0)
    generator = Pix2pixGenerator(Pix2pixOptions(**options))
    init_weights(generator)
    return generator.eval()
