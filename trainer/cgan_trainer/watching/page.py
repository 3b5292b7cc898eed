"""index.html of a run: one file that shows where it stands, from its folder alone.

Nothing is loaded from anywhere: images are data URIs, charts are inline SVG, and the page's own policy forbids the
browser to fetch. It can be mailed. Without scripts everything is there; with them the slider moves.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cgan_runtime import pages
from cgan_runtime.pages import readable, readable_time

from cgan_trainer.evaluation.table import ARROWS
from cgan_trainer.unfinished import REASONS
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

__all__ = ["about_weights", "write_page"]

_TEMPLATE: Final = Path(__file__).with_name("run.html.j2")
# What config.json holds beside the options.
_NO_OPTIONS: Final = ("family", "data", "total_images", "defaults", "grid", "best", "stopped")
_NOT_SHOWN: Final = ("defaults", "grid", "best", "stopped")


@dataclass(frozen=True, kw_only=True)
class _Command:
    """A command to copy: what it is for, and its words, quoted."""

    purpose: str
    words: tuple[str, ...]
    note: str = ""


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
    options = {name: value for name, value in record.config.items() if name not in _NOT_SHOWN}
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
        stopped=_stopped(record),
        resume=_quoted(_resume(record, defaults)) if record.stopped and not record.complete else (),
        headings=names,
        frames=[(frame, frame.path.relative_to(run).as_posix()) for frame in frames(record.samples, names)],
        evaluation=evaluation_tables(record.evaluation) if record.evaluation is not None else [],
        evaluation_notes=evaluation_notes(record.evaluation),
        evaluated=_evaluated(record),
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
    share = f"{record.images / record.total:.0%}" if record.total else ""
    if record.stopped:
        return f"stopped at {share}" if share else "stopped", "open"
    if not record.rows:
        return "waiting for the first figures", "open"
    return f"{share} done" if share else "not complete", "open"


def _stopped(record: RunRecord) -> str:
    """Why the run ended early, and how far its schedule was; empty where it did not."""
    if not record.stopped or record.complete:
        return ""
    why = REASONS.get(str(record.stopped.get("by")), "stopped")
    said = f"This run was {why} at {record.images:,} of {record.total or 0:,} images"
    rate, last = record.stopped.get("lr"), record.stopped.get("last_lr")
    if isinstance(rate, int | float) and isinstance(last, int | float) and abs(rate - last) > 0.01 * abs(rate):
        end = f"{last:.2g}" if last > 0.01 * rate else "0"
        said += f": the learning rate had not reached its end (it was {rate:.2g}, and ends at {end})"
    return f"{said}. To go on:"


def about_weights(record: RunRecord) -> str:
    """Why last.pt, and what best.pt is where that is another state; empty where nothing is to be chosen."""
    best = record.best
    if best is None or not record.rows or best.images >= record.images:
        return ""
    newest = "the weights that the schedule ended on" if record.complete else "the newest weights"
    return " ".join(
        (
            f"last.pt has {newest}. best.pt has those with the {'lowest' if best.lowest else 'highest'}",
            f"{best.metric} ({readable(best.value)}, after {best.images:,} images).",
            best.caution,
        )
    ).strip()


def _evaluated(record: RunRecord) -> str:
    """Which weights the evaluation judged, and on what."""
    weights, data = (_mapping(_mapping(record.evaluation).get(name)) for name in ("weights", "data"))
    images, judged = weights.get("images"), data.get("pictures")
    if not isinstance(images, int) or not isinstance(judged, int):
        return ""
    said = f"{weights.get('file')} after {images:,} images, judged on {judged:,} images of {data.get('split')}/."
    return f"{said} {ARROWS}"


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
        # A run that was killed looks from its folder as one that goes on: the sentence must be true of both.
        rest = readable_time(seconds / last["images"] * (total - record.images)) if total else ""
        beside = f"the rest takes about {rest}" if rest and not record.complete else ""
        figures.append(("training time", readable_time(seconds), beside))
    return figures


def _validation(record: RunRecord, column: str) -> tuple[str, str, str]:
    points = record.points(column)
    low, high = (pick(points, key=lambda point: point[1]) for pick in (min, max))
    if len(points) < 2:
        beside = ""
    elif record.best is not None and record.best.metric == column:
        beside = f"best {readable(record.best.value)} at {record.best.images:,}"
    else:
        beside = f"from {readable(low[1])} to {readable(high[1])}"
    return f"validation {column.removeprefix('val_')}", readable(points[-1][1]), beside


def _commands(record: RunRecord, defaults: Mapping[str, object]) -> list[_Command]:
    """What can be done with the run now."""
    run = record.path
    wanted = []
    if record.config.get("data") and not record.complete and not record.stopped:
        wanted.append(("Go on with the run after an interruption", _resume(record, defaults), ""))
    saved = (run / "last.pt").exists()
    if saved and record.evaluation is None:
        wanted.append(("Evaluate on held-out images", ["cgan-train", "evaluate", str(run)], ""))
    elif saved and _is_outdated(record):
        wanted.append(("Evaluate again: the run has gone on since", ["cgan-train", "evaluate", str(run)], ""))
    if saved:
        export = ["cgan-export", str(run / "last.pt")]
        wanted.append(("Export, to run it anywhere", export, about_weights(record)))
    if (run / "tensorboard").is_dir():
        wanted.append(("Look closer with TensorBoard", ["tensorboard", "--logdir", str(run / "tensorboard")], ""))
    return [_Command(purpose=says, words=_quoted(words), note=note) for says, words, note in wanted]


def _quoted(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(shlex.quote, words))


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
                if isinstance(one, bool):
                    words.append(f"--{flag}" if one else f"--no-{flag}")
                elif isinstance(one, str) and one.startswith("-"):  # alone it would be taken for an option
                    words.append(f"--{flag}={one}")
                else:
                    words += [f"--{flag}", str(one)]
    return [*words, "--resume"]
