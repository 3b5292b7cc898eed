"""What a command asked for, measured: the report of the CPU, of a GPU, of a server under load, or of training."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cgan_runtime.errors import CganError

from cgan_bench.environment import environment
from cgan_bench.rounds import Plan, measure
from cgan_bench.worker_client import Worker

if TYPE_CHECKING:
    from cgan_bench.gpu.report import GpuReport
    from cgan_bench.layers.report import LayersReport
    from cgan_bench.load.measure import LoadPlan
    from cgan_bench.load.report import LoadReport
    from cgan_bench.mlperf.report import ScenarioReport
    from cgan_bench.mlperf.scenarios import Scenario
    from cgan_bench.report import Report
    from cgan_bench.target import Target
    from cgan_bench.train.report import TrainingReport

    AnyReport = Report | GpuReport | LayersReport | LoadReport | ScenarioReport | TrainingReport

__all__ = [
    "Asked",
    "cpu_report",
    "gpu_report",
    "has_gpu",
    "inference_reports",
    "layers_report",
    "load_report",
    "no_gpu_reason",
    "scenario_report",
    "training_report",
]

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What of this machine is measured.

    Attributes:
        device: None: the CPU, and the GPU too where there is one.
        streams: numbers of streams on the GPU.
        peers: add what else people would run on the CPU.
    """

    device: Literal["cpu", "cuda"] | None = None
    streams: tuple[int, ...] = (1,)
    peers: bool = False


def inference_reports(
    target: Target, batches: Sequence[int], plan: Plan, asked: Asked, *, say: Say
) -> list[Report | GpuReport]:
    """The report of the CPU, of the GPU, or both, the CPU's first.

    Raises:
        CganError: the GPU was asked for and there is none; one that nobody asked for and that fails is only told.
    """
    if asked.device == "cuda":
        return [gpu_report(target, batches, asked.streams, plan, say=say)]
    reports: list[Report | GpuReport] = [cpu_report(target, batches, plan, peers=asked.peers, say=say)]
    if asked.device is None and target.server is None and has_gpu():
        try:
            reports.append(gpu_report(target, batches, asked.streams, plan, say=say))
        except CganError as error:
            say(f"the GPU here was not measured: {error}")
    return reports


def has_gpu() -> bool:
    """Whether there are a driver of NVIDIA, a GPU, and a library that can use it: CUDA's, or PyTorch with CUDA."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # most machines: nothing is started for them
        return False
    with Worker("CUDA") as worker:
        return worker.run(no_gpu_reason, False) is None


def cpu_report(target: Target, batches: Sequence[int], plan: Plan, *, peers: bool = False, say: Say) -> Report:
    """Every way of running on the CPU, or a server beside the bundle; `peers` adds what else people would run."""
    from cgan_bench import backends
    from cgan_bench.quantizing import peer_backends
    from cgan_bench.report import Report
    from cgan_bench.roofline.processor import Processor, measure_processor

    where = environment()
    artifacts = target.artifacts
    rows = backends.server_backends(artifacts) if target.server else backends.local_backends(artifacts)
    processor = Processor() if target.server else measure_processor(target, plan.threads, say)
    with tempfile.TemporaryDirectory(prefix="cgan-bench-") as folder:
        beside = peer_backends(target, Path(folder), say) if peers else []
        blocks = [measure(target, [*rows, *beside], batch=batch, plan=plan, say=say) for batch in batches]
    blocks = [
        replace(
            block,
            rows=tuple(replace(r, floor_ms=processor.floor_ms(r.batch, r.precision)) for r in block.rows),
        )
        for block in blocks
    ]
    return Report(target=target, plan=plan, environment=where, blocks=tuple(blocks), processor=processor)


def layers_report(target: Target, batches: Sequence[int], plan: Plan, *, say: Say) -> LayersReport:
    """Where the time of the bundle's artifacts goes."""
    from cgan_bench.layers.measure import measure_layers
    from cgan_bench.layers.report import LayersReport
    from cgan_bench.roofline.processor import measure_processor

    where = environment()
    processor = measure_processor(target, plan.threads, say)
    blocks = measure_layers(
        target, batches, processor, runs=plan.rounds, warm_up=plan.warm_up, threads=plan.threads, say=say
    )
    return LayersReport(target=target, environment=where, blocks=tuple(blocks), processor=processor)


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


def scenario_report(
    target: Target, scenario: Scenario, chosen: tuple[str, str], *, threads: int, say: Say
) -> ScenarioReport:
    """One artifact of the bundle, `chosen` by backend and precision, under a scenario of MLPerf.

    Raises:
        BundleError: the bundle has no such artifact.
        CganError: LoadGen or what runs the artifact is not installed.
    """
    from cgan_bench.backends import BundleArtifact
    from cgan_bench.backends.base import missing_package
    from cgan_bench.environment import package_version
    from cgan_bench.mlperf.report import ScenarioBlock, ScenarioReport, ScenarioRow
    from cgan_bench.mlperf.under_test import run_scenario

    assert target.bundle is not None  # noqa: S101 - the command needs one
    found = target.bundle.artifact(*chosen)
    artifact = BundleArtifact(found.backend, found.precision)
    if (reason := missing_package("mlperf_loadgen", extra="bench") or artifact.absence(target)) is not None:
        raise CganError(reason)
    where = environment()
    say(f"{scenario.name}: LoadGen asks {artifact.title}")
    with Worker(artifact.title) as worker:
        description, outcome = worker.run(run_scenario, target, artifact, scenario, threads)
    row = ScenarioRow(
        key=artifact.key,
        title=artifact.title,
        description=description,
        precision=artifact.precision,
        outcome=outcome,
    )
    return ScenarioReport(
        target=target,
        scenario=scenario,
        loadgen=package_version("mlcommons-loadgen") or "",
        environment=where,
        blocks=(ScenarioBlock(rows=(row,)),),
    )


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
