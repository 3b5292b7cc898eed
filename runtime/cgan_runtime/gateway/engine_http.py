"""HTTP/1.1 to one Triton, over connections that are kept.

asyncio reads a socket in the thread that handles the answer, into the memory that the answer stays in. grpc.aio has
a thread and copies between: 0.7 ms more for a request of 64 px, measured beside this; aiohttp's client 2.8 ms.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

__all__ = ["EngineAnswer", "EngineHttp"]

HEAD_BYTES: Final = 64 * 2**10
LARGE_BYTES: Final = 32 * 2**10  # more are not copied to be sent together with others
JSON_LENGTH: Final = "inference-header-content-length"


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineAnswer:
    """What Triton answered.

    Attributes:
        status: of HTTP.
        json_bytes: length of the JSON at the beginning of the body, where binary data follows it.
        body: all of it.
    """

    status: int
    json_bytes: int
    body: memoryview


class EngineHttp:
    """Connections to one Triton. Each has one request at a time.

    Args:
        address: "HOST:PORT".
    """

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._address = (host, int(port))
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._closed = False

    async def post(
        self, path: str, json: bytes, binary: Sequence[bytes | memoryview], headers: Mapping[str, str]
    ) -> EngineAnswer:
        """Send JSON and binary data behind it, with these headers beside those that it needs.

        Raises:
            ConnectionError: Triton is not there, or ended before it answered.
        """
        connection = await self._connection()
        size = len(json) + sum(len(part) for part in binary)
        said = {
            "Host": "triton",
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": len(json),
            "Content-Length": size,
            **headers,
        }
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items())
        try:
            answer = await connection.ask([f"{head}\r\n".encode("ascii"), json, *binary])
        except BaseException:
            connection.abort()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """End every connection; requests on them raise ConnectionError."""
        self._closed = True
        for connection in list(self._all):
            connection.abort()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection in self._all:
                return connection
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self._all), *self._address
            )
        except OSError as error:
            raise ConnectionError from error
        if self._closed:
            connection.abort()
            raise ConnectionError
        return connection


class _Connection(asyncio.BufferedProtocol):
    """One connection; it is in `living` while it is open."""

    def __init__(self, living: set[_Connection]) -> None:
        self._living = living
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[EngineAnswer] | None = None
        self._head = bytearray(HEAD_BYTES)
        self._body: bytearray | None = None
        self._filled = 0
        self._status = self._json_bytes = 0

    async def ask(self, parts: list[bytes | memoryview]) -> EngineAnswer:
        assert self._transport is not None  # noqa: S101 - it is connected
        self._answer = asyncio.get_running_loop().create_future()
        small: list[bytes | memoryview] = []
        for part in parts:
            if len(part) < LARGE_BYTES:
                small.append(part)
                continue
            self._transport.write(b"".join(small))
            self._transport.write(part)  # the system takes it from where it lies
            small = []
        if small:
            self._transport.write(b"".join(small))
        return await self._answer

    def abort(self) -> None:
        self._living.discard(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._living.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._living.discard(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(exc or "Triton closed the connection")))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio gives it
        return memoryview(self._head if self._body is None else self._body)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        body = self._read_head() if self._body is None else self._body
        if body is not None and self._filled == len(body):
            self._finish(body)

    def _read_head(self) -> bytearray | None:
        """The body, with what came of it, once all of the head is there."""
        end = self._head.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            if self._filled == HEAD_BYTES:
                self.abort()
            return None
        first, *lines = bytes(self._head[:end]).decode("latin-1").split("\r\n")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._status = int(first.split()[1])
        body = self._body = bytearray(int(fields["content-length"]))
        self._json_bytes = int(fields.get(JSON_LENGTH, len(body)))
        came = self._filled - end - 4
        if came > len(body):
            raise ConnectionError("Triton answered more than it announced")
        body[:came] = self._head[end + 4 : self._filled]
        self._filled = came
        return body

    def _finish(self, body: bytearray) -> None:
        self._body, self._filled = None, 0
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(
                EngineAnswer(status=self._status, json_bytes=self._json_bytes, body=memoryview(body))
            )
