"""The result of a load test: a table for each batch size, the comparison of two servers, and one JSON object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cgan_runtime.pages import Cell, Table

from cgan_bench.load.measure import REQUESTS, LoadBlock, LoadPlan
from cgan_bench.load.rows import LoadRow
from cgan_bench.plot_data import Throughput
from cgan_bench.report_base import BaseReport, figure, ratio_cell, title_cell
from cgan_bench.sizes import image_size_of, size_words

__all__ = ["LoadReport"]

LOOPBACK: Final = ("127.", "localhost", "[::1]")
ENOUGH_FOR_P99: Final = 100


@dataclass(frozen=True, kw_only=True)
class LoadReport(BaseReport[LoadBlock, LoadRow]):
    """Everything one ``cgan-bench --url`` measured."""

    details: ClassVar[frozenset[str]] = frozenset({"offered/s", "late", "CPU"})

    plan: LoadPlan

    @property
    def title(self) -> str:
        """The model and where it is served."""
        urls = self.plan.urls
        where = urls[0] if len(urls) == 1 else f"A {urls[0]} and B {urls[1]}"
        return f"model {self.plan.model} at {where}"

    @property
    def complaint(self) -> str:
        """What is wrong, where something is invalid."""
        named = "; ".join(f"{row.title} at batch {row.batch}: {', '.join(row.faults())}" for row in self.invalid)
        return f"no valid measurement of {named}."

    @property
    def failure(self) -> str:
        """That requests failed, where none was wrong."""
        failed = [row for row in self.rows if row.failures]
        return f"requests failed under load: {'; '.join(map(_failures, failed))}." if failed else ""

    def block_title(self, block: LoadBlock) -> str:
        """Size, batch and how long."""
        size = image_size_of(block.contract)
        facts = [*([size_words(size)] if size else []), f"batch {block.rows[0].batch}"]
        return ", ".join([*facts, f"{min(row.seconds for row in block.rows):.0f} s or more per row"])

    def about(self) -> dict[str, Any]:
        """What was measured, with which options."""
        return {
            "measured": "load",
            "servers": list(self.plan.urls),
            "served_model": self.plan.model,
            "options": dataclasses.asdict(self.plan),
            "requests": REQUESTS,
            "same_answers": [block.equal for block in self.blocks],
            "generator_shares_machine": self._shares_machine,
        }

    def table(self, block: LoadBlock) -> Table:
        """One row per load and server."""
        return Table(
            heads=(
                *("load", "req/s", "images/s", "p50 ms", "p90 ms", "p99 ms", "max ms"),
                *("refused", "failed", "offered/s", "late", "CPU"),
            ),
            rows=tuple(
                (
                    title_cell(row, *_remarks(row)),
                    figure(row.answered_per_s),
                    figure(row.answered_per_s * row.batch),
                    *(_ms(row.percentile_ms(percent)) for percent in (50, 90, 99, 100)),
                    str(row.refused),
                    _count(sum(row.failures.values())),
                    figure(row.offered / row.seconds),
                    f"{row.late:.1%}",
                    f"{row.generator_cores:.0%}",
                )
                for row in block.rows
            ),
        )

    def more_tables(self, block: LoadBlock) -> Iterator[tuple[str, Table]]:
        """Two servers beside each other."""
        if len(self.plan.urls) < 2:
            return
        first = {row.level: row for row in block.rows if row.letter == "A"}
        yield (
            f"batch {block.rows[0].batch}: B beside A, turn by turn",
            Table(
                heads=("load", "median ms", "difference ms", "times"),
                rows=tuple(
                    (
                        row.level.title,
                        f"{_ms(first[row.level].percentile_ms(50))} and {_ms(row.percentile_ms(50))}",
                        _difference(row),
                        ratio_cell(row.ratio, "-"),
                    )
                    for row in block.rows
                    if row is not first[row.level]
                ),
            ),
        )

    def plotted(self, block: LoadBlock) -> tuple[LoadRow, ...]:
        """Those with answers."""
        return tuple(row for row in block.rows if row.latencies_ms)

    def throughput(self) -> Sequence[Throughput]:
        """Every load: what was answered."""
        return [
            Throughput(title=row.title, batch=row.batch, images_per_s=row.answered_per_s * row.batch)
            for row in self.rows
        ]

    @property
    def reference_note(self) -> str:
        """The server that the other is compared with."""
        if len(self.plan.urls) < 2:
            return ""
        return "difference, times: of the median latency of B to that of A; median, quartiles below."

    def notes(self) -> Iterator[str]:
        """What is invalid and why, what failed, and who shared the machine."""
        for row in self.invalid:
            for fault in row.faults():
                yield f"INVALID: {row.title} at batch {row.batch}: {fault}."
        for row in self.rows:
            if row.failures:
                yield f"Failed: {_failures(row)}."
        if any(row.stable is False for row in self.rows):
            yield (
                "Rows marked unstable: their last three windows differ by over 10 %; --seconds gives longer ones."
            )
        if any("late" in _remarks(row) for row in self.rows):
            yield "Rows marked late: the generator waited for a core itself; the server is faster than it seems."
        for block in self.blocks:
            if block.equal is not None:
                words = "the same" if block.equal else "other"
                yield f"The two servers gave {words} answers to the last bit at batch {block.rows[0].batch}."
        if self._shares_machine:
            yield f"The load came from the server's own machine: both shared its {self.environment['cores']} cores."

    def definitions(self) -> Iterator[str]:
        """What the figures mean."""
        yield (
            "N clients: a closed loop, each sends its next request when the last one was answered. N/s: an open "
            "loop, requests leave at planned instants, and latency counts from these."
        )
        yield "req/s: requests answered a second. offered/s: requests sent. images/s: rows of the batch in answers."
        yield (
            "Latency: from the instant a request was to leave to its whole answer, of the answered ones only. "
            "Requests are made and serialised before."
        )
        yield "refused: the server said that it is full (HTTP 503 or 429, gRPC UNAVAILABLE). failed: any other end."
        yield (
            f"Every answer is compared, to the last bit, with what the same request got alone before the load "
            f"({REQUESTS} requests take turns)."
        )
        yield "late: share of the generator's instants that came late. CPU: its time on a core, 100 % is one core."
        if any(len(row.latencies_ms) < ENOUGH_FOR_P99 for row in self.rows):
            yield f"Fewer than {ENOUGH_FOR_P99} answers: p99 is close to the slowest one; --seconds makes more."

    def verdicts(self) -> Iterator[str]:
        """The most that was answered, or how far two servers are apart."""
        for block in self.blocks:
            valid = [row for row in block.rows if row.valid]
            if len(self.plan.urls) < 2 and valid:
                best = max(valid, key=lambda row: row.answered_per_s)
                yield (
                    f"{figure(best.answered_per_s * best.batch)} images/s at batch {best.batch} with {best.title}, "
                    f"p99 {_ms(best.percentile_ms(99))} ms"
                )
            for row in valid:
                if row.difference is not None:
                    yield (
                        f"B takes {row.difference.median_ms:+.2f} ms ({row.difference.q1_ms:+.2f} to "
                        f"{row.difference.q3_ms:+.2f}) beside A at batch {row.batch} with {row.level.title}"
                    )

    @property
    def _shares_machine(self) -> bool:
        return any(url.partition("://")[2].startswith(LOOPBACK) for url in self.plan.urls)


def _remarks(row: LoadRow) -> list[str]:
    late = row.is_late and not row.level.rate
    return [*(["unstable"] if row.stable is False else []), *(["late"] if late else [])]


def _ms(value: float | None) -> str:
    return "-" if value is None else figure(value)


def _count(failed: int) -> str | Cell:
    return Cell(text=str(failed), mark="bad") if failed else "0"


def _difference(row: LoadRow) -> str | Cell:
    found = row.difference
    if found is None:
        return "-"
    return Cell(text=f"{found.median_ms:+.2f}", note=f"{found.q1_ms:+.2f} to {found.q3_ms:+.2f}")


def _failures(row: LoadRow) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in row.failures.items())
    return f"{row.title} at batch {row.batch}: {kinds}"
