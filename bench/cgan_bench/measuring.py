"""What a command asked for, measured: the report of the CPU, of a GPU, of a server under load, or of training."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgan_runtime.errors import CganError

from cgan_bench.environment import environment
from cgan_bench.rounds import Plan, measure
from cgan_bench.worker_client import Worker

if TYPE_CHECKING:
    from cgan_bench.gpu.report import GpuReport
    from cgan_bench.load.measure import LoadPlan
    from cgan_bench.load.report import LoadReport
    from cgan_bench.report import Report
    from cgan_bench.target import Target
    from cgan_bench.train.report import TrainingReport

    AnyReport = Report | GpuReport | LoadReport | TrainingReport

__all__ = ["cpu_report", "gpu_report", "load_report", "no_gpu_reason", "training_report"]

Say = Callable[[str], None]


def cpu_report(target: Target, batches: Sequence[int], plan: Plan, *, say: Say) -> Report:
    """Every way of running on the CPU, or a server beside the bundle."""
    from cgan_bench import backends
    from cgan_bench.report import Report

    where = environment()
    artifacts = target.artifacts
    rows = backends.server_backends(artifacts) if target.server else backends.local_backends(artifacts)
    blocks = [measure(target, rows, batch=batch, plan=plan, say=say) for batch in batches]
    return Report(target=target, plan=plan, environment=where, blocks=tuple(blocks))


def load_report(plan: LoadPlan, *, say: Say) -> LoadReport:
    """A server under load, or two beside each other.

    Raises:
        CganError: the client libraries are not installed.
        ServerError: a server cannot be reached or does not answer.
        UsageError: what was asked for does not fit the served model.
    """
    from cgan_bench.backends.base import missing_package

    if (reason := missing_package("tritonclient", "grpc", "aiohttp", extra="serve")) is not None:
        raise CganError(reason)
    from cgan_bench.load.measure import run_in_loop
    from cgan_bench.load.report import LoadReport

    where = environment()
    return LoadReport(plan=plan, environment=where, blocks=tuple(run_in_loop(plan, say)))


def gpu_report(
    target: Target, batches: Sequence[int], streams: tuple[int, ...], plan: Plan, *, say: Say
) -> GpuReport:
    """Every way of running on the GPU.

    Raises:
        CganError: there is none.
    """
    from cgan_bench.gpu.backends import gpu_backends
    from cgan_bench.gpu.measure import measure_card, measure_gpu
    from cgan_bench.gpu.report import GpuReport

    _require_gpu()
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # NVML counts so; workers and CUDA shall too
    where = environment()
    card = measure_card(target, say)
    rows = gpu_backends(target)
    blocks = [
        measure_gpu(target, rows, batch=batch, streams=streams, plan=plan, card=card, say=say) for batch in batches
    ]
    return GpuReport(target=target, card=card, streams=streams, plan=plan, environment=where, blocks=tuple(blocks))


def training_report(
    data: Path | None,
    setup: dict[str, int | None],
    batches: Sequence[int],
    plan: Plan,
    device: Literal["cpu", "cuda"],
    stack: ExitStack,
    *,
    say: Say,
) -> TrainingReport:
    """The loop of cgan-train beside a plain one, on the CPU and, where asked for, on the GPU.

    Args:
        data: a folder of pairs; None: images made for it.
        setup: the fields of `loops.Setup` that were given.
        batches: each gives a block for each device.
        plan: how long.
        device: cuda adds the GPU.
        stack: keeps the images that are made.
        say: told what is done.

    Raises:
        CganError: there is no GPU.
        BadInputError: the data cannot be used.
    """
    from cgan_bench.train import loops
    from cgan_bench.train.measure import measure_training
    from cgan_bench.train.report import TrainingReport
    from cgan_bench.train.sample_pairs import COUNT, check_pairs, write_pairs

    given = {name: value for name, value in setup.items() if value is not None}
    if data is not None:
        check_pairs(data)
    if device == "cuda":
        _require_gpu(torch=True)
    where = environment()
    folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cgan-bench-")))
    chosen = loops.Setup(data=folder, cache=None if data else folder / "cache", **given)
    if data is None:
        write_pairs(folder, chosen.size, count=COUNT)
    blocks = [
        measure_training(chosen, loops.loops(on), batch=batch, plan=plan, say=say)
        for on in (("cpu", "cuda") if device == "cuda" else ("cpu",))
        for batch in batches
    ]
    images = f"Images: {data}" if data else f"Images: {COUNT} smooth ones made for it"
    return TrainingReport(setup=chosen, plan=plan, images=images, environment=where, blocks=tuple(blocks))


def no_gpu_reason(torch: bool) -> str | None:
    """Why there is no GPU here, for PyTorch alone or for it and the CUDA libraries; None where there is one."""
    from cgan_runtime.cuda.driver import absence

    from cgan_bench.gpu_check import no_gpu_reason as no_gpu_of_torch

    return None if not torch and absence() is None else no_gpu_of_torch()


def _require_gpu(*, torch: bool = False) -> None:
    with Worker("CUDA") as worker:  # torch is never imported in this process
        reason = worker.run(no_gpu_reason, torch)
    if reason:
        raise CganError(f"--device cuda cannot be had: {reason}.")
