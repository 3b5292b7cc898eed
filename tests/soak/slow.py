"""Clients that send a byte now and then and never a whole request are ended, and nobody else notices them.

Over HTTP here, over gRPC in slow_grpc.py.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.soak.base import Report, ServeCommand
from tests.soak.slow_grpc import KINDS, trickle_grpc
from tests.supervision.clients import Clients, picture_of

__all__ = ["slow", "slow_beside_good", "trickle"]

SECONDS: Final = 200.0  # after which a client that was not sent away has not been
HEAD: Final = b"POST /v2/models/facades_png/infer HTTP/1.1\r\nHost: x\r\n"
BEGINNINGS: Final = {
    "nothing": b"",
    "the first line": b"POST /v2/mod",
    "the headers": HEAD,
    "the body": HEAD + b"Content-Length: 500000\r\n\r\n{",
    "a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n40000\r\n{",
}


async def trickle(
    port: int, count: int, *, pause_s: float, seconds: float = SECONDS
) -> list[tuple[str, bytes, float]]:
    """So many clients at once, of each kind in turn.

    Returns:
        Of each: where it is slow, what it was told before its connection was closed, and after how many seconds.

    Raises:
        AssertionError: one was not sent away in this time.
    """
    kinds = list(BEGINNINGS)
    async with asyncio.timeout(seconds):
        return list(await asyncio.gather(*(_one(port, kinds[n % len(kinds)], pause_s) for n in range(count))))


async def _one(port: int, kind: str, pause_s: float) -> tuple[str, bytes, float]:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(BEGINNINGS[kind])
    told = b""

    async def send() -> None:
        while kind != "nothing":
            await asyncio.sleep(pause_s)
            writer.write(b"a")
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        while data := await reader.read(65536):
            told += data
    except ConnectionError:
        pass  # it was closed while a byte was under way
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        writer.close()
    return kind, told, time.monotonic() - began


def slow(bundle: Path, count: int, say: Callable[[str], object]) -> Report:
    """So many of them over each protocol beside one good client, with the limits that cgan-serve has."""
    with ServeCommand(bundle) as server:
        report = slow_beside_good(server.ports.http, server.ports.grpc, picture_of(bundle), count, pause_s=2.0)
    say(str(report.figures))
    return report


def slow_beside_good(http_port: int, grpc_port: int, right: bytes, count: int, *, pause_s: float) -> Report:
    """The same at a server that runs and gives the good client this picture."""
    report = Report()

    async def both() -> tuple[list[tuple[str, bytes, float]], list[tuple[str, str, float]]]:
        return await asyncio.gather(
            trickle(http_port, count, pause_s=pause_s),
            trickle_grpc(grpc_port, count, pause_s=pause_s, seconds=SECONDS),
        )

    with Clients(f"127.0.0.1:{grpc_port}", 1) as clients:
        clients.wait_for(3)
        before = clients.count
        over_http, over_grpc = asyncio.run(both())
        during = clients.count - before
        clients.wait_for(3)
    for kind, told, after in over_http:
        status = told[9:12].decode() or "closed"
        report.require(status in ("408", "closed"), f"slow with {kind}: {told[:200]!r} after {after:.1f} s")
    for kind, ending, after in over_grpc:
        report.require(ending == KINDS[kind].ending, f"slow with {kind}: {ending} after {after:.1f} s")
    wrong = len(set(clients.answers) - {right})
    report.require(not wrong, f"{wrong} wrong answers")
    report.require(not clients.failures, f"{len(clients.failures)} failed, as {clients.failures[:1]}")
    report.require(during > 0, "the good client had no answer meanwhile")
    report.figures = {
        **Counter(f"{kind}: {told[9:12].decode() or 'closed'}" for kind, told, _ in over_http),
        **Counter(f"{kind}: {ending}" for kind, ending, _ in over_grpc),
        "longest_s": round(max(after for *_, after in over_http), 1),
        "gRPC longest_s": round(max(after for *_, after in over_grpc), 1),
        "good_requests": during,
        "wrong": wrong,
    }
    return report
