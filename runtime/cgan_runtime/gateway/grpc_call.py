"""What every call over gRPC has: a message that comes in time, a refusal, a line of the log.

grpc.aio keeps the exception that `context.abort` raises, the exception its frames, and these the call with its
message: a refused message of 20 MiB would take 40 MiB until the garbage collector looks at all objects. A refusal
is therefore a code and a sentence, set before the handler returns; and messages are read by `context.read`, since
the iterator that grpc.aio passes keeps the last one.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Any, Final

import grpc
import grpc.aio

from cgan_runtime.gateway.refusal import Refusal

__all__ = ["FAILED", "NO_ANSWER", "log_call", "read_in_time", "refuse"]

FAILED: Final = "the server failed; its log says why."
NO_ANSWER: Final = b""  # of a refused call

access = logging.getLogger("cgan.access")


async def read_in_time(context: Any, seconds: float) -> bytes:
    """The one message of a call.

    Raises:
        Refusal: it was not there within so many seconds, or there is none.
    """
    try:
        async with asyncio.timeout(seconds):
            data = await context.read()
    except TimeoutError as error:
        raise Refusal(f"the request did not arrive within {seconds:g} s.", status=408, reason="slow") from error
    if data is grpc.aio.EOF:
        raise Refusal("the call ended without a message.")
    return bytes(data)


def refuse(context: Any, refusal: Refusal) -> None:
    """What the call ends with once its handler returns."""
    context.set_code(getattr(grpc.StatusCode, refusal.grpc_code))
    context.set_details(str(refusal))
    if refusal.retry_after is not None:
        context.set_trailing_metadata((("retry-after", str(refusal.retry_after)),))


def log_call(method: str, metadata: dict[str, Any], status: str, started: float) -> None:
    """One line; `started` by time.perf_counter."""
    access.info(
        "",
        extra={
            "fields": {
                "request": str(metadata.get("x-request-id", ""))[:64] or uuid.uuid4().hex,
                "protocol": "grpc",
                "method": method,
                "status": status,
                "ms": round((time.perf_counter() - started) * 1e3, 2),
            }
        },
    )
