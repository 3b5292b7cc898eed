"""A plan from an ONNX graph: one way for TensorRT 10.12 and newer, TensorRT 11 and TensorRT-RTX.

The network is strongly typed: every tensor has the type that the graph gives it, and no flag changes one. So the
precision is a matter of the graph alone (`artifacts/precision/`), INT8 and FP8 stand in it as explicit Q/DQ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from cgan_runtime.contract import Contract, Tensor
from cgan_runtime.cuda.driver import Device
from cgan_runtime.errors import CganError, CheckFailedError, UsageError
from cgan_runtime.manifest import Plan, Profile

from cgan_export.engines import timing_cache
from cgan_export.engines.api import Config, Members, Network, OptimizationProfile, Parser, RtxConfig, TensorRT
from cgan_export.engines.edge import Edge
from cgan_export.engines.flavours import Flavour
from cgan_export.engines.plan_header import targets_of
from cgan_export.engines.profiles import Shapes, shapes_of
from cgan_export.engines.watching import Messages, build_progress, messages, plain_words

__all__ = ["BuildOptions", "Built", "NetworkIo", "Report", "build_plan", "require_targets", "unsupported_operators"]


def _silent(_: str) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Report:
    """Who is told: `say` what is done now, `show` how far it is (many times a second), `note` what stays."""

    say: Callable[[str], None] = _silent
    show: Callable[[str], None] = _silent
    note: Callable[[str], None] = _silent


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        targets: compute capabilities to build for, for TensorRT-RTX: ("sm86",). Empty: those it takes by itself.
        workspace: most bytes of working memory; None leaves it to TensorRT.
        hardware: TensorRT's hardware compatibility level.
        version_compatible: runs under newer versions too.
        refit: weights can be replaced.
        timing_cache: its file; None for none.
    """

    targets: tuple[str, ...] = ()
    workspace: int | None = None
    hardware: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    version_compatible: bool = False
    refit: bool = False
    timing_cache: Path | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkIo:
    """An input or output of the parsed network: its type as TensorRT names it, and its shape with -1 where free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A plan, what it needs to run, and what TensorRT made of the graph.

    Attributes:
        shapes: of each profile, as TensorRT holds them.
    """

    data: bytes
    plan: Plan
    inputs: tuple[NetworkIo, ...]
    outputs: tuple[NetworkIo, ...]
    shapes: tuple[Shapes, ...] = field(default=())


