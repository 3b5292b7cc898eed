"""cgan-serve: bundles on the real Triton Inference Server, on this machine, without Docker."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

from cyclopts import Parameter, validators

from cgan_runtime.cli.serve_control import publish, rollback, status
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import BadInputError, CganError, UsageError

if TYPE_CHECKING:
    from cgan_runtime.bundle import Bundle
    from cgan_runtime.gateway.settings import GatewaySettings, Limits
    from cgan_runtime.serving.environment import ServerEnvironment
    from cgan_runtime.serving.repository import RepositoryOptions

__all__ = ["main"]

DEFAULT_MAX_BATCH: Final = 8

MIB: Final = 2**20

command = app("cgan-serve")
for subcommand in (publish, rollback, status):
    command.command(subcommand)

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
    precision: Literal["fp32", "fp16", "bf16", "int8"] | None = None,
    min_psnr: float | None = None,
    device: str | None = None,
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    drain_seconds: Positive = 10,
    bare: bool = False,
    deadline: Annotated[float | None, Parameter(validator=validators.Number(gt=0, lte=3600))] = None,
    max_body: Positive | None = None,
    max_pixels: Positive | None = None,
    max_waiting: Positive | None = None,
    max_memory: Positive | None = None,
    api_keys: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
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
        cgan-serve publish facades-new
        cgan-serve facades --triton-repo repository
        cgan-serve facades --triton-repo repository --target ngc --container 26.07

    Args:
        bundles: Bundles written by cgan-export.
        host: Address to bind, 127.0.0.1 unless given. Anyone who reaches the address can use the models.
        http_port: Port for HTTP. [default: 8000]
        grpc_port: Port for gRPC. [default: 8001]
        metrics_port: Port for Prometheus metrics. [default: 8002]
        max_batch: Most rows that one execution holds. [default: 8; of a TensorRT plan what its profiles take]
        backend: Which artifact of the bundles to serve: onnxruntime, openvino, tensorrt, tensorrt_rtx; or auto, the
            fastest of this CPU that keeps --min-psnr, of one bundle. [default: onnxruntime; with --target ngc
            tensorrt]
        precision: Which precision of it. [default: fp32; of TensorRT plans for --target ngc fp16]
        min_psnr: With --backend auto, the least PSNR to PyTorch in dB. [default: 45]
        device: cpu, cuda or cuda:N; for ONNX Runtime also tensorrt, tensorrt:N. [default: the backend's choice]
        threads: CPU threads. [default: the backend chooses]
        drain_seconds: Longest wait for requests in flight when stopping. [default: 10]
        bare: Triton itself on the ports, for measuring: no limits, no keys, and nothing is started again.
        deadline: Longest time from the arrival of a request to its answer, in seconds. [default: 30]
        max_body: Largest request, in MiB. [default: 64]
        max_pixels: Most pixels of all image files of a request. [default: 64000000]
        max_waiting: Most requests that wait; others are told to come back. [default: 256]
        max_memory: Most memory for requests under way, in MiB; at least four times --max-body. [default: 2048]
        api_keys: File with one key per line; callers then need "Authorization: Bearer KEY".
        tls_cert: Certificate chain (PEM), for HTTPS and gRPC; needs --tls-key.
        tls_key: Its private key (PEM).
        triton_repo: Only write the model repository to this new folder and stop.
        target: What the repository is for: a server like ours, on CPUs, or NVIDIA's container (ngc), on GPUs.
        container: With --target ngc: the release that will serve, such as 26.07. A plan for another is refused.
        instances: With --target ngc: engines on each GPU. [default: 1]
        noise: With --target ngc: where noise is drawn, with the same seeds. [default: host]
        accelerator: With --target ngc and --backend onnxruntime: what runs the ONNX file. [default: cuda]
        require_signature: A public key (PEM); only bundles signed with its private key are served.
        setup: Only make the server's own Python environment, for BACKEND, and stop.
        verbose: Print the log as it is written; without --bare it is kept in any case.
    """
    from cgan_runtime.bundle import DEFAULT_BACKEND, read_bundle
    from cgan_runtime.choosing import AUTO, resolve_artifact
    from cgan_runtime.cli.serve_repository import gpu_number, write_for_container, write_only
    from cgan_runtime.cli.serve_until import serve_until_stopped
    from cgan_runtime.gateway.settings import GatewaySettings, Limits
    from cgan_runtime.serving.environment import find_environment, make_environment
    from cgan_runtime.serving.ports import Ports
    from cgan_runtime.serving.repository import RepositoryOptions
    from cgan_runtime.serving.server import ServerOptions, TritonServer
    from cgan_runtime.serving.traces import traces_wanted

    if setup:
        print(make_environment(say=_say, backend=backend or DEFAULT_BACKEND).root)
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
        if backend == AUTO or min_psnr is not None:
            raise UsageError("--backend auto is for the CPU of this machine; name a backend with --target ngc.")
        if threads:
            raise UsageError("--threads is for engines on the CPU; leave it out with --target ngc.")
        from cgan_runtime.serving.containers import find_container
        from cgan_runtime.serving.gpu_plans import GpuOptions

        there = GpuOptions(
            backend=backend or "tensorrt",
            precision=precision,
            max_batch=max_batch,
            instances=instances or 1,
            gpu=gpu_number(device),
            container=None if container is None else find_container(container),
            noise=noise or "host",
            accelerator=accelerator or "cuda",
        )
        write_for_container(triton_repo, read, there, host, ports, _say)
        return 0
    if backend == AUTO and len(read) > 1:
        raise UsageError("--backend auto chooses for one bundle; name the backend, or serve each by itself.")
    backend, rounding = resolve_artifact(
        read[0], backend, precision, min_psnr_db=min_psnr, device=device, threads=threads, say=_say
    )
    models = RepositoryOptions(
        max_batch=max_batch or DEFAULT_MAX_BATCH,
        threads=threads,
        precision=rounding,
        backend=backend,
        device=device,
    )
    if triton_repo is not None:
        write_only(triton_repo, read, models, _say)
        return 0
    limits = {
        "seconds": deadline,
        "body_bytes": max_body and max_body * MIB,
        "pixels": max_pixels,
        "waiting": max_waiting,
        "memory_bytes": max_memory and max_memory * MIB,
    }
    rules = {name: value for name, value in limits.items() if value is not None}
    files = _checked({"api_keys": api_keys, "tls_certificate": tls_cert, "tls_key": tls_key})
    if bare and (rules or files):
        raise UsageError("limits, keys and TLS are those of the gateway; leave them out with --bare.")
    if not bare:
        _require_gateway()
    environment = find_environment(backend=models.backend) or make_environment(say=_say, backend=models.backend)
    if bare:
        options = ServerOptions(host=host, ports=ports, drain_seconds=drain_seconds, repository=models)
        alone = TritonServer(read, environment, options, say=_echo if verbose else _ignore)
        return serve_until_stopped(alone, read, _say, "Triton alone: no limits, no keys, nothing is started again")
    settings = GatewaySettings(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        limits=_possible(Limits.model_validate(rules)),
        drain_seconds=drain_seconds,
        traces=traces_wanted(os.environ),
        **files,
    )
    echo = _echo if verbose else None
    return _behind_gateway(read, environment, settings, models, require_signature=require_signature, echo=echo)


