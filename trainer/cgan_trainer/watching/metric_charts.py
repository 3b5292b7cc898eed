"""Which columns of metrics.csv go on which chart.

Columns that are known by their name have a title and a hint; a family may report others. Then the prefix tells:
`val_` is a figure on held-out data, a capital letter or word is the network whose loss it is (`G_cycle`,
`D_A_real`).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cgan_trainer.watching.charts import Chart, Series
from cgan_trainer.watching.run_data import RunRecord

__all__ = ["images_per_s", "learning_charts", "speed_charts", "validation_columns"]

_NOT_DRAWN = ("images", "epoch", "seconds")
_MOST_LINES = 4  # a chart has so many colours
_FAR_APART = 20.0  # columns whose sizes differ more get charts of their own: a small one would be a flat line


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Columns that share a chart."""

    title: str
    columns: tuple[str, ...]
    unit: str = ""
    hint: str = ""
    from_zero: bool = False
    noisy: bool = True

    def chart(self, record: RunRecord) -> Chart | None:
        """None if the run has none of the columns."""
        lines = tuple(Series(name=name, points=points) for name in self.columns if (points := record.points(name)))
        return self.with_series(lines) if lines else None

    def with_series(self, lines: tuple[Series, ...]) -> Chart:
        return Chart(
            title=self.title,
            series=lines,
            unit=self.unit,
            hint=self.hint,
            from_zero=self.from_zero,
            noisy=self.noisy,
        )


_VALIDATION = (
    _Group(
        title="Validation L1",
        columns=("val_L1",),
        unit="mean difference, values -1 to 1",
        hint="Mean absolute difference to held-out targets. It favours blur: look at the samples.",
    ),
)
_LOSSES = (
    _Group(title="L1 loss of the generator", columns=("G_L1",), unit="loss"),
    _Group(
        title="Adversarial losses",
        columns=("G_GAN", "D_real", "D_fake"),
        unit="loss",
        hint="Two networks against each other: levels matter less than a collapse.",
    ),
    _Group(title="Gradient penalty", columns=("D_GP",), unit="loss"),
)
_SCHEDULE = (_Group(title="Learning rate", columns=("lr",), unit="step size", from_zero=True, noisy=False),)
# The second name is that of older runs.
_RATE = _Group(
    title="Images per second", columns=("images_per_s", "images_per_second"), unit="images/s", from_zero=True
)
_RATE_FROM_SECONDS = replace(_RATE, columns=("seconds",), hint="From save to save, validation included.")
_STEP = _Group(
    title="Time per step",
    columns=("data_ms", "step_ms"),
    unit="ms",
    hint="While data time stays well below step time, the loader keeps up.",
    from_zero=True,
)


def learning_charts(record: RunRecord) -> list[Chart]:
    """Validation, losses and schedule; columns that are not known come after the known ones of their kind."""
    known = (*_VALIDATION, *_LOSSES, *_SCHEDULE, _RATE, _STEP)
    foreseen = {name for group in known for name in group.columns}
    others = [name for name in record.columns if name and name not in foreseen and name not in _NOT_DRAWN]
    validation = [name for name in others if name.startswith("val_")]
    losses = [name for name in others if _network(name)]
    rest = [name for name in others if name not in validation and name not in losses]
    groups = (
        *_VALIDATION,
        *(
            _Group(title=f"Validation {name.removeprefix('val_')}", columns=(name,), unit=name)
            for name in validation
        ),
        *_LOSSES,
        *_by_network(record, losses),
        *_SCHEDULE,
        *(_Group(title=name, columns=(name,), unit=name) for name in rest),
    )
    return [chart for group in groups if (chart := group.chart(record))]


def speed_charts(record: RunRecord) -> list[Chart]:
    """Throughput first, then where the time of a step goes."""
    return [chart for chart in (_rate_chart(record), _STEP.chart(record)) if chart]


def images_per_s(record: RunRecord) -> float | None:
    """The newest throughput; None before there is one."""
    chart = _rate_chart(record)
    return chart.series[0].points[-1][1] if chart else None


def validation_columns(record: RunRecord) -> list[str]:
    """The columns of figures on held-out data that have a value."""
    return [name for name in record.columns if name.startswith("val_") and record.points(name)]


def _network(column: str) -> str:
    """The network whose loss a column is: "G" of G_cycle; empty where it is no loss."""
    match = re.match(r"([A-Z][A-Za-z0-9]*)_.", column)
    return match[1] if match else ""


def _by_network(record: RunRecord, columns: Sequence[str]) -> Iterator[_Group]:
    """Losses of one network share charts, those of far different size apart."""
    for network in dict.fromkeys(map(_network, columns)):
        together = [name for name in columns if _network(name) == network and record.points(name)]
        for part in _of_like_size(record, together):
            title = f"Losses of {network}" if len(part) > 1 else part[0]
            yield _Group(title=title, columns=tuple(part), unit="loss")


def _of_like_size(record: RunRecord, columns: Sequence[str]) -> Iterator[list[str]]:
    """The columns from the largest to the smallest, cut where the sizes or the colours end."""
    sizes = {name: statistics.median(abs(value) for _, value in record.points(name)) for name in columns}
    part: list[str] = []
    for name in sorted(columns, key=lambda name: -sizes[name]):
        if part and (len(part) == _MOST_LINES or sizes[part[0]] > _FAR_APART * sizes[name] > 0):
            yield part
            part = []
        part.append(name)
    if part:
        yield part


def _rate_chart(record: RunRecord) -> Chart | None:
    return _RATE.chart(record) or _rate_from_seconds(record)


def _rate_from_seconds(record: RunRecord) -> Chart | None:
    seconds = ((0.0, 0.0), *record.points("seconds"))
    points = tuple(
        (images, (images - images_before) / (now_s - before_s))
        for (images_before, before_s), (images, now_s) in pairwise(seconds)
        if now_s > before_s and images > images_before
    )
    return _RATE_FROM_SECONDS.with_series((Series(name="images/s", points=points),)) if points else None
