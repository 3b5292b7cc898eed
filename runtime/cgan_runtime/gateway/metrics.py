"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.served import ServedModel

if TYPE_CHECKING:
    from cgan_runtime.gateway.admission import Admission

__all__ = ["Metrics"]

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


class Metrics:
    """Counters of one gateway process; a new process begins at 0, as Prometheus expects."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rows = Counter("cgan_rows", "Rows that were answered", ("model", "version"), registry=self.registry)
        self._requests = Counter("cgan_requests", "Requests that were answered", ("model",), registry=self.registry)
        self._refused = Counter(
            "cgan_refused", "Requests that were refused", ("model", "reason"), registry=self.registry
        )
        self._queue = Histogram(
            "cgan_queue_seconds", "From arrival to a slot", ("model",), buckets=SECONDS, registry=self.registry
        )
        self._engine = Histogram(
            "cgan_engine_seconds",
            "From a slot to Triton's answer",
            ("model",),
            buckets=SECONDS,
            registry=self.registry,
        )

    def watch(self, admission: Admission) -> None:
        """Show what waits and what is worked on now."""
        for name, text, read in (
            ("cgan_waiting", "Requests that wait for a slot", lambda: admission.waiting),
            ("cgan_inside", "Requests that Triton works on", lambda: admission.inside),
            (
                "cgan_memory_bytes",
                "Bytes that all requests hold, in part estimated",
                lambda: admission.memory.held,
            ),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def expect(self, names: Iterable[str]) -> None:
        """Show these models from now on, with 0: whoever reads the page finds them before their first request."""
        for name in names:
            self._requests.labels(name)
            self._queue.labels(name)
            self._engine.labels(name)

    def answered(self, model: ServedModel, rows: int, *, queue: float, engine: float) -> None:
        """Count an answer; times in seconds."""
        self._requests.labels(model.name).inc()
        self._rows.labels(model.name, str(model.route.version)).inc(rows)
        self._queue.labels(model.name).observe(queue)
        self._engine.labels(model.name).observe(engine)

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal. Its model is one that is served, or empty: callers invent no labels."""
        self._refused.labels(refusal.model, refusal.reason).inc()

    def cancelled(self, model: ServedModel) -> None:
        """Count a caller who left."""
        self._refused.labels(model.name, "cancelled").inc()

    def page(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
