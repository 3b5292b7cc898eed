"""The two ways to a server, as coroutines: bytes in, bytes out, and what went wrong in one word.

Nothing is encoded or decoded here while the clock runs.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from cgan_runtime.access import grpc_credentials, headers_for, tls_context
from cgan_runtime.address import Address, address_of
from cgan_runtime.runners.base import Array
from cgan_runtime.triton_client import TIMEOUT_SECONDS

from cgan_bench.load.requests import Request, grpc_request, http_request

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Client", "FailedError", "GrpcClient", "HttpClient", "RefusedError", "Reply", "client_of"]

# One connection carries many calls; several keep large messages from waiting for each other.
GRPC_CHANNELS: Final = 4
METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
READ_BYTES: Final = 2**22  # aiohttp stops reading beyond twice as many until it is asked


class RefusedError(Exception):
    """The server is full and says so: HTTP 503 or 429, gRPC UNAVAILABLE or RESOURCE_EXHAUSTED from the server."""

    def __init__(self, text: str, retry_after_s: float | None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class FailedError(Exception):
    """Any other end without an answer; its text is the kind: "HTTP 500", "INTERNAL", "timed out", ..."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(text or kind)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer as it came."""

    body: bytes
    json_bytes: int = 0


class Client(ABC):
    """Sends requests to one model of one server. It belongs to the event loop that is running."""

    @abstractmethod
    def request(self, inputs: Mapping[str, Array]) -> Request:
        """Inputs [N, ...] as a request."""

    @abstractmethod
    async def call(self, request: Request) -> Reply:
        """Send a request and wait for the whole answer.

        Raises:
            RefusedError: the server is full.
            FailedError: no answer for another reason.
        """

    @abstractmethod
    def outputs(self, reply: Reply) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
        """Type, shape and bytes of every output of an answer, by name."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""


def client_of(url: str, model: str) -> Client:
    """The client for an address as in `cgan_runtime.address`; no connection is made yet.

    Raises:
        UsageError: another form of URL, or what `headers_for` and `tls_context` refuse.
    """
    address = address_of(url)
    return GrpcClient(address, model) if address.is_grpc else HttpClient(address, model)


@final
class GrpcClient(Client):
    """grpc.aio without generated code: the messages are bytes already."""

    def __init__(self, address: Address, model: str) -> None:
        import grpc

        # A pool of its own, else all channels to one address share one connection.
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._model = model
        self._metadata = tuple(headers_for(address).items())
        if address.is_tls:
            credentials = grpc_credentials()
            make = functools.partial(grpc.aio.secure_channel, address.authority, credentials, options)
        else:
            make = functools.partial(grpc.aio.insecure_channel, address.authority, options)
        self._channels = [make() for _ in range(GRPC_CHANNELS)]
        self._calls: Iterator[Any] = itertools.cycle([channel.unary_unary(METHOD) for channel in self._channels])
        self._error = grpc.aio.AioRpcError

    def request(self, inputs: Mapping[str, Array]) -> Request:
        """The message ModelInferRequest."""
        return grpc_request(self._model, inputs)

    async def call(self, request: Request) -> Reply:
        """One unary call."""
        try:
            call = next(self._calls)
            return Reply(body=await call(request.body, timeout=TIMEOUT_SECONDS, metadata=self._metadata))
        except self._error as error:
            raise _grpc_end(error) from error

    def outputs(self, reply: Reply) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
        """Of the message ModelInferResponse."""
        from tritonclient.grpc import service_pb2

        message = service_pb2.ModelInferResponse.FromString(reply.body)
        pairs = zip(message.outputs, message.raw_output_contents, strict=True)
        return {output.name: (output.datatype, tuple(output.shape), raw) for output, raw in pairs}

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels:
            await channel.close()


@final
class HttpClient(Client):
    """aiohttp with as many connections as there are requests at once, kept open between them."""

    def __init__(self, address: Address, model: str) -> None:
        self._url = f"{address.url}/v2/models/{model}/infer"
        self._headers = headers_for(address)
        self._tls = tls_context() if address.is_tls else True
        self._open: aiohttp.ClientSession | None = None

    def request(self, inputs: Mapping[str, Array]) -> Request:
        """The body of a POST."""
        return http_request(inputs)

    async def call(self, request: Request) -> Reply:
        """One POST."""
        import aiohttp

        headers = {"Inference-Header-Content-Length": str(request.json_bytes), "Accept-Encoding": "identity"}
        try:
            # A stream: of bytes above 1 MiB aiohttp warns.
            async with self._session.post(self._url, data=io.BytesIO(request.body), headers=headers) as answer:
                body = await answer.read()
        except TimeoutError as error:
            raise FailedError("timed out") from error
        except aiohttp.ClientError as error:
            raise FailedError("connection lost", str(error)) from error
        if answer.status != 200:
            raise _http_end(answer.status, body, answer.headers.get("Retry-After"))
        return Reply(body=body, json_bytes=int(answer.headers.get("Inference-Header-Content-Length", len(body))))

    def outputs(self, reply: Reply) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
        """Of the JSON in front and the tensors behind it."""
        found, start = {}, reply.json_bytes
        for output in json.loads(reply.body[:start])["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            raw = json.dumps(output["data"]).encode() if size is None else reply.body[start : start + size]
            found[output["name"]] = (output["datatype"], tuple(output["shape"]), raw)
            start += size or 0
        return found

    async def close(self) -> None:
        """Close the connections."""
        if self._open is not None:
            await self._open.close()

    @property
    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
                read_bufsize=READ_BYTES,
            )
        return self._open


def _grpc_end(error: Any) -> RefusedError | FailedError:
    """What the status of a call means. The library says UNAVAILABLE too where it finds no server."""
    kind, trailers = error.code().name, dict(error.trailing_metadata() or ())
    if kind == "DEADLINE_EXCEEDED":
        return FailedError("timed out")
    from_server = "retry-after" in trailers or "received from peer" in (error.debug_error_string() or "")
    if kind in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") and from_server:
        return RefusedError(error.details() or kind, _seconds(trailers.get("retry-after")))
    return FailedError("connection lost" if kind == "UNAVAILABLE" else kind, error.details() or "")


def _http_end(status: int, body: bytes, retry_after: str | None) -> RefusedError | FailedError:
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = ""
    return (
        RefusedError(text, _seconds(retry_after)) if status in (503, 429) else FailedError(f"HTTP {status}", text)
    )


def _seconds(text: Any) -> float | None:
    """Retry-After in seconds; None where it is missing, or a date."""
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return None
