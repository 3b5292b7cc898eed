"""`--backend auto`: the artifact of a bundle that is fastest here and faithful enough, found by a short trial.

A seed keeps its image only on one artifact, so nothing is chosen unless it was asked for, and the choice is told.
What was measured is kept in the user's cache folder, by bundle, processor and versions, so the second command of a
machine makes the same choice at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from cgan_runtime.atomic import write_atomic
from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, Bundle
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.generator import noise_tensors, sizes_of
from cgan_runtime.golden import golden_conditions
from cgan_runtime.manifest import Artifact
from cgan_runtime.runners import RUNNERS, Runner, runner_kind
from cgan_runtime.runners.base import Array

__all__ = ["AUTO", "Choice", "choose_artifact", "resolve_artifact"]

AUTO: Final = "auto"
DEFAULT_MIN_PSNR: Final = 45.0
FIDELITY: Final = "parity_psnr"  # a figure of an artifact: of an image, by itself or after the output's name
ROUNDS: Final = 7
MAX_SECONDS: Final = 6.0  # after the first round
REFERENCE: Final = (DEFAULT_BACKEND, DEFAULT_PRECISION)

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        backend: of the artifact.
        precision: of the artifact.
        seconds: by backend and precision, the median time of one sample.
        psnr_db: of the artifact's worst sample when it was exported; infinite of the reference, FP32 on ONNX
            Runtime.
        min_psnr_db: what was asked for.
    """

    backend: str
    precision: str
    seconds: Mapping[Key, float]
    psnr_db: float
    min_psnr_db: float

    def __str__(self) -> str:
        """One sentence for people."""
        chosen = (self.backend, self.precision)
        name, ms = "/".join(chosen), self.seconds[chosen] * 1e3
        if chosen == REFERENCE:
            return f"{name}, {ms:.1f} ms: nothing that keeps {self.min_psnr_db:g} dB is faster here"
        ratio = self.seconds[REFERENCE] / self.seconds[chosen]
        return (
            f"{name}, {ms:.1f} ms, {ratio:.1f} times as fast as {'/'.join(REFERENCE)} here; {self.psnr_db:.1f} dB, "
            f"at least {self.min_psnr_db:g} were asked for"
        )


def resolve_artifact(
    bundle: Bundle,
    backend: str | None,
    precision: str | None,
    *,
    min_psnr_db: float | None = None,
    device: str | None = None,
    threads: int = 0,
    say: Callable[[str], None],
) -> tuple[str, str]:
    """Backend and precision of what a command runs, from its options; a choice is told to `say`.

    Args:
        bundle: that runs.
        backend: a name of `RUNNERS`, "auto", or None for ONNX Runtime.
        precision: None for FP32, and with "auto".
        min_psnr_db: with "auto" the least, see `choose_artifact`.
        device: None with "auto", which chooses among what runs on the CPU.
        threads: CPU threads; 0 lets the backend choose.
        say: told what was chosen, and why.

    Raises:
        UsageError: options that do not go together.
        BundleError: as `choose_artifact`.
    """
    if backend != AUTO:
        if min_psnr_db is not None:
            raise UsageError("--min-psnr is for a choice; add --backend auto.")
        return backend or DEFAULT_BACKEND, precision or DEFAULT_PRECISION
    for option, value in (("--precision", precision), ("--device", device)):
        if value is not None:
            raise UsageError(f"--backend auto makes this choice; leave out {option}, or name the backend.")
    choice = choose_artifact(bundle, min_psnr_db=min_psnr_db, threads=threads)
    say(f"chosen for {bundle.manifest.name}: {choice}")
    return choice.backend, choice.precision


