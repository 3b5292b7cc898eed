"""What the reports of inference and of training share: rows in blocks, what is invalid and absent, tables and JSON.

A block holds the rows of one batch size; the first row is its reference.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from cgan_runtime.pages import Cell, Table

from cgan_bench.plot_data import Fidelity, Roofline, Throughput
from cgan_bench.rows import NOISY_RATIO, Absent, Ratio

__all__ = ["BaseReport", "Measured", "figure", "ratio_cell", "title_cell"]

NOISY: Final = "noisy"


class Measured(Protocol):
    """What every row can tell."""

    @property
    def title(self) -> str:
        """Name of the row."""

    @property
    def description(self) -> str:
        """Library, version, device, threads."""

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """One per round."""

    @property
    def noisy(self) -> bool:
        """Whether the machine was not quiet."""

    @property
    def valid(self) -> bool:
        """Whether its result is the reference's."""

    def to_json(self) -> dict[str, Any]:
        """The row as plain values, as --json prints it."""


R = TypeVar("R", bound=Measured)
R_co = TypeVar("R_co", bound=Measured, covariant=True)


class Block(Protocol[R_co]):
    """The rows of one batch size."""

    @property
    def rows(self) -> tuple[R_co, ...]:
        """The rows of this block; the reference comes first."""

    @property
    def absent(self) -> tuple[Absent, ...]:
        """The rows that could not be measured, and why."""


B = TypeVar("B", bound=Block[Any])


@dataclass(frozen=True, kw_only=True)
class BaseReport(ABC, Generic[B, R]):
    """Everything one command measured.

    Attributes:
        environment: the machine, from environment.py.
        blocks: one per batch size and device.
    """

    details: ClassVar[frozenset[str]] = frozenset({"p90 ms", "p99 ms", "of the peak", "peak MB", "how"})
    """Heads of the columns that only the page shows: the others fit 80 columns."""
    times_what: ClassVar[str] = "latency"
    """What the rounds took the time of."""
    width: ClassVar[int] = 80
    """Columns of the table where the output is no terminal."""

    environment: dict[str, Any]
    blocks: tuple[B, ...]

    @property
    def rows(self) -> list[R]:
        """All rows, block by block."""
        return [row for block in self.blocks for row in block.rows]

    @property
    def invalid(self) -> list[R]:
        """Rows whose result is not the reference's."""
        return [row for row in self.rows if not row.valid]

    @property
    def absent(self) -> tuple[Absent, ...]:
        """The rows that could not be measured; the same row with the same reason once."""
        return tuple(dict.fromkeys(absent for block in self.blocks for absent in block.absent))

    def to_json(self) -> dict[str, Any]:
        """Plain values: environment, options, every row with each of its latencies, what is absent and why."""
        return {
            "tool": "cgan-bench",
            "model": self.title,
            **self.about(),
            "environment": self.environment,
            "rows": [row.to_json() for row in self.rows],
            "absent": [dataclasses.asdict(absent) for absent in self.absent],
            "valid": not self.invalid,
        }

    @property
    @abstractmethod
    def title(self) -> str:
        """What was measured."""

    @property
    @abstractmethod
    def complaint(self) -> str:
        """One sentence that names what is invalid."""

    @property
    def failure(self) -> str:
        """One sentence where nothing is invalid and the command failed all the same; else empty."""
        if any(block.rows for block in self.blocks):
            return ""
        reasons = "; ".join(f"{absent.title}: {absent.reason}" for absent in self.absent)
        return f"no backend could be measured: {reasons}."

    @property
    def uncertain(self) -> str:
        """One sentence where everything is valid and the figures are too uncertain; else empty."""
        return ""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What else the JSON object says, options and the reference of each block included."""

    @abstractmethod
    def block_title(self, block: B) -> str:
        """Which block it is: the batch size and the number of rounds."""

    @abstractmethod
    def table(self, block: B) -> Table:
        """The rows of a block with every figure; heads that are in `details` are for the page."""

    def more_tables(self, block: B) -> Iterator[tuple[str, Table]]:
        """Further tables of a block, each with its title; one whose heads are all in `details` is for the page."""
        del block
        return iter(())

    def plotted(self, block: B) -> Sequence[R]:
        """The rows whose times are plotted, all of the same kind."""
        rows: Sequence[R] = block.rows
        return rows

    def throughput(self) -> Sequence[Throughput]:
        """Each row at each batch size, for a plot over the batch size."""
        return ()

    def fidelity(self, block: B) -> Fidelity | None:
        """What the rows of a block gain beside the reference, and what it costs in their outputs."""
        del block
        return None

    def roofline(self, block: B) -> Roofline | None:
        """What the rows of a block make of the machine, and what it can do at most."""
        del block
        return None

    @property
    @abstractmethod
    def reference_note(self) -> str:
        """What the column `times` compares with, in one line; empty where there is nothing to compare."""

    @abstractmethod
    def notes(self) -> Iterator[str]:
        """What must be said of this result."""

    @abstractmethod
    def definitions(self) -> Iterator[str]:
        """What the figures mean, for the page."""

    @abstractmethod
    def verdicts(self) -> Iterator[str]:
        """The result in one sentence per block."""

    @property
    def machine(self) -> str:
        """Processor, cores, system and Python in one line."""
        where = self.environment
        return f"{where['cpu']}, {where['cores']} cores, {where['os']}, Python {where['python']}"

    def doubts(self) -> Iterator[str]:
        """Why the figures may be those of a busy machine."""
        load, cores = self.environment["load_average"] or 0, self.environment["cores"]
        if load > cores / 2:
            yield f"The machine was busy before this (load average {load}): measure again when idle."
        if any(row.noisy for row in self.rows):
            yield f"Rows marked {NOISY}: p90 is more than {NOISY_RATIO} times p50, so something else was running."

    def not_measured(self) -> Iterator[str]:
        """A line for each reason: the rows that are not there, and what would bring them."""
        titles: dict[str, list[str]] = {}
        for absent in self.absent:
            titles.setdefault(absent.reason, []).append(absent.title)
        for reason, names in titles.items():
            yield f"Not measured: {'; '.join(names)}: {reason}."


def figure(value: float) -> str:
    """A time or a rate with three digits that count, or all before the point."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def title_cell(row: Measured, *more: str) -> Cell:
    """Name of a row, and below it what must be said of it."""
    remarks = [*([] if row.valid else ["INVALID"]), *more, *([NOISY] if row.noisy else [])]
    return Cell(text=row.title, mark="" if row.valid else "bad", note=", ".join(remarks))


def ratio_cell(ratio: Ratio | None, otherwise: str) -> str | Cell:
    """Median, and the quartiles below it."""
    return otherwise if ratio is None else Cell(text=f"{ratio.median:.2f}", note=f"{ratio.q1:.2f}-{ratio.q3:.2f}")
