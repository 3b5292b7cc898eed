"""How fast an artifact is beside FP32, on its own runtime and this machine: a trial of seconds, and a note.

Nothing of it is written: a bundle has the same bytes on every machine, and a disturbed trial costs no artifact.
`cgan-bench` measures properly.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from cgan_runtime.runners import runner_kind
from cgan_runtime.runners.base import Runner, Tensors

from cgan_export.artifacts.artifacts import BuildContext, BuiltArtifact, feed_of
from cgan_export.precisions import Precision

__all__ = ["FOR_SPEED", "note_of_ratio", "speed_notes", "times_as_fast"]

MIN_ROUNDS: Final = 5
MAX_ROUNDS: Final = 300
LIMIT_S: Final = 3.0
SAME: Final = 0.05  # what a few seconds cannot tell apart
FOR_SPEED: Final[tuple[Precision, ...]] = ("bf16", "int8")  # FP16 is made for engines; a CPU only checks it


def speed_notes(artifacts: Sequence[BuiltArtifact], context: BuildContext) -> Iterator[str]:
    """What to tell whoever asked for speed: a note for each artifact of `FOR_SPEED`, when its trial is over.

    Args:
        artifacts: of one bundle, with the FP32 artifact of each of their runtimes.
        context: what they were made from; the first sample of the gates is what runs.
    """
    feed = feed_of(context.contract, context.samples, 0)
    fp32 = {artifact.backend: artifact for artifact in artifacts if artifact.precision == "fp32"}
    for artifact in artifacts:
        if artifact.precision in FOR_SPEED and artifact.backend in fp32:
            kind = runner_kind(artifact.backend)
            runner, other = (
                kind.open(one.model, context.contract, precision=one.precision)
                for one in (artifact, fp32[artifact.backend])
            )
            yield note_of_ratio(times_as_fast(runner, other, feed), artifact.precision, kind.name)


def note_of_ratio(ratio: float, precision: Precision, runtime: str) -> str:
    """The note for an artifact that is `ratio` times as fast as FP32 on the same runtime."""
    name = precision.upper()
    if ratio >= 1 + SAME:
        return f"{name} is {ratio:.1f} times as fast as FP32 on {runtime} here."
    what = "slower than" if ratio <= 1 - SAME else "about as fast as"
    return f"{name} is {what} FP32 on {runtime} here ({ratio:.2f} times as fast): use FP32 on this machine."


def times_as_fast(runner: Runner, other: Runner, feed: Tensors) -> float:
    """The time of `other` over that of `runner`: the median over rounds in which each runs one sample.

    Args:
        runner: closed at the end.
        other: what it is compared with; closed too.
        feed: every input of the graph, one sample.
    """
    ratios: list[float] = []
    with runner, other:
        for one in (runner, other):
            one.infer(feed)
        end_s = time.perf_counter() + LIMIT_S
        while len(ratios) < MIN_ROUNDS or (len(ratios) < MAX_ROUNDS and time.perf_counter() < end_s):
            mine_s = _seconds_of(runner, feed)
            ratios.append(_seconds_of(other, feed) / mine_s)
    return median(ratios)


def _seconds_of(runner: Runner, feed: Tensors) -> float:
    began_s = time.perf_counter()
    runner.infer(feed)
    return time.perf_counter() - began_s
