"""A server, or two beside each other, at one level of load after the other, all in one event loop."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.errors import ServerError, UsageError

from cgan_bench.load.clients import Client, FailedError, RefusedError, Reply, client_of
from cgan_bench.load.loops import Level, Load
from cgan_bench.load.requests import Served, inputs_of, served_model
from cgan_bench.load.rows import LoadRow, compared, row_of
from cgan_bench.load.windows import in_turns, measured_spans
from cgan_bench.rows import Absent
from cgan_bench.sizes import Size
from cgan_bench.workload import round_seeds

__all__ = ["KnownAnswers", "LoadBlock", "LoadPlan", "measure_servers", "run_in_loop"]

REQUESTS: Final = 16

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What a load test asks for.

    Attributes:
        urls: one server, or two that take turns; the first is the reference.
        model: the name that is served, of any of the three kinds.
        levels: the loads, one row each.
        batches: images of a request; one block each.
        seconds: that count, of each row.
        size: (height, width) where the model leaves it free.
    """

    urls: tuple[str, ...]
    model: str
    levels: tuple[Level, ...]
    batches: tuple[int, ...] = (1,)
    seconds: float = 10.0
    size: Size | None = None


@dataclass(frozen=True, kw_only=True)
class LoadBlock:
    """The rows of one batch size.

    Attributes:
        contract: with numbers for axes.
        equal: whether two servers gave the same bits; None for one.
    """

    rows: tuple[LoadRow, ...]
    contract: Contract
    equal: bool | None = None
    absent: tuple[Absent, ...] = ()


class KnownAnswers:
    """A model of a server with REQUESTS requests, each answered once alone: what every later answer is held to."""

    def __init__(self, client: Client, served: Served, batch: int) -> None:
        self._client = client
        inputs = [inputs_of(served, round_seeds(number, batch)) for number in range(REQUESTS)]
        self._requests = [client.request(one) for one in inputs]
        self._replies: list[Reply] = []
        self.answers: list[dict[str, tuple[str, tuple[int, ...], bytes]]] = []

    async def learn(self, url: str) -> None:
        """Ask each request alone.

        Raises:
            ServerError: one is not answered.
        """
        for request in self._requests:
            try:
                reply = await self._client.call(request)
            except (RefusedError, FailedError) as error:
                raise ServerError(
                    f"{url} does not answer a request alone: {' '.join(str(error).split())[:300]}."
                ) from error
            self._replies.append(reply)
            self.answers.append(self._client.outputs(reply))

    async def call(self, number: int) -> Reply:
        """Send request `number` modulo their count."""
        return await self._client.call(self._requests[number % REQUESTS])

    def is_right(self, number: int, reply: Reply) -> bool:
        """Whether it is the answer of this request, to the last bit.

        Most answers equal the known one as a whole; only others, whose order or parameters may differ, are read.
        """
        known = number % REQUESTS
        return reply == self._replies[known] or self._client.outputs(reply) == self.answers[known]


def run_in_loop(plan: LoadPlan, say: Say) -> list[LoadBlock]:
    """`measure_servers` in an event loop of its own.

    select() waits to the microsecond; epoll, which asyncio takes by default, to the next whole millisecond.
    """
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(measure_servers(plan, say))


async def measure_servers(plan: LoadPlan, say: Say) -> list[LoadBlock]:
    """Measure every batch size at every level.

    Raises:
        ServerError: a server cannot be reached, does not have the model, or does not answer a request alone.
        UsageError: a size that the model does not take, or two servers whose models differ in what they take.
    """
    served = [served_model(url, plan.model, plan.size) for url in plan.urls]
    if any(one.contract != served[0].contract for one in served):
        raise UsageError(
            f"{plan.urls[0]} and {plan.urls[1]} serve different generators as {plan.model}; compare servers of one."
        )
    blocks = []
    async with AsyncExitStack() as stack:
        clients = [client_of(url, plan.model) for url in plan.urls]
        for client in clients:
            stack.push_async_callback(client.close)
        for batch in plan.batches:
            known = [KnownAnswers(client, one, batch) for client, one in zip(clients, served, strict=True)]
            say(f"batch {batch}: asking {REQUESTS} requests one at a time, for their answers")
            for one, url in zip(known, plan.urls, strict=True):
                await one.learn(url)
            gc.collect()
            gc.freeze()  # what is here stays: no pause for looking at it again
            rows: list[LoadRow] = []
            for level in plan.levels:
                say(f"batch {batch}: {level.title}")
                rows += await _rows(plan, level, known, batch)
            equal = known[0].answers == known[1].answers if len(known) > 1 else None
            blocks.append(LoadBlock(rows=tuple(rows), contract=served[0].contract, equal=equal))
    return blocks


async def _rows(plan: LoadPlan, level: Level, known: Sequence[KnownAnswers], batch: int) -> list[LoadRow]:
    """One level: a row for each server."""
    loads = [Load(endpoint=one, level=level) for one in known]
    stable: bool | None = None
    if len(loads) == 1:
        one, stable = await measured_spans(loads[0], plan.seconds)
        spans = [one]
    else:
        spans = await in_turns(loads, plan.seconds)
    rows: list[LoadRow] = []
    for load, mine, url in zip(loads, spans, plan.urls, strict=True):
        row = row_of(
            load,
            mine,
            stable=stable,
            server=url,
            letter="AB"[len(rows)] if len(loads) > 1 else "",
            description=f"model {plan.model}, {url.partition('://')[0]}",
            batch=batch,
        )
        if rows and (found := compared(row, rows[0])) is not None:
            row = replace(row, ratio=found[0], difference=found[1])
        rows.append(row)
    return rows
