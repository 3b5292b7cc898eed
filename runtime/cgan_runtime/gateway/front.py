"""What both protocols do with a request: find the model, check, wait for a slot, ask Triton, say who answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc.aio
import numpy as np

from cgan_runtime.axes import shape_of
from cgan_runtime.gateway.admission import Admission
from cgan_runtime.gateway.checks import check
from cgan_runtime.gateway.engine_link import EngineLink
from cgan_runtime.gateway.memory import Claim
from cgan_runtime.gateway.metrics import Metrics
from cgan_runtime.gateway.refusal import Refusal, full
from cgan_runtime.gateway.request import DTYPES, InferRequest, Sent, pack_strings
from cgan_runtime.gateway.served import ServedModel, Table
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.serving.wire import PING

if TYPE_CHECKING:
    from cgan_runtime.gateway.tracing import Tracing

__all__ = ["Answer", "Front"]

FRESH_SECONDS: Final = 1.0  # an answer that young proves that a model lives
PING_SECONDS: Final = 2.0

no_span: Final[nullcontext[dict[str, str]]] = nullcontext({})

log = logging.getLogger("cgan.gateway")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What Triton answered.

    Attributes:
        model: that was asked.
        outputs: in its order.
    """

    model: ServedModel
    outputs: tuple[Sent, ...]


@dataclass
class Front:
    """The gateway's work, without a protocol.

    Attributes:
        limits: of requests.
        table: what is served.
        link: the way to Triton.
        metrics: what is counted.
        tracing: makes spans; None where nobody asked for them.
    """

    limits: Limits
    link: EngineLink
    metrics: Metrics
    table: Table = field(default_factory=Table)
    draining: bool = False
    tracing: Tracing | None = None
    _in_use: Counter[str] = field(default_factory=Counter)
    _answered: dict[str, float] = field(default_factory=dict)
    _pings: dict[str, asyncio.Task[bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits, time.monotonic)
        self.metrics.watch(self.admission)

    async def infer(
        self, model: ServedModel, request: InferRequest, claim: Claim, *, seconds: float | None = None
    ) -> Answer:
        """The answer of the model.

        Args:
            model: as `table.find` gave it.
            request: as it was read.
            claim: what the request holds.
            seconds: the caller's own limit of time, beside the request's and the gateway's.

        Raises:
            Refusal: there is none; says why.
        """
        started = time.monotonic()
        times = [given for given in (self.limits.seconds, request.seconds, seconds) if given is not None]
        deadline = started + min(times)
        with self._counted(model), self._using(model):
            cost = check(request, model, self.limits)
            route, tracing = model.route, self.tracing
            slot = self.admission.enter(
                route.name,
                rows=cost.rows,
                memory=cost.memory_bytes,
                claim=claim,
                max_batch=route.max_batch,
                deadline=deadline,
            )
            if tracing is not None:
                tracing.describe(model, cost.rows)
                slot = tracing.queued(slot)
            async with slot:
                entered = time.monotonic()
                with no_span if tracing is None else tracing.engine(model) as headers:
                    outputs = await self.link.infer(model.inner, request, deadline, headers)
            self._answered[model.inner] = time.monotonic()
            self.metrics.answered(model, cost.rows, queue=entered - started, engine=time.monotonic() - entered)
            return Answer(model=model, outputs=outputs)

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal, and say it in the span of the request."""
        self.metrics.refused(refusal)
        if self.tracing is not None:
            self.tracing.refused(refusal)

    async def lives(self, model: ServedModel) -> bool:
        """Whether the model answers: it did within the last second, or does so now."""
        if self.link.engine is None or self.draining:
            return False
        if time.monotonic() - self._answered.get(model.inner, float("-inf")) < FRESH_SECONDS:
            return True
        ping = self._pings.get(model.inner)
        if ping is None or ping.done():
            ping = self._pings[model.inner] = asyncio.create_task(self._ping(model))
        return await asyncio.shield(ping)

    async def all_live(self) -> bool:
        """Whether there is a model and every model answers."""
        models = list(self.table)
        return bool(models) and all(await asyncio.gather(*(self.lives(model) for model in models)))

    async def ask_triton(self, method: str, message: Any, answer: Any) -> Any:
        """A call that is no inference, of messages of the protocol.

        Raises:
            Refusal: there is no Triton, or it does not answer.
        """
        deadline = time.monotonic() + PING_SECONDS
        try:
            return answer.FromString(await self.link.call(method, message.SerializeToString(), deadline))
        except (ConnectionError, grpc.aio.AioRpcError) as error:
            raise full("the models are being started again.", 5, "engine_down") from error

    def unused(self, inner: str) -> bool:
        """Whether no accepted request uses this model inside Triton."""
        return not self._in_use[inner]

    async def _ping(self, model: ServedModel) -> bool:
        """Ask the model, which asks its engine."""
        if not await self.link.ping(model.inner, _ping_of(model), time.monotonic() + PING_SECONDS):
            log.warning("model=%s does not answer", model.inner)
            return False
        self._answered[model.inner] = time.monotonic()
        return True

    @contextmanager
    def _counted(self, model: ServedModel) -> Iterator[None]:
        """Whoever counts a refusal knows of which model it is."""
        try:
            yield
        except Refusal as refusal:
            refusal.model = model.name
            raise
        except asyncio.CancelledError:
            self.metrics.cancelled(model)
            raise

    @contextmanager
    def _using(self, model: ServedModel) -> Iterator[None]:
        """Every model of a bundle is in use: a front model calls the core."""
        if self.draining:
            raise full("the server is stopping.", 5, "stopping")
        names = list(model.route.models.values())
        self._in_use.update(names)
        try:
            yield
        finally:
            self._in_use.subtract(names)


def _ping_of(model: ServedModel) -> InferRequest:
    """A request of one row that asks nothing; every input has to be there for Triton to let it through."""
    sides = model.route.contract.sides
    sizes = {} if sides is None else {"h": sides.min, "w": sides.min}
    needed = [tensor for tensor in model.inputs.values() if not tensor.optional]
    inputs = []
    for tensor in needed or list(model.inputs.values())[:1]:
        shape = (1, *(shape_of(tensor.wire_shape, sizes)))
        raw = pack_strings([b"ping"]) if tensor.datatype == "BYTES" else _zeros(tensor.datatype, shape)
        inputs.append(Sent(name=tensor.name, datatype=tensor.datatype, shape=shape, raw=raw))
    return InferRequest(inputs=tuple(inputs), parameters={PING: True})


def _zeros(datatype: str, shape: tuple[int, ...]) -> bytes:
    return np.zeros(shape, dtype=DTYPES[datatype]).tobytes()
