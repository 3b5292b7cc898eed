"""The page that Prometheus reads: the gateway's figures, then Triton's own."""

from __future__ import annotations

from typing import Final

import aiohttp
from aiohttp import web

from cgan_runtime.gateway.front import Front

__all__ = ["serve_metrics"]

TRITON_SECONDS: Final = aiohttp.ClientTimeout(total=1)


async def serve_metrics(front: Front, host: str, port: int) -> web.AppRunner:
    """Bind the port; closing the runner frees it."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=front.metrics.page() + await _of_triton(front), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, reuse_address=True).start()
    return runner


async def _of_triton(front: Front) -> bytes:
    """Nothing while there is no Triton: the gateway's own figures say so."""
    if front.link.engine is None:
        return b""
    try:
        async with (
            aiohttp.ClientSession(timeout=TRITON_SECONDS) as session,
            session.get(f"http://{front.link.engine.metrics}/metrics") as answer,
        ):
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return b""
