"""Conditions and seeds to outputs over gRPC, for asyncio: deadlines, retries that make the same image, streams.

A request is a pure function of its seeds, so sending it again is safe. Seeds that the caller leaves out are drawn
here and not by the server: a request that is sent again then has the same ones (async_requests.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, final

from cgan_runtime.access import connection_fault, grpc_credentials, headers_for, key_refused, unreachable
from cgan_runtime.address import address_of
from cgan_runtime.async_requests import Inputs, fill, rows_of
from cgan_runtime.errors import CganError, ServerError, UsageError
from cgan_runtime.runners.base import Array
from cgan_runtime.serving.wire import OUR_SENTENCE

__all__ = ["Answer", "AsyncClient"]

FIRST_WAIT_S: Final = 0.25  # doubled each time
LONGEST_WAIT_S: Final = 8.0
MAX_ERROR_CHARS: Final = 400


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for the rows of one request.

    Attributes:
        outputs: name -> array [N, ...] as the server sends it: one number or file per row is [N, 1].
        seeds: the seed of each row, given or drawn.
    """

    outputs: dict[str, Array]
    seeds: tuple[int, ...]


@final
class AsyncClient:
    """One gRPC connection, for one event loop; `async with` closes it.

    Args:
        url: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` with TLS.
        key: the API key; that of the environment variable CGAN_API_KEY by default.
        root_certificates: PEM of those who may sign the server's certificate; by default what SSL_CERT_FILE names,
            else gRPC's own list.
        attempts: how often a request is sent at most while the server is full or cannot be reached.

    Raises:
        UsageError: another form of URL, a key that no header can hold, or SSL_CERT_FILE without a certificate.
        CganError: tritonclient is not installed.
    """

    def __init__(
        self, url: str, *, key: str | None = None, root_certificates: bytes | None = None, attempts: int = 6
    ) -> None:
        self._address = address = address_of(url, ("grpc", "grpcs"))
        try:
            import grpc.aio
            from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
        except ImportError as error:
            raise CganError('tritonclient is not installed; run: pip install "cgan-deploy[serve]"') from error
        self.url, self._attempts = address.url, attempts
        self._grpc, self._messages, self._result = grpc, service_pb2, InferResult
        self._headers = tuple(headers_for(address, key).items())
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        if address.is_tls:
            credentials = grpc_credentials(root_certificates)
            self._channel = grpc.aio.secure_channel(address.authority, credentials, options=options)
        else:
            self._channel = grpc.aio.insecure_channel(address.authority, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._models: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection; calls that wait are cancelled."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that wait are cancelled."""
        await self._channel.close()

    async def generate(
        self,
        model: str,
        inputs: Inputs,
        seeds: Sequence[int] | None = None,
        draws: Sequence[int] | None = None,
        *,
        deadline_s: float = 60.0,
    ) -> Answer:
        """Call ``NAME`` or ``NAME_png`` once; cancelling the task cancels the request on the server.

        Args:
            model: the model's name.
            inputs: rows per condition, by the names that the server uses: an array [N, ...], or a list of N files
                (bytes) or class names (text).
            seeds: one per row; drawn where there are none.
            draws: one per row; 0 by default.
            deadline_s: for all attempts together, in seconds.

        Raises:
            UsageError: inputs, seeds or draws that do not fit the model or each other.
            ServerError: unreachable, full or silent until the deadline, refused, or answered with other seeds.
        """
        until = time.monotonic() + deadline_s
        request, chosen = self._message(await self._described(model, until), inputs, seeds, draws)
        return self._answer(await self._infer(request, until), chosen)

    async def stream(
        self, model: str, samples: Iterable[tuple[Inputs, int]], *, in_flight: int = 8, deadline_s: float = 60.0
    ) -> AsyncGenerator[Answer, None]:
        """Many requests over one connection, answered in the order of `samples`.

        A sample that fails in the stream is asked for again by a call of its own, which is retried as `generate`
        does. Leaving the loop early cancels what is under way once the iterator is closed (`contextlib.aclosing`).

        Args:
            model: the model's name.
            samples: inputs as in `generate` and the seed of every row in them; read as the stream goes on.
            in_flight: requests that are sent and whose answers are not yet handed out, at most.
            deadline_s: the longest wait for one of them, in seconds.

        Raises:
            UsageError, ServerError: as `generate`.
        """
        described = await self._described(model, time.monotonic() + deadline_s)
        source, waiting, number = iter(samples), deque[_Asked](), 0
        call: Any = None
        try:
            while True:
                call = call or self._stub.ModelStreamInfer(metadata=self._headers)
                try:
                    async with asyncio.timeout(deadline_s):
                        while len(waiting) < in_flight and (sample := next(source, None)) is not None:
                            inputs, seed = sample
                            request, seeds = self._message(described, inputs, [seed] * rows_of(inputs), None)
                            request.id, number = str(number), number + 1
                            waiting.append(_Asked(request, seeds))
                            await call.write(request)
                        if waiting and waiting[0].answer is None:
                            self._take(await call.read(), waiting)
                except TimeoutError as error:
                    raise ServerError(f"{self.url} gave no answer before the deadline.") from error
                except (self._grpc.RpcError, asyncio.InvalidStateError, _BrokenError):
                    call.cancel()
                    call = None  # a new one comes when those on the way have been asked for again
                    for asked in waiting:
                        asked.failed = asked.answer is None
                for asked in waiting:
                    if asked.failed:
                        asked.answer = await self._infer(asked.request, time.monotonic() + deadline_s)
                        asked.failed = False
                if not waiting:
                    return
                while waiting and waiting[0].answer is not None:
                    done = waiting.popleft()
                    yield self._answer(done.answer, done.seeds)
        finally:
            if call is not None:
                call.cancel()

    def _take(self, response: Any, waiting: Iterable[_Asked]) -> None:
        """Put one answer of the stream where it belongs.

        Raises:
            _BrokenError: the stream ended, or an error does not say which request it is of.
        """
        if response is self._grpc.aio.EOF:
            raise _BrokenError
        asked = next((item for item in waiting if item.request.id == response.infer_response.id), None)
        if asked is None:
            raise _BrokenError
        if response.error_message:
            asked.failed = True
        else:
            asked.answer = response.infer_response

    async def _described(self, model: str, until: float) -> Any:
        """The model's name, inputs and outputs, as the server tells them; asked for once."""
        if model not in self._models:
            request = self._messages.ModelMetadataRequest(name=model)
            described = await self._retried(self._stub.ModelMetadata, request, until)
            if "seed" not in {tensor.name for tensor in described.inputs}:
                raise UsageError(f"model {model} takes no seed; NAME or NAME_png is needed.")
            self._models[model] = described
        return self._models[model]

    def _message(
        self, described: Any, inputs: Inputs, seeds: Sequence[int] | None, draws: Sequence[int] | None
    ) -> tuple[Any, tuple[int, ...]]:
        request = self._messages.ModelInferRequest()
        return request, fill(request, described, inputs, seeds, draws)

    def _answer(self, response: Any, seeds: tuple[int, ...]) -> Answer:
        result = self._result(response)
        outputs = {tensor.name: result.as_numpy(tensor.name) for tensor in response.outputs}
        echoed = tuple(map(int, outputs.pop("seed").ravel())) if "seed" in outputs else None
        if echoed != seeds:
            raise ServerError(f"{self.url} was asked for seeds {list(seeds)} and answered with {echoed}.")
        return Answer(outputs=outputs, seeds=seeds)

    async def _infer(self, request: Any, until: float) -> Any:
        return await self._retried(self._stub.ModelInfer, request, until)

    async def _retried(self, method: Callable[..., Awaitable[Any]], request: Any, until: float) -> Any:
        """The answer; a server that is full or away is asked again, until the deadline in time.monotonic()."""
        for attempt in range(1, self._attempts + 1):
            try:
                return await method(request, metadata=self._headers, timeout=max(0.0, until - time.monotonic()))
            except self._grpc.RpcError as error:
                code = error.code()
                said = _said(error.details() or code.name)
                if code is self._grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise ServerError(f"{self.url} gave no answer before the deadline.") from error
                if code is self._grpc.StatusCode.UNAUTHENTICATED:
                    raise ServerError(key_refused(self.url, had_key=bool(self._headers))) from error
                if code is self._grpc.StatusCode.UNAVAILABLE and connection_fault(self._address, said) is not None:
                    raise ServerError(unreachable(self._address, said)) from error  # it would be so again
                if code is not self._grpc.StatusCode.UNAVAILABLE:
                    raise ServerError(f"{self.url} refused: {said}") from error
                wait = _wait_s(error, attempt)
                if attempt == self._attempts or time.monotonic() + wait > until:
                    tried = "1 attempt" if attempt == 1 else f"{attempt} attempts"
                    raise ServerError(f"{self.url} is full or cannot be reached after {tried}: {said}") from error
                await asyncio.sleep(wait)
        raise UsageError(f"attempts is {self._attempts}; 1 or more is needed.")


@dataclass
class _Asked:
    """A request of a stream until its answer is handed out."""

    request: Any
    seeds: tuple[int, ...]
    answer: Any = None
    failed: bool = False  # to be asked for again, by a call of its own


class _BrokenError(Exception):
    """The stream gives no more answers that can be used."""


def _said(details: str) -> str:
    """What a server answered, on one line."""
    return " ".join(details.split()).removeprefix(OUR_SENTENCE)[:MAX_ERROR_CHARS]


def _wait_s(error: Any, attempt: int) -> float:
    """Seconds to wait: what the server asks for, else longer each time. Drawn: not all come back at once."""
    for key, value in error.trailing_metadata() or ():
        if key.lower() == "retry-after":
            try:
                return random.uniform(1, 1.25) * max(0.0, float(value))
            except ValueError:
                break
    longest: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempt - 1))
    return random.uniform(0.5, 1) * longest
