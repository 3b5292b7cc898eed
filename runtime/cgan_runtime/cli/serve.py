"""cgan-serve: bundles on the real Triton Inference Server, on this machine, without Docker."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cyclopts import Parameter, validators

from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, UsageError

if TYPE_CHECKING:
    from cgan_runtime.bundle import Bundle
    from cgan_runtime.serving.repository import RepositoryOptions

__all__ = ["main"]

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
    max_batch: Positive = 8,
    backend: str = "onnxruntime",
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    device: str | None = None,
    threads: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    drain_seconds: Positive = 10,
    triton_repo: Path | None = None,
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

    Args:
        bundles: Bundles written by cgan-export.
        host: Address to bind, 127.0.0.1 unless given. Anyone who reaches the address can use the models.
        http_port: Port for HTTP. [default: 8000]
        grpc_port: Port for gRPC. [default: 8001]
        metrics_port: Port for Prometheus metrics. [default: 8002]
        max_batch: Most rows that one execution holds. [default: 8]
        backend: Which artifact of the bundles to serve. [default: onnxruntime]
        precision: Which precision of it. [default: fp32]
        device: cpu, cuda or cuda:N; for ONNX Runtime also tensorrt, tensorrt:N. [default: the backend's choice]
        threads: CPU threads. [default: the backend chooses]
        drain_seconds: Longest wait for requests in flight and idle clients when stopping. [default: 10]
        triton_repo: Only write the model repository to this new folder and stop.
        require_signature: A public key (PEM); only bundles signed with its private key are served.
        setup: Only make the server's own Python environment and stop.
        verbose: Show Triton's log when the server stops.
    """
    from cgan_runtime.bundle import read_bundle
    from cgan_runtime.serving.environment import find_environment, make_environment
    from cgan_runtime.serving.examples import ready_text
    from cgan_runtime.serving.repository import RepositoryOptions
    from cgan_runtime.serving.server import Ports, ServerOptions, TritonServer

    if setup:
        print(make_environment(say=_say).root)
        return 0
    if not bundles:
        raise UsageError("a bundle is needed, as written by cgan-export; for example: cgan-serve facades")
    read = [read_bundle(path, require_signature=require_signature) for path in bundles]
    models = RepositoryOptions(
        max_batch=max_batch, threads=threads, precision=precision, backend=backend, device=device
    )
    if triton_repo is not None:
        _write_only(triton_repo, read, models)
        return 0
    environment = find_environment() or make_environment(say=_say)
    options = ServerOptions(
        host=host,
        ports=Ports(http=http_port, grpc=grpc_port, metrics=metrics_port),
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
    from cgan_runtime.atomic import atomic_folder
    from cgan_runtime.claims import claim
    from cgan_runtime.serving.environment import MODEL_PACKAGES
    from cgan_runtime.serving.repository import require_distinct_models, write_repository

    if target.exists():
        raise UsageError(f"{target} exists already; choose another folder for --triton-repo.")
    require_distinct_models(bundles)
    with claim(target), atomic_folder(target) as root:
        models = [name for bundle in bundles for name in write_repository(root, bundle, options)]
    print(f"wrote {target} with {', '.join(models)}")
    _say(f"the server's Python needs: {' '.join(MODEL_PACKAGES)}")


def _say(text: str) -> None:
    print(f"cgan-serve: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-serve; `argv` are its words, those of the process by default."""
    run(command, argv)
