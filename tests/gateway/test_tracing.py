"""Traces through the gateway to Triton, as a collector gets them."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import logging
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway import logs
from cgan_runtime.gateway.settings import Engine
from cgan_runtime.gateway.tracing import Tracing
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.traces import Traces, traces_wanted
from cgan_runtime.supervision.supervisor import Supervisor
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.collector import Collector, Span
from tests.gateway.gateway_process import GatewayProcess
from tests.helpers import free_ports, png, smooth_images
from tests.supervision.clients import settings_of_a_test

SECRET_SEED = 1234567890123
IMAGE = png(smooth_images(1, seed=5)[0])
SERVER_NAMES = {"http": "POST /v2/models/{model}/infer", "grpc": "inference.GRPCInferenceService/ModelInfer"}


def trace_of(number: int, *, sampled: bool = True) -> tuple[str, str, str]:
    """Its id, the span of the caller, and the header of both."""
    trace_id, span_id = f"{number:032x}", f"{number:016x}"
    return trace_id, span_id, f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def body() -> bytes:
    text = base64.b64encode(IMAGE).decode()
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": [text]}
    seed = {"name": "seed", "datatype": "UINT64", "shape": [1, 1], "data": [SECRET_SEED]}
    return json.dumps({"inputs": [image, seed]}).encode()


def message() -> bytes:
    found = pb.ModelInferRequest(model_name="facades_png")
    found.inputs.add(name="image", datatype="BYTES", shape=[1, 1])
    found.inputs.add(name="seed", datatype="UINT64", shape=[1, 1])
    found.raw_input_contents.extend([len(IMAGE).to_bytes(4, "little") + IMAGE, SECRET_SEED.to_bytes(8, "little")])
    return bytes(found.SerializeToString())


def ask_http(port: int, header: str, data: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v2/models/facades_png/infer", data or body(), {"traceparent": header})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def ask_grpc(url: str, header: str, stream: bool = False) -> None:
    metadata = (("traceparent", header),)
    with grpc.insecure_channel(url) as channel:
        service = "/inference.GRPCInferenceService/"
        if stream:
            many: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{service}ModelStreamInfer")
            assert len(list(many(iter([message()] * 2), metadata=metadata, timeout=60))) == 2
        else:
            one: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{service}ModelInfer")
            one(message(), metadata=metadata, timeout=60)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(bundle: Bundle, server_environment: ServerEnvironment, collector: Collector) -> Iterator[Supervisor]:
    """The whole server, as `cgan-serve` starts it in such an environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        settings = settings_of_a_test().model_copy(update={"traces": traces_wanted(os.environ)})
        with Supervisor([bundle], server_environment, settings) as running:
            yield running


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def complete(spans: list[Span]) -> bool:
    return {"queue", "engine", "InferRequest", "compute"} <= {span.name for span in spans}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_one_trace_goes_from_the_caller_to_the_model(
    traced: Supervisor, collector: Collector, bundle: Bundle, protocol: str
) -> None:
    trace_id, caller, header = trace_of({"http": 10, "grpc": 20}[protocol])
    if protocol == "http":
        assert ask_http(traced.settings.http_port, header) == 200
    else:
        ask_grpc(traced.grpc_url, header)
    server = SERVER_NAMES[protocol]
    spans = by_name(collector.of_trace(trace_id, lambda found: complete(found) and server in by_name(found)))
    assert {name: by_id(spans.values(), span.parent) for name, span in spans.items()} == {
        server: caller,
        "queue": server,
        "engine": server,
        "InferRequest": "engine",  # from here on by Triton itself
        "facades_png": "InferRequest",
        "compute": "facades_png",
    }
    assert (spans[server].kind, spans["engine"].kind) == ("SPAN_KIND_SERVER", "SPAN_KIND_CLIENT")
    assert {span.service for span in spans.values()} == {"cgan-serve", "cgan-serve-triton"}
    told = spans[server].attributes
    assert told["cgan.model"] == "facades_png"
    assert told["cgan.model_digest"] == bundle.model_digest
    assert (told["cgan.rows"], told["cgan.version"]) == ("1", "1")
    if protocol == "http":
        assert told["http.response.status_code"] == "200"
        assert (told["http.request.method"], told["http.route"]) == ("POST", "/v2/models/{model}/infer")
    else:
        assert told["rpc.response.status_code"] == "OK"
        assert (told["rpc.system.name"], told["rpc.method"]) == ("grpc", server)


