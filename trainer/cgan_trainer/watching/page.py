"""index.html of a run: one file that shows where it stands, from its folder alone.

Nothing is loaded from anywhere: images are data URIs, charts are inline SVG, and the page's own policy forbids the
browser to fetch. It can be mailed. Without scripts everything is there; with them the slider moves.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cgan_runtime import pages
from cgan_runtime.pages import readable, readable_time

from cgan_trainer.watching.charts import draw
from cgan_trainer.watching.metric_charts import images_per_s, learning_charts, speed_charts, validation_columns
from cgan_trainer.watching.run_data import RunRecord, read_record
from cgan_trainer.watching.samples import frames, headings
from cgan_trainer.watching.tables import (
    differing_options,
    evaluation_notes,
    evaluation_tables,
    flatten,
    metrics_table,
    options_table,
)

__all__ = ["write_page"]

_TEMPLATE: Final = Path(__file__).with_name("run.html.j2")
_NO_OPTIONS: Final = ("family", "data", "total_images", "defaults", "grid")  # of config.json, beside the options
_LOWER_IS_BETTER: Final = ("val_L1",)


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command to copy: what it is for, and its words, quoted."""

    purpose: str
    words: tuple[str, ...]


def write_page(run: Path) -> Path:
    """Write RUN/index.html, atomically; the same folder gives the same bytes.

    Args:
        run: an existing folder; what is there of config.json, metrics.csv, samples/ and evaluation.json is shown.

    Returns:
        The page.
    """
    record = read_record(run)
    names = headings(record.config)
    defaults = _mapping(record.config.get("defaults"))
    options = {name: value for name, value in record.config.items() if name not in ("defaults", "grid")}
    path = run / "index.html"
    pages.write_page(
        path,
        _TEMPLATE,
        title=record.name,
        kicker=f"cgan-train {_family(record)}",
        record=record,
        status=_status(record),
        share=min(record.images / record.total, 1.0) if record.total else None,
        figures=_key_figures(record),
        headings=names,
        frames=[(frame, frame.path.relative_to(run).as_posix()) for frame in frames(record.samples, names)],
        evaluation=evaluation_tables(record.evaluation) if record.evaluation is not None else [],
        evaluation_notes=evaluation_notes(record.evaluation),
        evaluation_page=(run / "evaluation.html").exists(),
        learning=[draw(chart) for chart in learning_charts(record)],
        speed=[draw(chart) for chart in speed_charts(record)],
        metrics=metrics_table(record),
        commands=_commands(record, defaults),
        options=options_table(options),
        count=len(flatten(options)),
        has_defaults=bool(defaults),
        differing=differing_options(options, defaults),
    )
    return path


def _family(record: RunRecord) -> str:
    """The family; the first runs did not record it, because only pix2pix existed."""
    return str(record.config.get("family", "pix2pix" if record.config else "run"))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _status(record: RunRecord) -> tuple[str, str]:
    """Where the run stands, and its colour."""
    if record.complete:
        return "complete", "ok"
    if not record.rows:
        return "waiting for the first figures", "open"
    return f"{record.images / record.total:.0%} done" if record.total else "not complete", "open"


def _key_figures(record: RunRecord) -> list[tuple[str, str, str]]:
    """(name, figure, what stands below it)."""
    total, last = record.total, record.rows[-1] if record.rows else {}
    figures = [("images seen", f"{record.images:,}", f"of {total:,}" if total else "")]
    if "epoch" in last:
        figures.append(("epoch", f"{last['epoch']:.2f}", ""))
    figures += [_validation(record, column) for column in validation_columns(record)]
    if rate := images_per_s(record):
        figures.append(("images per second", f"{rate:.3g}", ""))
    if seconds := last.get("seconds", 0.0):
        # A run that was stopped looks from its folder as one that goes on: the sentence must be true of both.
        rest = readable_time(seconds / record.images * (total - record.images)) if total and record.images else ""
        beside = f"the rest takes about {rest}" if rest and not record.complete else ""
        figures.append(("training time", readable_time(seconds), beside))
    return figures


def _validation(record: RunRecord, column: str) -> tuple[str, str, str]:
    points = record.points(column)
    low, high = (pick(points, key=lambda point: point[1]) for pick in (min, max))
    if len(points) < 2:
        beside = ""
    elif column in _LOWER_IS_BETTER:
        beside = f"best {readable(low[1])} at {low[0]:,.0f}"
    else:
        beside = f"from {readable(low[1])} to {readable(high[1])} so far"
    return f"validation {column.removeprefix('val_')}", readable(points[-1][1]), beside


def _commands(record: RunRecord, defaults: Mapping[str, object]) -> list[_Command]:
    """What can be done with the run now."""
    run = record.path
    best = "best.pt" if (run / "best.pt").exists() or not (run / "last.pt").exists() else "last.pt"
    wanted = []
    if record.config.get("data") and not record.complete:
        wanted.append(("Go on with the run", _resume(record, defaults)))
    if record.evaluation is None:
        wanted.append(("Evaluate on held-out images", ["cgan-train", "evaluate", str(run)]))
    elif _is_outdated(record):
        wanted.append(("Evaluate again: the run has gone on since", ["cgan-train", "evaluate", str(run)]))
    wanted.append(("Export, to run it anywhere", ["cgan-export", str(run / best)]))
    if (run / "tensorboard").is_dir():
        wanted.append(("Look closer with TensorBoard", ["tensorboard", "--logdir", str(run / "tensorboard")]))
    return [_Command(purpose=says, words=tuple(map(shlex.quote, words))) for says, words in wanted]


def _is_outdated(record: RunRecord) -> bool:
    """Whether the newest weights were judged, and there are newer ones now."""
    weights = _mapping(_mapping(record.evaluation).get("weights"))
    images = weights.get("images")
    return weights.get("file") == "last.pt" and isinstance(images, int) and images < record.images


def _resume(record: RunRecord, defaults: Mapping[str, object]) -> list[str]:
    """The command that takes the run up again: what differs from the defaults has to be said again."""
    config = record.config
    words = ["cgan-train", _family(record), "--data", str(config.get("data")), "--out", str(record.path)]
    named = (*defaults, "threads") if defaults else tuple(name for name in config if name not in _NO_OPTIONS)
    for name, value in config.items():
        if name not in named or value is None or (name in defaults and value == defaults[name]):
            continue
        for option, plain in flatten({name: value}).items():
            flag = option.replace("_", "-")
            values = plain if isinstance(plain, list | tuple) else [plain]
            for one in values:
                words += (
                    [f"--{flag}" if one else f"--no-{flag}"] if isinstance(one, bool) else [f"--{flag}", str(one)]
                )
    return [*words, "--resume"]
