"""What the supervisor tells the gateway: once how to serve, then what is served and where the engine is.

The supervisor writes one JSON line per message to the gateway's standard input, a `Command`; the gateway writes one
JSON line per message to its standard output, an `Event`: `listening` once, then `done` after every later command,
with the number that the command had. The end of the standard input tells the gateway to answer what it accepted and
to end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cgan_runtime.contract import Contract, Value
from cgan_runtime.serving.signature import ModelKind
from cgan_runtime.serving.traces import Traces

__all__ = ["Command", "Engine", "Event", "GatewaySettings", "Limits", "Route"]

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Limits(Value):
    """What a request may cost. Whatever exceeds a limit is refused before it is worked on.

    Attributes:
        body_bytes: of a request, as it was sent and after it was inflated.
        json_bytes: of a request's JSON, without the binary data that follows it.
        tensors: inputs and requested outputs of a request.
        pixels: of all image files of a request, as their headers say.
        seconds: from the arrival of a request to its answer; a request that cannot be answered in time is refused.
        read_seconds: for a request to arrive, and for an answer to be taken.
        idle_seconds: for a connection, or a stream of gRPC, without a request.
        waiting: requests that wait for the engine.
        memory_bytes: of all requests, from the first byte of each to its answer, in part estimated; a quarter of
            it is for what arrives and waits, so it is at least four times `body_bytes`.
        connections: open at once, over HTTP.
    """

    body_bytes: Count = 64 * 2**20
    json_bytes: Count = 16 * 2**20
    tensors: Count = 64
    pixels: Count = 64_000_000
    seconds: Seconds = 30.0
    read_seconds: Seconds = 30.0
    idle_seconds: Seconds = 75.0
    waiting: Count = 256
    memory_bytes: Count = 2 * 2**30
    connections: Count = 1024


class GatewaySettings(Value):
    """How the gateway serves; fixed while its process runs.

    Attributes:
        host: address to bind.
        http_port: for HTTP.
        grpc_port: for gRPC.
        metrics_port: for Prometheus, over HTTP.
        limits: of requests.
        drain_seconds: longest wait for accepted requests when the gateway ends.
        api_keys: file with one key per line; every caller needs one of them. None: nobody needs one.
        tls_certificate: PEM file of the chain, for HTTP and gRPC; None: no TLS.
        tls_key: PEM file of its private key.
        traces: where OpenTelemetry spans go; None: there are none.
    """

    host: str
    http_port: Port
    grpc_port: Port
    metrics_port: Port
    limits: Limits = Limits()
    drain_seconds: Seconds = 10.0
    api_keys: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    traces: Traces | None = None


class Route(Value):
    """One bundle as it is served now.

    Attributes:
        name: of the bundle; clients call NAME, NAME_png and NAME_core.
        version: 1, 2, ... in the order in which bundles were published under this name.
        contract: of the generator.
        model_digest: which model it is.
        bundle_digest: which files it is.
        artifact: what is executed, as "onnxruntime/fp32".
        runtime: what executes it, as "onnxruntime 1.32.0".
        max_batch: rows that one request may have.
        models: the name inside Triton of each kind of model that there is.
    """

    name: str
    version: Count
    contract: Contract
    model_digest: str
    bundle_digest: str
    artifact: str
    runtime: str
    max_batch: Count
    models: dict[ModelKind, str]


class Engine(Value):
    """A Triton that is ready.

    Attributes:
        epoch: grows with every start, so that the gateway sees that it is another one.
        http: its private address for HTTP, "127.0.0.1:PORT".
        grpc: its private address for gRPC.
        metrics: the address of its own metrics page, "127.0.0.1:PORT".
    """

    epoch: Count
    http: str
    grpc: str
    metrics: str


class Command(Value):
    """One message of the supervisor. The first one has `settings`, the others any of the rest.

    Attributes:
        number: repeated in the event that says it was done.
        settings: only of the first.
        routes: everything that is served from now on; requests that were accepted before go where they were sent.
        engine: where Triton is now.
        down: there is no Triton until the next `engine`; accepted requests wait for it, within their time.
    """

    number: int
    settings: GatewaySettings | None = None
    routes: tuple[Route, ...] | None = None
    engine: Engine | None = None
    down: bool = False


class Event(Value):
    """One message of the gateway.

    Attributes:
        listening: both ports accept connections.
        done: number of the command that has taken effect.
        idle: names inside Triton that no route names any more and no accepted request uses; they may be unloaded.
        suspect: a model did not answer: its name inside Triton, and the epoch of the engine.
        failed: why the gateway ends, as one sentence.
    """

    listening: bool = False
    done: int | None = None
    idle: tuple[str, ...] = ()
    suspect: tuple[str, int] | None = None
    failed: str | None = None
