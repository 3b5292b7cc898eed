"""Clients that never finish a call over gRPC, or never take its answer.

The few frames of HTTP/2 (RFC 9113) that they send are written by hand: a gRPC library finishes what it begins. They
answer settings and pings once their opening is complete, as everybody does: otherwise they would be left for that.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["KINDS", "trickle_grpc"]

DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6  # types of frames
END_STREAM, ACK, END_HEADERS = 1, 1, 4  # flags
HEAD_BYTES: Final = 9  # of a frame: length, type, flags, stream
BYTES: Final = 500_000  # of a message that never comes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def call(method: str, flags: int = END_HEADERS) -> bytes:
    """The headers of a call, as HPACK literals without an index (RFC 7541, 6.2.2) of fewer than 127 bytes each."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/inference.GRPCInferenceService/{method}",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    texts = [bytes((len(text),)) + text.encode() for field in fields.items() for text in field]
    block = b"".join(b"\0" + name + value for name, value in zip(texts[::2], texts[1::2], strict=True))
    return frame(HEADERS, flags, 1, block)


PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OPENED: Final = PREFACE + frame(SETTINGS, 0, 0)
NO_WINDOW: Final = PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + bytes(4))  # SETTINGS_INITIAL_WINDOW_SIZE is 0
EMPTY: Final = frame(DATA, END_STREAM, 1, bytes(5))  # a whole message, without a field
MESSAGE: Final = frame(DATA, 0, 1, b"\0" + BYTES.to_bytes(4, "big"))  # its head: not compressed, so many bytes
PIECE: Final = frame(DATA, 0, 1, b"a")


@dataclass(frozen=True)
class Kind:
    """Where a client is slow.

    Attributes:
        beginning: what it sends at once.
        ending: how the server has to end it: by closing the connection, or the call with this status.
        piece: what it sends now and then; nothing where it is silent.
    """

    beginning: bytes
    ending: str = "DEADLINE_EXCEEDED"
    piece: bytes = b""


KINDS: Final = {
    "gRPC: nothing": Kind(b"", "closed"),
    "gRPC: the preface": Kind(PREFACE, "closed"),
    "gRPC: the settings": Kind(OPENED, "closed"),
    "gRPC: the headers": Kind(OPENED + call("ModelInfer", 0), "UNAVAILABLE"),
    "gRPC: a call": Kind(OPENED + call("ModelInfer")),
    "gRPC: a message": Kind(OPENED + call("ModelInfer") + MESSAGE, piece=PIECE),
    "gRPC: a probe": Kind(OPENED + call("ServerReady")),
    "gRPC: a stream": Kind(OPENED + call("ModelStreamInfer")),
    "gRPC: a message of a stream": Kind(OPENED + call("ModelStreamInfer") + MESSAGE, piece=PIECE),
    "gRPC: an answer": Kind(NO_WINDOW + call("ServerMetadata") + EMPTY, "UNAVAILABLE"),
    "gRPC: an answer of a stream": Kind(NO_WINDOW + call("ModelStreamInfer") + EMPTY, "UNAVAILABLE"),
}
OPENING: Final = ("gRPC: nothing", "gRPC: the preface", "gRPC: the headers")  # no frame may come in between
NAMES: Final = {"4": "DEADLINE_EXCEEDED", "14": "UNAVAILABLE"}


async def trickle_grpc(port: int, count: int, *, pause_s: float, seconds: float) -> list[tuple[str, str, float]]:
    """So many clients at once, of each kind in turn.

    Returns:
        Of each: its kind, how its call or its connection ended, and after how many seconds.

    Raises:
        TimeoutError: one was not sent away in this time.
    """
    kinds = list(KINDS)
    async with asyncio.timeout(seconds):
        return list(await asyncio.gather(*(_one(port, kinds[n % len(kinds)], pause_s) for n in range(count))))


async def _one(port: int, kind: str, pause_s: float) -> tuple[str, str, float]:
    began = time.monotonic()
    slow = KINDS[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(slow.beginning)

    async def send() -> None:
        while slow.piece:
            await asyncio.sleep(pause_s)
            writer.write(slow.piece)
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        ending = await _ending(reader, None if kind in OPENING else writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        ending = "closed"
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        writer.close()
    return kind, ending, time.monotonic() - began


async def _ending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> str:
    """How the server ends the call; settings and pings are answered to `writer`."""
    while True:
        head = await reader.readexactly(HEAD_BYTES)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind in (SETTINGS, PING) and not flags & ACK and writer is not None:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif stream == 1 and kind == RST_STREAM:
            return "reset"
        elif stream == 1 and kind == HEADERS and flags & END_STREAM:
            _, _, status = payload.partition(b"grpc-status")  # a literal too: its length, then its digits
            return NAMES.get(status[1 : 1 + status[0]].decode(), "another status")