def choose_artifact(bundle: Bundle, *, min_psnr_db: float | None = None, threads: int = 0) -> Choice:
    """The fastest artifact for CPUs whose worst sample has this PSNR; measured here, or remembered.

    Args:
        bundle: with golden samples, which are what is timed.
        min_psnr_db: the least; 45 by default. FP32 on ONNX Runtime always qualifies.
        threads: CPU threads; 0 lets the backend choose.

    Raises:
        UsageError: no positive number.
        BundleError: the bundle has no golden samples, or changed since it was read.
    """
    floor = DEFAULT_MIN_PSNR if min_psnr_db is None else min_psnr_db
    if not floor > 0:
        raise UsageError(f"--min-psnr {floor:g} is no floor; give a number of dB above 0.")
    candidates = {
        (artifact.backend, artifact.precision): _psnr_db(artifact)
        for artifact in bundle.manifest.artifacts
        if artifact.plan is None and _runs_here(artifact)
    }
    able = [key for key, psnr_db in candidates.items() if key == REFERENCE or psnr_db >= floor]
    seconds = _remembered(bundle, able, threads)
    backend, precision = min(able, key=lambda key: seconds[key])
    return Choice(
        backend=backend,
        precision=precision,
        seconds=seconds,
        psnr_db=candidates[backend, precision],
        min_psnr_db=floor,
    )


def _runs_here(artifact: Artifact) -> bool:
    if artifact.backend not in RUNNERS:
        return False
    kind = runner_kind(artifact.backend)
    return kind.absence() is None and kind.lack(artifact.precision) is None


def _psnr_db(artifact: Artifact) -> float:
    """The least over the images of an artifact; of one without any 0, for nothing vouches for it."""
    if (artifact.backend, artifact.precision) == REFERENCE:
        return float("inf")
    found = [figure.value for key, figure in artifact.fidelity.items() if key.rpartition(".")[2] == FIDELITY]
    return min(found, default=0.0)


def _remembered(bundle: Bundle, keys: Sequence[Key], threads: int) -> dict[Key, float]:
    """The times of these artifacts; all are measured again where one is missing, so that they are of one trial."""
    path = _file(bundle, threads)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        seconds = {key: float(stored["/".join(key)]) for key in keys}
        if all(value > 0 for value in seconds.values()):
            return seconds
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never measured, by another release, or damaged
    seconds = _measured(bundle, keys, threads)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"/".join(key): value for key, value in seconds.items()}).encode())
    except OSError:
        pass  # it is measured again next time
    return seconds


def _measured(bundle: Bundle, keys: Sequence[Key], threads: int) -> dict[Key, float]:
    golden = golden_conditions(bundle)
    if not golden:
        raise BundleError(f"{bundle.path} has no golden samples to time: export the checkpoint again.")
    contract = bundle.manifest.contract
    conditions = {name: np.ascontiguousarray(value[None]) for name, value in golden[0].items()}
    inputs = {**conditions, **noise_tensors(contract.noise, [1], [0], sizes_of(contract, conditions))}
    runners = {key: bundle.runner(backend=key[0], precision=key[1], threads=threads) for key in keys}
    try:
        return _medians({key: _timed(runner, inputs) for key, runner in runners.items()})
    finally:
        for runner in runners.values():
            runner.close()


def _timed(runner: Runner, inputs: dict[str, Array]) -> Callable[[], float]:
    def once() -> float:
        began = time.perf_counter()
        runner.infer(inputs)
        return time.perf_counter() - began

    return once


def _medians(clocks: Mapping[Key, Callable[[], float]]) -> dict[Key, float]:
    """In turns, so that a busy moment falls on all of them; the first round warms up."""
    for clock in clocks.values():
        clock()
    times: dict[Key, list[float]] = {key: [] for key in clocks}
    began = time.monotonic()
    for number in range(ROUNDS):
        if number and time.monotonic() - began > MAX_SECONDS:
            break
        for key, clock in clocks.items():
            times[key].append(clock())
    return {key: median(values) for key, values in times.items()}


def _file(bundle: Bundle, threads: int) -> Path:
    import platformdirs

    versions = [f"{name} {kind.version()}" for name, kind in RUNNERS.items()]
    said = "\n".join([bundle.digest, _processor(), str(os.cpu_count()), str(threads), *versions])
    name = hashlib.sha256(said.encode()).hexdigest()[:32]
    return platformdirs.user_cache_path("cgan-deploy") / "choices" / f"{name}.json"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())
