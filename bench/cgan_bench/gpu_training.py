"""The loops of training on a GPU, in turns: a part of ``python -m cgan_bench.gpu_check``.

The loop of cgan-train in FP32, BF16 and with torch.compile beside the plain loop of ``cgan-bench --train``, all in
one process, and one step of each compared with the plain one.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from cgan_bench.bare_machine import install_stand_ins

if TYPE_CHECKING:
    from cgan_bench.train.loop_runner import Stage
    from cgan_bench.train.step_parity import Difference

__all__ = ["TrainingResult", "check_training"]

TRAINING_BATCHES: Final = (1, 16)
TURNS: Final = 8
STEPS: Final = 10  # of a turn


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
