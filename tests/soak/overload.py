"""Five times as many requests as can be answered: those that are accepted are answered in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from cgan_bench.load.clients import client_of
from cgan_bench.load.loops import Level, Load
from cgan_bench.load.measure import KnownAnswers
from cgan_bench.load.requests import served_model

from tests.soak.base import Report, ServeCommand

__all__ = ["overload"]

TIMES: Final = 5
DEADLINE_SECONDS: Final = 5
CLIENTS: Final = 8  # a full batch


def overload(bundle: Path, seconds: float, say: Callable[[str], object], *words: str) -> Report:
    """One client, many, five times as many requests as they had answers, one client again: so many seconds each."""
    with ServeCommand(bundle, "--deadline", str(DEADLINE_SECONDS), *words) as server:
        return asyncio.run(_measure(f"grpc://127.0.0.1:{server.ports.grpc}", "facades_png", seconds, say))


async def _measure(url: str, model: str, seconds: float, say: Callable[[str], object]) -> Report:
    client = client_of(url, model)
    known = KnownAnswers(client, served_model(url, model, None), 1)
    await known.learn(url)

    async def run(what: str, level: Level) -> dict[str, Any]:
        load = Load(endpoint=known, level=level)
        async with load.running():
            await asyncio.sleep(seconds)
        answered = [sample.latency_ms for sample in load.samples if sample.ending == "right"]
        endings = {kind: sum(one.ending == kind for one in load.samples) for kind in ("refused", "wrong", "failed")}
        figures = {
            "per_second": round(len(answered) / seconds, 1),
            "p50_ms": round(median(answered), 1),
            "p99_ms": round(quantiles(answered, n=100)[-1], 1),
            **endings,
        }
        report.figures[what] = figures
        report.require(not endings["wrong"], f"{what}: {endings['wrong']} wrong answers")
        report.require(not endings["failed"], f"{what}: {dict(load.failures)} failed")
        report.require(not load.flooded, f"{what}: neither answered nor refused, so that requests piled up")
        say(f"{what}, {level.title}: {figures}")
        return figures

    report = Report()
    await run("before", Level(clients=1))
    most = await run("capacity", Level(clients=CLIENTS))
    over = await run("overload", Level(rate=TIMES * most["per_second"]))
    await run("after", Level(clients=1))
    await client.close()
    report.require(over["refused"] > 0, "nothing was refused, so this was no overload")
    limit = DEADLINE_SECONDS * 1e3
    report.require(
        over["p99_ms"] <= limit, f"99 % of the accepted ones took {over['p99_ms']} ms, more than {limit:g}"
    )
    return report
