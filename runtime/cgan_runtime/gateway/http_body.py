"""The body of an HTTP request, no longer than allowed: as it comes, and inflated."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import web

from cgan_runtime.gateway.memory import Claim
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.settings import Limits

__all__ = ["BodyReader"]

WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class BodyReader:
    """Reads bodies.

    Args:
        limits: of requests.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def read(self, request: web.BaseRequest, claim: Claim) -> bytes:
        """The inflated body; `claim` holds its bytes as they come.

        Raises:
            Refusal: it is too large, too slow, not what its header says, or there is no memory for it.
        """
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in (*WINDOWS, "identity"):
            raise Refusal(
                f"Content-Encoding {coding[:40]!r} is not read; gzip and deflate are.", status=415, reason="coding"
            )
        if (request.content_length or 0) > self._limits.body_bytes:
            raise self._too_large("")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                async for chunk in request.content.iter_any():
                    size += len(chunk)
                    if size > self._limits.body_bytes:
                        raise self._too_large("")
                    claim.hold(size)
                    chunks.append(chunk)
        except TimeoutError as error:
            raise Refusal(
                f"the request did not arrive within {self._limits.read_seconds:g} s.", status=408, reason="slow"
            ) from error
        except web.RequestPayloadError as error:
            raise Refusal("the body of the request is cut short or badly chunked.") from error
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return body if coding == "identity" else self._inflated(body, coding, claim)

    def _inflated(self, body: bytes, coding: str, claim: Claim) -> bytes:
        inflate, limit = zlib.decompressobj(WINDOWS[coding]), self._limits.body_bytes
        try:
            plain = inflate.decompress(body, limit)
        except zlib.error as error:
            raise Refusal(f"the body is not {coding}, as Content-Encoding says.") from error
        claim.hold(len(plain))
        if inflate.unconsumed_tail:
            raise self._too_large(" when it is inflated")
        if not inflate.eof or inflate.unused_data:
            raise Refusal(f"the {coding} of the body is cut short, or something follows it.")
        return plain

    def _too_large(self, when: str) -> Refusal:
        return Refusal(
            f"the request has more than {self._limits.body_bytes} bytes{when}; that is the limit "
            "(--max-body): send fewer rows.",
            status=413,
            reason="too_large",
        )