def by_id(spans: Iterable[Span], span_id: str) -> str:
    """The name of a span, or the id of one that is not ours."""
    return next((span.name for span in spans if span.span_id == span_id), span_id)


def test_every_request_of_a_stream_has_spans_of_its_own(traced: Supervisor, collector: Collector) -> None:
    trace_id, caller, header = trace_of(30)
    ask_grpc(traced.grpc_url, header, stream=True)
    stream = "inference.GRPCInferenceService/ModelStreamInfer"
    spans = collector.of_trace(
        trace_id, lambda found: sum(span.name == "compute" for span in found) == 2 and stream in by_name(found)
    )
    assert by_name(spans)[stream].parent == caller
    requests = {span.span_id for span in spans if span.name == "request of a stream"}
    assert len(requests) == 2
    assert {span.parent for span in spans if span.span_id in requests} == {by_name(spans)[stream].span_id}
    assert {span.parent for span in spans if span.name in ("queue", "engine")} == requests


def test_a_refusal_is_told_by_its_code_and_reason(traced: Supervisor, collector: Collector) -> None:
    trace_id, _, header = trace_of(40)
    assert ask_http(traced.settings.http_port, header, b'{"inputs": "my secret words"}') == 400
    (span,) = collector.of_trace(trace_id, bool)
    assert (span.attributes["http.response.status_code"], span.attributes["cgan.refused"]) == ("400", "invalid")
    assert span.status == ""  # the caller's fault is none of the server's


def test_a_refusal_over_grpc_is_told_by_its_code_too(traced: Supervisor, collector: Collector) -> None:
    trace_id, _, header = trace_of(45)
    with grpc.insecure_channel(traced.grpc_url) as channel, pytest.raises(grpc.RpcError):
        one: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVER_NAMES['grpc']}")
        one(b"no message", metadata=(("traceparent", header),), timeout=60)
    (span,) = collector.of_trace(trace_id, bool)
    told = span.attributes
    assert (told["rpc.response.status_code"], told["cgan.refused"]) == ("INVALID_ARGUMENT", "invalid")


def test_nothing_of_what_was_sent_or_answered_is_in_a_span(traced: Supervisor, collector: Collector) -> None:
    trace_id, _, header = trace_of(50)
    assert ask_http(traced.settings.http_port, header) == 200
    collector.of_trace(trace_id, complete)
    everything = b"".join(collector.bodies)
    for secret in (
        str(SECRET_SEED).encode(),
        b"my secret words",
        IMAGE[:40],
        base64.b64encode(IMAGE)[:40],
        b"iVBOR",
    ):
        assert secret not in everything
    assert SECRET_SEED.to_bytes(8, "little") not in everything


def test_who_does_not_sample_has_no_spans_and_probes_have_none(traced: Supervisor, collector: Collector) -> None:
    _, _, header = trace_of(60, sampled=False)
    before = len(collector.spans)
    assert ask_http(traced.settings.http_port, header) == 200
    request = urllib.request.Request(f"{traced.http_url}/v2/health/ready", headers={"traceparent": trace_of(61)[2]})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    last, _, header = trace_of(62)
    assert ask_http(traced.settings.http_port, header) == 200
    collector.of_trace(last, complete)  # what came before would have been sent with it
    assert {span.trace_id for span in collector.spans[before:]} == {last}


def test_headers_for_the_collector_go_with_the_spans_of_both(traced: Supervisor, collector: Collector) -> None:
    trace_id, _, header = trace_of(70)
    assert ask_http(traced.settings.http_port, header) == 200
    collector.of_trace(trace_id, complete)
    assert {found.get("x-tenant") for found in collector.headers} == {"shop"}
    assert len({found["User-Agent"].split("/")[0] for found in collector.headers}) == 2


