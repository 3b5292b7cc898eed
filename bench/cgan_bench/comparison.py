"""A result beside an earlier one: is a row slower than it was?

Two runs are two states of a machine, or two machines, so times are not compared. What is compared is the ratio of a
row to the reference row of its own run: change = ratio now / ratio then, above 1 is faster. Its interval is that of
the bootstrap: the rounds of each run are drawn with replacement, a pair of times each, and the middle 95 % of the
quotients of medians are kept (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.pages import Cell, Table

__all__ = ["Change", "Comparison", "Earlier", "read_result"]

RESAMPLES: Final = 2000
MIN_ROUNDS: Final = 6
MACHINE: Final = ("cpu", "cores")
MOST_NAMED: Final = 3
VERDICTS: Final = ("slower", "faster", "no change shown", "not compared")

Result = Mapping[str, Any]
Key = tuple[str, int]  # backend, which names the precision too, and batch


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row then and now.

    Attributes:
        title: of the row.
        batch: rows of an inference.
        then: ratio to the reference row in the earlier result.
        now: the same in the new one.
        change: now / then; all three are None where a row is missing or a run gave no ratio.
        interval: of 95 %; None where a run has fewer than six rounds, or was not decided.
        reason: why there is no interval, or no row.
    """

    title: str
    batch: int
    then: float | None = None
    now: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """Whether the interval shows a change, and which."""
        if self.interval is None:
            return "not compared"
        low, high = self.interval
        return "faster" if low > 1 else "slower" if high < 1 else "no change shown"

    @property
    def words(self) -> str:
        """The row with its change, or why it has none: ``a at batch 1 (0.833, 0.820-0.846)``."""
        interval = self.interval and f"{self.change:.3f}, {self.interval[0]:.3f}-{self.interval[1]:.3f}"
        return f"{self.title} at batch {self.batch} ({interval or self.reason})"

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, with the verdict."""
        return {
            "title": self.title,
            "batch": self.batch,
            "ratio_then": self.then,
            "ratio_now": self.now,
            "change": self.change,
            "interval_95": self.interval and list(self.interval),
            "verdict": self.verdict,
            "reason": self.reason,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A result beside an earlier one.

    Attributes:
        with_what: the earlier file.
        date: when it was measured.
        changes: one for each row of the earlier result that is not a reference.
        fail_under: smallest lower end of an interval; None: nothing is required.
        notes: what must be said.
    """

    details: ClassVar[frozenset[str]] = frozenset({"then", "now"})
    """Heads of the columns that only the page shows: the others fit 80 columns."""

    with_what: str
    date: str
    changes: tuple[Change, ...]
    fail_under: float | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {
            "with": self.with_what,
            "date": self.date,
            "fail_under": self.fail_under,
            "changes": [change.to_json() for change in self.changes],
            "notes": list(self.notes),
            "complaint": self.complaint,
        }

    @property
    def complaint(self) -> str:
        """One sentence where something does not reach `fail_under`; else empty."""
        faults = "; ".join(self._faults())
        return (
            f"not shown to be {self.fail_under:g} times as fast as in {self.with_what}: {faults}." if faults else ""
        )

    @property
    def title(self) -> str:
        """What it is beside."""
        date = self.date.replace("T", " ").replace("+00:00", " UTC")
        return f"change since {self.with_what} ({date}), relative to the reference row"

    @property
    def verdict(self) -> str:
        """What became of the rows, in one sentence without its full stop; of many the number and an example."""
        found = ((verdict, [one for one in self.changes if one.verdict == verdict]) for verdict in VERDICTS)
        told = (f"{verdict}: {_some(those)}" for verdict, those in found if those)
        return f"since {self.with_what}, relative to the reference row: {'; '.join(told)}"

    @property
    def table(self) -> Table:
        """One row per row of the earlier result; heads that are in `details` are for the page."""
        faults = set(self._faults())
        return Table(
            heads=("backend", "batch", "then", "now", "change", "95 %", "verdict"),
            rows=tuple(
                (
                    Cell(text=one.title, mark="bad" if _fault(one, self.fail_under) in faults else ""),
                    str(one.batch),
                    *("-" if value is None else f"{value:.2f}" for value in (one.then, one.now)),
                    "-" if one.change is None else f"{one.change:.3f}",
                    "-" if one.interval is None else f"{one.interval[0]:.3f}-{one.interval[1]:.3f}",
                    one.reason or one.verdict,
                )
                for one in self.changes
            ),
        )

    def _faults(self) -> Iterator[str]:
        if self.fail_under is not None:
            yield from filter(None, (_fault(change, self.fail_under) for change in self.changes))


