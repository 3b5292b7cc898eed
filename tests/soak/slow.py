"""Clients that send a byte now and then and never a whole request are ended, and nobody else notices them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.soak.base import Report, ServeCommand
from tests.supervision.clients import Clients, picture_of

__all__ = ["slow", "trickle"]

SECONDS: Final = 120.0  # after which a client that was not sent away has not been
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


def slow(bundle: Path, count: int, say: Callable[[str], object], pause_s: float = 2.0) -> Report:
    """So many of them beside one good client."""
    report, right = Report(), picture_of(bundle)
    with ServeCommand(bundle) as server, Clients(f"127.0.0.1:{server.ports.grpc}", 1) as clients:
        clients.wait_for(3)
        before = clients.count
        found = asyncio.run(trickle(server.ports.http, count, pause_s=pause_s))
        during = clients.count - before
        clients.wait_for(3)
    for kind, told, after in found:
        status = told[9:12].decode() or "closed"
        report.require(status in ("408", "closed"), f"slow with {kind}: {told[:200]!r} after {after:.1f} s")
    ends = Counter(f"{kind}: {told[9:12].decode() or 'closed'}" for kind, told, _ in found)
    wrong = len(set(clients.answers) - {right})
    report.require(not wrong, f"{wrong} wrong answers")
    report.require(not clients.failures, f"{len(clients.failures)} failed, as {clients.failures[:1]}")
    report.require(during > 0, "the good client had no answer meanwhile")
    report.figures = {
        **ends,
        "longest_s": round(max(after for *_, after in found), 1),
        "good_requests": during,
        "wrong": wrong,
    }
    say(str(report.figures))
    return report