def test_lines_of_the_log_name_their_trace(traced: Supervisor) -> None:
    trace_id, _, header = trace_of(80)
    assert ask_http(traced.settings.http_port, header) == 200
    deadline = time.monotonic() + 20
    while trace_id not in (text := traced.log_path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (line,) = re.findall(r"gateway: (\{.*\})", "\n".join(one for one in text.splitlines() if trace_id in one))
    told = json.loads(line)
    assert (told["trace_id"], told["status"]) == (trace_id, 200)
    assert re.fullmatch(r"[0-9a-f]{16}", told["span_id"])


@pytest.fixture
def beside(traced: Supervisor, tmp_path: Path) -> Iterator[Callable[[str], GatewayProcess]]:
    """Start another gateway before the same Triton, which sends its spans to an address."""
    with ExitStack() as started:

        def start(url: str) -> GatewayProcess:
            traces = Traces(url=f"{url}/v1/traces")
            gateway = started.enter_context(GatewayProcess(free_ports(), tmp_path / "log", traces=traces))
            triton = traced.engine.process
            assert triton is not None
            gateway.tell(routes=tuple(release.route(traced.environment) for release in traced.catalogue.served))
            named = {name.lower(): f"127.0.0.1:{port}" for name, port in triton.ports.named.items()}
            gateway.tell(engine=Engine(epoch=1, **named))
            return gateway

        yield start


@pytest.mark.parametrize(("sampler", "kept"), [("always_off", False), ("always_on", True)])
def test_the_sampler_is_that_of_the_environment_and_the_end_sends_what_is_left(
    beside: Callable[[str], GatewayProcess],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    kept: bool,
) -> None:
    """The caller asks for the opposite."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    gateway = beside(collector.url)
    trace_id, _, header = trace_of(90 + kept, sampled=not kept)
    assert ask_http(gateway.settings.http_port, header) == 200
    assert not [span for span in collector.spans if span.trace_id == trace_id]
    assert gateway.stop() == 0
    found = {span.name for span in collector.spans if span.trace_id == trace_id}
    assert found >= {SERVER_NAMES["http"], "queue", "engine"} if kept else not found


def test_a_collector_that_is_away_disturbs_nobody(beside: Callable[[str], GatewayProcess]) -> None:
    gateway = beside(f"http://127.0.0.1:{free_ports().http}")
    for number in range(20):
        assert ask_http(gateway.settings.http_port, trace_of(100 + number)[2]) == 200
    began = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - began < gateway.settings.drain_seconds


def test_the_span_of_the_queue_ends_when_the_slot_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")  # spans that nobody gets
    tracing, seen = Tracing(Traces(url="http://127.0.0.1:9/v1/traces")), list[tuple[str, bool]]()

    @asynccontextmanager
    async def slot() -> AsyncIterator[None]:
        seen.append(("entered", bool(tracing.ids())))
        yield
        seen.append(("left", bool(tracing.ids())))

    async def go() -> None:
        async with tracing.queued(slot()):
            seen.append(("inside", bool(tracing.ids())))
        await tracing.close()

    asyncio.run(go())
    assert seen == [("entered", True), ("inside", False), ("left", False)]


def test_without_it_nothing_of_opentelemetry_is_imported() -> None:
    code = (
        "import sys, cgan_runtime.gateway.__main__, cgan_runtime.supervision.supervisor, cgan_runtime.cli.serve; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_line_names_the_trace_of_its_moment_although_it_is_written_later() -> None:
    trace = {"trace_id": "7"}
    record = logging.LogRecord("x", logging.INFO, "", 0, "said", None, None)
    assert "trace_id" not in json.loads(logs._JsonLines().format(record))
    logs._Named(lambda: dict(trace)).filter(record)
    trace["trace_id"] = "8"
    assert json.loads(logs._JsonLines().format(record))["trace_id"] == "7"