def build_plan(
    flavour: Flavour,
    model: bytes,
    contract: Contract,
    profiles: Sequence[Profile],
    *,
    edge: Edge | None = None,
    options: BuildOptions | None = None,
    device: Device | None = None,
    report: Report | None = None,
) -> Built:
    """Build a plan.

    Args:
        flavour: what builds it.
        model: a self-contained ONNX file.
        contract: the signature it must have.
        profiles: at least one.
        edge: how its tensors are taken and given; as the contract says by default.
        options: how to build.
        device: the GPU that TensorRT sits on; not needed for TensorRT-RTX.
        report: told what is done.

    Raises:
        CganError: TensorRT is not installed, is too old, lacks what an option asks for, or cannot build the graph.
        CheckFailedError: it takes the graph for something else than the contract says.
    """
    edge, options, report = edge or Edge(), options or BuildOptions(), report or Report()
    require_targets(flavour, options.targets)
    trt = flavour.load()
    log = messages(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        raise CganError(f"{_who(flavour, trt)} cannot take the graph: {_first_error(parser, log)}.")
    inputs, outputs = _signature(network)
    _require_contract(inputs, contract.inputs, edge)
    _require_contract(outputs, contract.outputs, edge)
    config = builder.create_builder_config()
    _configure(config, trt, flavour, options)
    if options.timing_cache is not None:
        timing_cache.use(config, options.timing_cache, report.note)
    shapes = tuple(
        _add_profile(builder.create_optimization_profile(), config, shapes_of(contract, p, edge), p)
        for p in profiles
    )
    monitor = build_progress(trt, report.show)
    config.progress_monitor = monitor
    built = builder.build_serialized_network(network, config)
    if monitor.stopped_by is not None:
        raise monitor.stopped_by
    if built is None:
        raise CganError(f"{_who(flavour, trt)} cannot build the engine: {log.last_error}.{_hint(options, flavour)}")
    if options.timing_cache is not None:
        timing_cache.keep(config, options.timing_cache, report.note)
    data = bytes(memoryview(built))
    plan = Plan(
        version=trt.__version__,
        targets=targets_of(data) if device is None else (device.target,),
        gpu="" if device is None else device.name,
        hardware=options.hardware,
        version_compatible=options.version_compatible,
        refittable=options.refit,
        byte_images=edge.byte_images,
        profiles=tuple(profiles),
    )
    return Built(data=data, plan=plan, inputs=inputs, outputs=outputs, shapes=shapes)


def require_targets(flavour: Flavour, targets: Sequence[str]) -> None:
    """Refuse compute capabilities that the installed version does not build for.

    Raises:
        UsageError: names the first, and those it builds for.
        CganError: it is not installed.
    """
    trt = flavour.load()
    known = [name.lower() for name in _capabilities(trt).__members__ if name.startswith("SM")] if targets else []
    for target in targets:
        if target not in known:
            raise UsageError(
                f"--target {target} is not known to {_who(flavour, trt)}; choose from {', '.join(known)}."
            )


def unsupported_operators(flavour: Flavour, names: Sequence[str]) -> set[str]:
    """Which ONNX operators the parser of the installed version has no importer for."""
    trt = flavour.load()
    log = messages(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, log)
    return {name for name in names if not parser.supports_operator(name)}


def _configure(config: Config, trt: TensorRT, flavour: Flavour, options: BuildOptions) -> None:
    def member(of: Members, name: str, option: str) -> Any:
        if name not in of.__members__:
            raise CganError(f"{_who(flavour, trt)} has no {name}; leave out {option}.")
        return of.__members__[name]

    if "DETAILED" in trt.ProfilingVerbosity.__members__:  # layers keep their names for the engine inspector
        config.profiling_verbosity = trt.ProfilingVerbosity.__members__["DETAILED"]
    if options.workspace is not None:
        config.set_memory_pool_limit(member(trt.MemoryPoolType, "WORKSPACE", "--workspace"), options.workspace)
    if options.version_compatible:
        config.set_flag(member(trt.BuilderFlag, "VERSION_COMPATIBLE", "--version-compatible"))
    if options.refit:
        config.set_flag(member(trt.BuilderFlag, "REFIT", "--refit"))
    if options.hardware != "none":
        level = member(trt.HardwareCompatibilityLevel, options.hardware.upper(), "--hardware-compatible")
        config.hardware_compatibility_level = level
    if options.targets:
        rtx = cast("RtxConfig", config)
        rtx.num_compute_capabilities = len(options.targets)
        for index, target in enumerate(options.targets):
            rtx.set_compute_capability(_capabilities(trt).__members__[target.upper()], index)


def _capabilities(trt: TensorRT) -> Members:
    """What TensorRT-RTX builds for; TensorRT has no such list."""
    return cast("Members", trt.ComputeCapability)  # type: ignore[attr-defined]  # of TensorRT-RTX only


def _add_profile(profile: OptimizationProfile, config: Config, shapes: Shapes, wanted: Profile) -> Shapes:
    """Add a profile; returns the shapes as TensorRT took them."""
    for name, (low, best, high) in shapes.items():
        profile.set_shape(name, low, best, high)
    if config.add_optimization_profile(profile) < 0:
        raise CganError(f"TensorRT refuses the profile for batches {wanted.batch.min} to {wanted.batch.max}.")
    held = {name: [tuple(shape) for shape in profile.get_shape(name)] for name in shapes}
    return {name: (low, best, high) for name, (low, best, high) in held.items()}


def _signature(network: Network) -> tuple[tuple[NetworkIo, ...], tuple[NetworkIo, ...]]:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    first, last = (
        tuple(NetworkIo(name=t.name, dtype=t.dtype.name, shape=tuple(t.shape)) for t in tensors)
        for tensors in (inputs, outputs)
    )
    return first, last


def _require_contract(seen: Sequence[NetworkIo], tensors: Sequence[Tensor], edge: Edge) -> None:
    wanted = [
        NetworkIo(
            name=tensor.name,
            dtype=edge.type_of(tensor),
            shape=(-1, *(axis if isinstance(axis, int) else -1 for axis in edge.axes_of(tensor))),
        )
        for tensor in tensors
    ]
    for ours, theirs in zip(wanted, seen, strict=False):
        if ours != theirs:
            raise CheckFailedError(
                f"TensorRT reads {theirs.name} as {theirs.dtype} {list(theirs.shape)}, the contract says "
                f"{ours.name}, {ours.dtype} {list(ours.shape)}; export the checkpoint again."
            )
    if len(wanted) != len(seen):
        raise CheckFailedError(
            f"TensorRT reads the tensors {[t.name for t in seen]}, the contract says {[t.name for t in wanted]}; "
            "export the checkpoint again."
        )


def _strongly_typed(trt: TensorRT) -> int:
    """The flag of TensorRT 10; later versions have no other networks, and may drop it."""
    flag = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    return 0 if flag is None else 1 << int(flag)


def _first_error(parser: Parser, log: Messages) -> str:
    if not parser.num_errors:
        return log.last_error
    error = parser.get_error(0)
    node = f"node {error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
    return f"{node}{plain_words(error.desc())}"


def _hint(options: BuildOptions, flavour: Flavour) -> str:
    if options.refit and not flavour.needs_gpu:
        return (
            f" {flavour.name} builds an engine with --refit only where a GPU is: leave it out, or build it there."
        )
    return ""


def _who(flavour: Flavour, trt: TensorRT) -> str:
    return f"{flavour.name} {trt.__version__}"
