"""cgan-serve: bundles on the real Triton Inference Server, on this machine, without Docker."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

from cyclopts import Parameter, validators

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, UsageError

if TYPE_CHECKING:
    from cgan_runtime.bundle import Bundle
    from cgan_runtime.serving.gpu_plans import GpuOptions
    from cgan_runtime.serving.ports import Ports
    from cgan_runtime.serving.repository import RepositoryOptions

__all__ = ["main"]

DEFAULT_MAX_BATCH: Final = 8

command = app("cgan-serve")

Port = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))]
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]


@command.default
def serve(
    *bundles: Path,
    host: str = "127.0.0.1",
    http_port: Port = 8000,
    grpc_port: Port = 8001,
    metrics_port: Port = 8002,
    max_batch: Positive | None = None,
    backend: str | None = None,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
    device: str | None = None,
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    drain_seconds: Positive = 10,
    triton_repo: Path | None = None,
    target: Literal["embedded", "ngc"] = "embedded",
    container: str | None = None,
    instances: Positive | None = None,
    noise: Literal["host", "device"] | None = None,
    accelerator: Literal["cuda", "tensorrt"] | None = None,
    require_signature: Path | None = None,
    setup: bool = False,
    verbose: bool = False,
) -> int:
    """Serve until Ctrl-C or SIGTERM, then let requests in flight end and stop.

    Each bundle NAME gives up to three models.

    NAME takes tensors and a seed.

    NAME_png takes files, labels and a seed.
    It exists where an image goes in or comes out.

    NAME_core is the engine itself; it takes the noise too.

    For example:

        cgan-serve facades
        cgan-serve facades maps --http-port 9000
        cgan-serve facades --triton-repo repository
        cgan-serve facades --triton-repo repository --target ngc --container 26.07

    Args:
        bundles: Bundles written by cgan-export.
        host: Address to bind, 127.0.0.1 unless given. Anyone who reaches the address can use the models.
        http_port: Port for HTTP. [default: 8000]
        grpc_port: Port for gRPC. [default: 8001]
        metrics_port: Port for Prometheus metrics. [default: 8002]
        max_batch: Most rows that one execution holds. [default: 8; of a TensorRT plan what its profiles take]
        backend: Which artifact of the bundles to serve. [default: onnxruntime; with --target ngc tensorrt]
        precision: Which precision of it. [default: fp32; of TensorRT plans for --target ngc fp16]
        device: cpu, cuda or cuda:N; for ONNX Runtime also tensorrt, tensorrt:N. [default: the backend's choice]
        threads: CPU threads. [default: the backend chooses]
        drain_seconds: Longest wait for requests in flight and idle clients when stopping. [default: 10]
        triton_repo: Only write the model repository to this new folder and stop.
        target: What the repository is for: a server like ours, on CPUs, or NVIDIA's container (ngc), on GPUs.
        container: With --target ngc: the release that will serve, such as 26.07. A plan for another is refused.
        instances: With --target ngc: engines on each GPU. [default: 1]
        noise: With --target ngc: where noise is drawn, with the same seeds. [default: host]
        accelerator: With --target ngc and --backend onnxruntime: what runs the ONNX file. [default: cuda]
        require_signature: A public key (PEM); only bundles signed with its private key are served.
        setup: Only make the server's own Python environment and stop.
        verbose: Show Triton's log when the server stops.
    """
    from cgan_runtime.bundle import DEFAULT_BACKEND, DEFAULT_PRECISION, read_bundle
    from cgan_runtime.serving.environment import find_environment, make_environment
    from cgan_runtime.serving.examples import ready_text
    from cgan_runtime.serving.ports import Ports
    from cgan_runtime.serving.repository import RepositoryOptions
    from cgan_runtime.serving.server import ServerOptions, TritonServer

    if setup:
        print(make_environment(say=_say).root)
        return 0
    if not bundles:
        raise UsageError("a bundle is needed, as written by cgan-export; for example: cgan-serve facades")
    only_there = {"container": container, "instances": instances, "noise": noise, "accelerator": accelerator}
    if target != "ngc" and (given := [f"--{name}" for name, value in only_there.items() if value is not None]):
        raise UsageError(f"{', '.join(given)} needs --target ngc.")
    read = [read_bundle(path, require_signature=require_signature) for path in bundles]
    ports = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
    if target == "ngc":
        if triton_repo is None:
            raise UsageError("--target ngc writes a repository for a container; say where with --triton-repo DIR.")
        if threads:
            raise UsageError("--threads is for engines on the CPU; leave it out with --target ngc.")
        from cgan_runtime.serving.containers import find_container
        from cgan_runtime.serving.gpu_plans import GpuOptions

        there = GpuOptions(
            backend=backend or "tensorrt",
            precision=precision,
            max_batch=max_batch,
            instances=instances or 1,
            gpu=_gpu(device),
            container=None if container is None else find_container(container),
            noise=noise or "host",
            accelerator=accelerator or "cuda",
        )
        _write_for_container(triton_repo, read, there, host, ports)
        return 0
    models = RepositoryOptions(
        max_batch=max_batch or DEFAULT_MAX_BATCH,
        threads=threads,
        precision=precision or DEFAULT_PRECISION,
        backend=backend or DEFAULT_BACKEND,
        device=device,
    )
    if triton_repo is not None:
        _write_only(triton_repo, read, models)
        return 0
    environment = find_environment() or make_environment(say=_say)
    options = ServerOptions(
        host=host,
        ports=ports,
        drain_seconds=drain_seconds,
        repository=models,
    )
    server = TritonServer(read, environment, options)
    signal.signal(signal.SIGTERM, _end)
    try:
        _say(f"starting Triton with {', '.join(str(path) for path in bundles)}")
        server.start()
        print(ready_text(server, read), flush=True)
        status = server.wait()
        raise CganError(f"tritonserver ended by itself with status {status}; --verbose shows its log.")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # stopping is under way: once is enough
            signal.signal(number, signal.SIG_IGN)
        if server.models:
            _say("stopping; requests in flight are answered first")
        if verbose:
            print(server.log, file=sys.stderr)
        server.stop()


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)


def _write_only(target: Path, bundles: list[Bundle], options: RepositoryOptions) -> None:
    from cgan_runtime.serving.environment import MODEL_PACKAGES
    from cgan_runtime.serving.repository import require_distinct_models, write_repository

    require_distinct_models(bundles)
    models = _write(target, lambda root: [n for bundle in bundles for n in write_repository(root, bundle, options)])
    print(f"wrote {target} with {', '.join(models)}")
    _say(f"the server's Python needs: {' '.join(MODEL_PACKAGES)}")


def _write_for_container(target: Path, bundles: list[Bundle], options: GpuOptions, host: str, ports: Ports) -> None:
    from cgan_runtime.serving.container_run import plan_run
    from cgan_runtime.serving.repository import require_distinct_models

    require_distinct_models(bundles)
    run = plan_run(bundles, options, host=host, ports=ports)
    models = _write(target, run.write)
    for note in run.notes:
        _say(note)
    print(f"wrote {target} with {', '.join(models)}\n{run.text(target)}")


def _write(target: Path, write: Callable[[Path], Sequence[str]]) -> Sequence[str]:
    """Let the repository be written to a new folder, which appears whole or not at all."""
    from cgan_runtime.atomic import atomic_folder
    from cgan_runtime.claims import claim

    if target.exists():
        raise UsageError(f"{target} exists already; choose another folder for --triton-repo.")
    with claim(target), atomic_folder(target) as root:
        return write(root)


def _gpu(device: str | None) -> int | None:
    """The number of a GPU in the container; None for all of them."""
    kind, _, number = (device or "cuda").partition(":")
    if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
        raise UsageError(f"the container has no device {device!r} for --target ngc; give cuda or cuda:N.")
    return int(number) if number else None


def _say(text: str) -> None:
    print(f"cgan-serve: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-serve; `argv` are its words, those of the process by default."""
    run(command, argv)
