"""Which columns of metrics.csv go on which chart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from cgan_trainer.watching.charts import Chart, Series
from cgan_trainer.watching.run_data import RunRecord

__all__ = ["images_per_second", "learning_charts", "speed_charts"]

_NOT_DRAWN = ("images", "epoch", "seconds")


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Columns that share a chart."""

    title: str
    columns: tuple[str, ...]
    hint: str = ""
    from_zero: bool = False
    noisy: bool = True

    def chart(self, record: RunRecord) -> Chart | None:
        """None if the run has none of the columns."""
        lines = tuple(Series(name=name, points=points) for name in self.columns if (points := record.points(name)))
        return self.with_series(lines) if lines else None

    def with_series(self, lines: tuple[Series, ...]) -> Chart:
        return Chart(title=self.title, series=lines, hint=self.hint, from_zero=self.from_zero, noisy=self.noisy)


_LEARNING = (
    _Group(
        title="Validation L1",
        columns=("val_L1",),
        hint="Mean absolute difference to held-out targets. It favours blur: look at the samples.",
    ),
    _Group(title="L1 loss of the generator", columns=("G_L1",)),
    _Group(
        title="Adversarial losses",
        columns=("G_GAN", "D_real", "D_fake"),
        hint="Two networks against each other: levels matter less than a collapse.",
    ),
    _Group(title="Gradient penalty", columns=("D_GP",)),
    _Group(title="Learning rate", columns=("lr",), from_zero=True, noisy=False),
)
_RATE = _Group(title="Images per second", columns=("images_per_second",), from_zero=True)
_RATE_FROM_SECONDS = _Group(
    title=_RATE.title, columns=("seconds",), hint="From save to save, validation included.", from_zero=True
)
_STEP = _Group(
    title="Milliseconds per step",
    columns=("data_ms", "step_ms"),
    hint="While data time stays well below step time, the loader keeps up.",
    from_zero=True,
)


def learning_charts(record: RunRecord) -> list[Chart]:
    """Losses, validation and schedule; columns nobody foresaw get a chart of their own."""
    foreseen = {name for group in (*_LEARNING, _RATE, _STEP) for name in group.columns}
    others = [name for name in record.columns if name and name not in foreseen and name not in _NOT_DRAWN]
    groups = (*_LEARNING, *(_Group(title=name, columns=(name,)) for name in others))
    return [chart for group in groups if (chart := group.chart(record))]


def speed_charts(record: RunRecord) -> list[Chart]:
    """Throughput first, then where the time of a step goes."""
    return [chart for chart in (_rate_chart(record), _STEP.chart(record)) if chart]


def images_per_second(record: RunRecord) -> float | None:
    """The newest throughput."""
    chart = _rate_chart(record)
    return chart.series[0].points[-1][1] if chart else None


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