def read_result(path: Path) -> Result:
    """An earlier ``--out`` file.

    Raises:
        BadInputError: it is not there, or not the result of an inference measurement of this release.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        kind = (result["tool"], result["measured"])
        reference, size, date = result["reference"], result["size"], result["environment"]["date"]
        rows = [(row["backend"], row["batch"], row["title"], *_times(row)) for row in result["rows"]]
    except FileNotFoundError as error:
        raise BadInputError(f"{path} does not exist; give a file that cgan-bench wrote with --out.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError(f"{path} is no result of cgan-bench; give a file that it wrote with --out.") from error
    del size, date
    if kind != ("cgan-bench", "inference") or not isinstance(reference, dict) or not rows:
        raise BadInputError(
            f"{path} is no measurement of inference on the CPU; give a file that --out wrote of one."
        )
    if "timed" not in result:
        raise BadInputError(f"{path} is of an earlier release, whose times leave the noise out; measure again.")
    return dict(result)


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An earlier result to compare with.

    Attributes:
        path: where it was read.
        result: as `read_result` gave it.
        fail_under: see `Comparison`.
    """

    path: Path
    result: Result
    fail_under: float | None

    def require_same_model(self, *, model: str, size: str | None) -> None:
        """Refuse a result of something else, before anything is measured.

        Raises:
            UsageError: another model or another size of the images.
        """
        for what, then, now in (("model", self.result.get("model"), model), ("size", self.result["size"], size)):
            if then != now:
                raise UsageError(
                    f"--compare {self.path} has another {what} ({then}) than what is measured ({now})."
                )

    def beside(self, now: Result) -> Comparison:
        """Each row of it beside the same row of a result of now.

        Raises:
            UsageError: a batch of both has another reference row, or they have no batch or no row to compare.
        """
        then = self.result
        batches = [batch for batch in then["reference"] if batch in now["reference"]]
        for batch in batches:
            if (theirs := then["reference"][batch]) != (ours := now["reference"][batch]):
                raise UsageError(
                    f"--compare {self.path} is relative to the row {theirs} at batch {batch}, this one to {ours}: "
                    "measure with the same rows, so that both have the reference."
                )
        old, new = _rows(then), _rows(now)
        compared = [key for key in old if then["reference"].get(str(key[1])) != key[0]]
        if not batches or not compared:
            raise UsageError(
                f"--compare {self.path} and this result share no row but the reference; add --checkpoint to both."
            )
        notes = []
        machines = [" with ".join(str(one["environment"].get(name)) for name in MACHINE) for one in (then, now)]
        if machines[0] != machines[1]:
            notes.append(
                f"Another machine ({machines[0]} cores, now {machines[1]}): each row is taken relative to the "
                "reference row of its own machine."
            )
        return Comparison(
            with_what=str(self.path),
            date=str(then["environment"]["date"]),
            changes=tuple(_change(key, old, new, then, now) for key in compared),
            fail_under=self.fail_under,
            notes=tuple(notes),
        )


def _some(changes: Sequence[Change]) -> str:
    """All of a few rows with one verdict; of many their number, and the one that changed most."""
    if len(changes) <= MOST_NAMED:
        return ", ".join(one.words for one in changes)
    most = max(changes, key=lambda one: abs(math.log(one.change or 1.0)))
    changed = most.verdict in ("slower", "faster")
    return f"{len(changes)} rows" + (f", above all {most.words}" if changed else "")


def _change(key: Key, old: dict[Key, Any], new: dict[Key, Any], then: Result, now: Result) -> Change:
    batch = key[1]
    title = str(old[key]["title"])
    row = partial(Change, title=title, batch=batch)
    if key not in new:
        return row(reason="not in this result")
    pairs = [
        np.divide(_times(rows[result["reference"][str(batch)], batch]), _times(rows[key]))
        for rows, result in ((old, then), (new, now))
    ]
    before, after = (float(np.median(ratios)) for ratios in pairs)
    known = partial(row, then=before, now=after, change=after / before)
    if not new[key].get("valid", True):
        return known(reason="INVALID")
    for rows, when in ((old, "then"), (new, "now")):
        if rows[key].get("verdict") == "noisy":
            return row(reason=f"NOISY {when}")
        if len(rows[key]["latencies_ms"]) < MIN_ROUNDS:
            return known(reason=f"fewer than {MIN_ROUNDS} rounds {when}")
    return known(interval=_bootstrap(*pairs))


def _bootstrap(then: npt.NDArray[np.float64], now: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95 % of the quotients of resampled medians."""
    draw = np.random.default_rng(0)
    quotients = [
        np.median(now[draw.integers(len(now), size=len(now))])
        / np.median(then[draw.integers(len(then), size=len(then))])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(quotients, (2.5, 97.5))
    return float(low), float(high)


def _fault(change: Change, fail_under: float | None) -> str:
    where = f"{change.title} at batch {change.batch}"
    if fail_under is None:
        return ""
    if change.interval is None:
        return f"{where} ({change.reason})"
    low, high = change.interval
    return "" if low >= fail_under else f"{where} ({low:.3f}-{high:.3f})"


def _rows(result: Result) -> dict[Key, Any]:
    return {(row["backend"], row["batch"]): row for row in result["rows"]}


def _times(row: Mapping[str, Any]) -> list[float]:
    """The latencies of a row.

    Raises:
        ValueError: there are none, or they are no times.
    """
    times = [float(value) for value in row["latencies_ms"]]
    if not times or not all(math.isfinite(value) and value > 0 for value in times):
        raise ValueError("no times")
    return times