def _behind_gateway(
    bundles: list[Bundle],
    environment: ServerEnvironment,
    settings: GatewaySettings,
    models: RepositoryOptions,
    *,
    require_signature: Path | None,
    echo: Callable[[str], object] | None,
) -> int:
    from cgan_runtime.cli.serve_until import serve_until_stopped
    from cgan_runtime.supervision.control import control_socket
    from cgan_runtime.supervision.publishing import Publisher
    from cgan_runtime.supervision.supervisor import Supervisor

    server = Supervisor(bundles, environment, settings, models=models, say=_say, echo=echo)
    publisher = Publisher(server, require_signature=require_signature)
    return serve_until_stopped(
        server,
        bundles,
        _say,
        _told(settings),
        lambda: control_socket(server, publisher),
        key=settings.api_keys is not None,
    )


def _checked(files: Mapping[str, Path | None]) -> dict[str, Path]:
    """Files for the gateway that are there, as absolute paths."""
    given = {name: path.resolve() for name, path in files.items() if path is not None}
    for path in given.values():
        if not path.is_file():
            raise BadInputError(f"{path} is not a file; --api-keys, --tls-cert and --tls-key each need one.")
    if len({"tls_certificate", "tls_key"} & set(given)) == 1:
        raise UsageError("TLS needs a certificate and its key: give both --tls-cert and --tls-key.")
    return given


def _require_gateway() -> None:
    for package in ("aiohttp", "grpc", "prometheus_client", "tritonclient"):
        if importlib.util.find_spec(package) is None:
            raise CganError(f'{package} is not installed; run: pip install "cgan-deploy[serve]"')


def _possible(limits: Limits) -> Limits:
    from cgan_runtime.gateway.memory import WAITING_SHARE

    if limits.memory_bytes < WAITING_SHARE * limits.body_bytes:
        raise UsageError(
            f"--max-memory {limits.memory_bytes // MIB} has no room for a request of --max-body "
            f"{limits.body_bytes // MIB}; it must be at least {WAITING_SHARE} times as large."
        )
    return limits


def _told(settings: GatewaySettings) -> str:
    limits = settings.limits
    return (
        f"a request may take {limits.seconds:g} s, {limits.body_bytes // MIB} MiB and {limits.pixels:,} pixels; "
        f"{limits.waiting} may wait, in {limits.memory_bytes // MIB} MiB; "
        f"{'with' if settings.api_keys else 'no'} API keys, {'with' if settings.tls_certificate else 'no'} TLS"
        f"{'' if settings.traces is None else f'; traces go to {settings.traces.url}'}"
    )


def _say(text: str) -> None:
    print(f"cgan-serve: {text}", file=sys.stderr, flush=True)


def _echo(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _ignore(_: str) -> None:
    """What Triton writes is not shown."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-serve; `argv` are its words, those of the process by default."""
    run(command, argv)
