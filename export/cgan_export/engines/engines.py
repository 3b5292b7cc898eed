"""Engines of a bundle: which are wanted, a plan from each ONNX file they are made of, and what the gates say of it.

An engine can only be measured where it runs. Elsewhere it has no figures at all, and whoever shows it says so:
built, not run here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cgan_runtime.contract import Contract
from cgan_runtime.cuda.driver import Device, open_driver
from cgan_runtime.errors import CganError
from cgan_runtime.manifest import Artifact, Batch, Figure, Plan, Profile
from cgan_runtime.own_plans import remember_own
from cgan_runtime.runners import RUNNERS, Runner

from cgan_export.engines import timing_cache
from cgan_export.engines.builder import BuildOptions, Report, build_plan, unsupported_operators
from cgan_export.engines.byte_images import with_byte_images
from cgan_export.engines.edge import Edge
from cgan_export.engines.flavours import Flavour
from cgan_export.engines.lint import lint_for_tensorrt
from cgan_export.engines.profiles import profiles_for, shapes_of, whole_batch
from cgan_export.engines.running import why_not_run
from cgan_export.engines.symmetric import symmetric_int8
from cgan_export.precisions import Precision

__all__ = ["Engine", "EngineWish", "Gates", "Source", "build_engines", "gpu_for", "sources_of"]

Gates = Callable[[Runner, Precision], dict[str, Figure]]


@dataclass(frozen=True, kw_only=True)
class EngineWish:
    """What was asked for on the command line.

    Attributes:
        batches: a profile for each.
        sides: see `profiles_for`.
        options: how to build; without the timing cache.
        timing_cache: its file; "off" for none, None for the usual one of this GPU.
        byte_images: images cross the edge as bytes.
        profiles: those of an engine that is built again, in place of `batches` and `sides`.
    """

    flavour: Flavour
    batches: tuple[Batch, ...] = ()
    sides: str | None = None
    byte_images: bool = False
    profiles: tuple[Profile, ...] = ()
    options: BuildOptions = field(default_factory=BuildOptions)
    timing_cache: Path | Literal["off"] | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ONNX file that becomes an engine."""

    precision: Precision
    model: bytes
    io: Literal["fp32", "fp16"] = "fp32"
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A plan and its entry in bundle.json; `not_run` says why there are no figures, None where there are."""

    data: bytes
    artifact: Artifact
    not_run: str | None

    @property
    def passed(self) -> bool:
        """Whether every figure that was measured keeps to its limit."""
        return all(figure.passed for figure in self.artifact.fidelity.values())


def build_engines(
    sources: Iterable[Source],
    contract: Contract,
    wish: EngineWish,
    *,
    size: tuple[int, int] | None = None,
    usual: tuple[int, int] | None = None,
    gates: Gates,
    report: Report | None = None,
    device: Device | None = None,
) -> tuple[Engine, ...]:
    """An engine of each source.

    Args:
        sources: what they are made of.
        contract: of the generator.
        wish: how.
        size: (height, width) of the images, where it is fixed; noted in the entry.
        usual: (height, width) to tune for, where it is free.
        gates: measures a runner of the engine, where it runs.
        report: told what is done.
        device: the GPU here, for TensorRT; found by itself where it is not given.

    Raises:
        CganError: TensorRT is missing, or cannot build it.
        UsageError: batches or sides that the generator does not take.
        CheckFailedError: a graph that TensorRT cannot take as it is meant.
    """
    report, flavour = report or Report(), wish.flavour
    profiles = wish.profiles or profiles_for(contract, wish.batches, wish.sides, usual)
    version = flavour.load().__version__
    device = device or gpu_for(flavour)
    options = replace(wish.options, timing_cache=_timing_cache(wish, device, version))
    engines = []
    for source in sources:
        what = f"{source.precision} engine"
        edge = Edge(io=source.io, byte_images=wish.byte_images)
        model = symmetric_int8(source.model) if source.precision == "int8" else source.model
        model = with_byte_images(model, contract) if wish.byte_images else model
        report.say(f"{what}: looking at the graph")
        lint_for_tensorrt(
            model,
            contract,
            [shapes_of(contract, profile, edge) for profile in profiles],
            edge=edge,
            unsupported=lambda names: unsupported_operators(flavour, names),
            who=f"{flavour.name} {version}",
        )
        report.say(f"{what}: building with {flavour.name} {version}")
        built = build_plan(
            flavour,
            model,
            contract,
            profiles,
            edge=edge,
            options=options,
            device=device,
            report=replace(report, show=lambda text, what=what: report.show(f"{what}: {text}")),  # type: ignore[misc]  # bound now
        )
        engines.append(_engine(source, flavour, built.data, built.plan, contract, size, gates, report))
    return tuple(engines)


def sources_of(artifacts: Iterable[Artifact], read: Callable[[Artifact], bytes]) -> tuple[Source, ...]:
    """The ONNX files that become engines: all but FP32, which they are compared with."""
    return tuple(
        Source(precision=artifact.precision, model=read(artifact), io=artifact.io, kept=artifact.kept)
        for artifact in artifacts
        if artifact.backend == "onnxruntime" and artifact.precision != "fp32"
    )


def gpu_for(flavour: Flavour) -> Device | None:
    """The GPU that a flavour builds for; None for one that is told.

    Raises:
        CganError: it needs a GPU and there is none, or none that can be used.
    """
    if not flavour.needs_gpu:
        return None
    try:
        driver = open_driver()
    except CganError as error:
        raise CganError(
            f"{flavour.name} builds for the GPU it sits on, and none can be used here ({error}) Build there, or "
            "anywhere with --backend tensorrt-rtx."
        ) from error
    try:
        return driver.device
    finally:
        driver.close()


def _engine(
    source: Source,
    flavour: Flavour,
    data: bytes,
    plan: Plan,
    contract: Contract,
    size: tuple[int, int] | None,
    gates: Gates,
    report: Report,
) -> Engine:
    sha256 = hashlib.sha256(data).hexdigest()
    figures: dict[str, Figure] = {}
    not_run = why_not_run(flavour.backend, plan)
    if not_run is None:
        report.say(f"{source.precision} engine: the gates")
        with RUNNERS[flavour.backend].open(data, contract) as runner:
            figures = gates(runner, source.precision)
    try:
        remember_own(sha256)
    except OSError as error:
        report.note(
            f"that this engine was built here cannot be noted ({error}): to run it the bundle must be signed"
        )
    bytes_ = ".bytes" if plan.byte_images else ""
    artifact = Artifact(
        path=f"engines/model.{source.precision}{bytes_}.{flavour.short}-{'-'.join(plan.targets)}.plan",
        sha256=sha256,
        bytes=len(data),
        backend=flavour.backend,
        precision=source.precision,
        batch=whole_batch(plan.profiles),
        size=size,
        requires=(f"{flavour.name} {plan.version}", f"GPU: {', '.join(plan.targets)}"),
        io=source.io,
        kept=source.kept,
        fidelity=figures,
        plan=plan,
    )
    return Engine(data=data, artifact=artifact, not_run=not_run)


def _timing_cache(wish: EngineWish, device: Device | None, version: str) -> Path | None:
    if wish.timing_cache == "off" or device is None:
        return None
    return wish.timing_cache or timing_cache.default_path(device, version)
