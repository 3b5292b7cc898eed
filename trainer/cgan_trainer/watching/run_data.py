"""Read a run folder. A file that is missing, empty or half-written does not stop the others from being read."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Best", "RunRecord", "read_record"]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The state of the best validation figure: its name, its value, where it was, and what speaks against it."""

    metric: str
    value: float
    images: int
    lowest: bool
    caution: str


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run as its folder tells it."""

    path: Path
    config: Mapping[str, object]
    """The options in config.json."""
    rows: tuple[Mapping[str, float], ...]
    """metrics.csv, in the order of images; what is empty or no number is left out."""
    columns: tuple[str, ...]
    """The header of metrics.csv."""
    samples: tuple[tuple[int, Path], ...]
    """(images, grid), in the order of images."""
    evaluation: object
    """evaluation.json, None without."""
    problems: tuple[str, ...]
    """What could not be read, in sentences."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.absolute().name or "run"

    @property
    def images(self) -> int:
        """Images seen: at the last row of metrics.csv, or where the run was stopped after it."""
        logged = self.rows[-1]["images"] if self.rows else 0
        return int(max(logged, _number(self.stopped.get("images")) or 0))

    @property
    def stopped(self) -> Mapping[str, object]:
        """How a run was ended early: "by", "images", "lr", "last_lr"; empty: it was not, or goes on again."""
        told = self.config.get("stopped")
        return told if isinstance(told, dict) else {}

    @property
    def best(self) -> Best | None:
        """What best.pt holds; None where no figure decides it, or an older version did not say which."""
        told = self.config.get("best")
        if not isinstance(told, dict):
            return None
        metric = str(told.get("metric"))
        pick = max if told.get("better") == "higher" else min
        points = self.points(metric)
        if not points:
            return None
        images, value = pick(points, key=lambda point: point[1])
        caution = str(told.get("caution") or "")
        return Best(metric=metric, value=value, images=int(images), lowest=pick is min, caution=caution)

    @property
    def total(self) -> int | None:
        """Images the whole run is to see, None while that cannot be told."""
        for key in ("total_images", "images"):
            if (given := _number(self.config.get(key))) is not None:
                return int(given)
        epochs = _number(self.config.get("epochs"))
        last = self.rows[-1] if self.rows else {}
        if epochs is None or not last.get("epoch"):
            return None
        # metrics.csv rounds epochs, so the size of the training set comes out of their ratio to the nearest whole.
        per_epoch = round(last["images"] / last["epoch"])
        return int((epochs + (_number(self.config.get("epochs_decay")) or 0)) * per_epoch)

    @property
    def complete(self) -> bool:
        """Whether every image has been seen."""
        return self.total is not None and self.images >= self.total > 0

    def points(self, column: str) -> tuple[tuple[float, float], ...]:
        """(images, value) of a column, where the value is finite."""
        rows = (row for row in self.rows if column in row)
        return tuple((row["images"], row[column]) for row in rows if math.isfinite(row[column]))


def read_record(run: Path) -> RunRecord:
    """Read the folder; nothing in it is needed, and nothing in it is changed."""
    problems: list[str] = []
    config = _json(run / "config.json", problems)
    columns, rows = _metrics(run / "metrics.csv", problems)
    broken = sorted({name for row in rows for name, value in row.items() if not math.isfinite(value)})
    if broken:
        problems.append(f"{', '.join(broken)}: not a finite number in some rows of metrics.csv.")
    return RunRecord(
        path=run,
        config=config if isinstance(config, dict) else {},
        rows=rows,
        columns=columns,
        samples=tuple(_samples(run / "samples")),
        evaluation=_json(run / "evaluation.json", problems),
        problems=tuple(problems),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        problems.append(f"{path.name} cannot be read.")
        return ""


def _json(path: Path, problems: list[str]) -> object:
    text = _text(path, problems)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        problems.append(f"{path.name} is not valid JSON.")
        return None


def _metrics(path: Path, problems: list[str]) -> tuple[tuple[str, ...], tuple[Mapping[str, float], ...]]:
    text = _text(path, problems)
    # What follows the last line break was being written: its last number may have lost digits.
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    try:
        lines = list(reader)
        columns = tuple(reader.fieldnames or ())
    except csv.Error:
        problems.append(f"{path.name} is not valid CSV.")
        return (), ()
    rows = {}
    for line in lines:
        values = {name: float(text) for name, text in line.items() if _is_float(text)}
        if math.isfinite(values.get("images", math.nan)):
            rows[values["images"]] = values
    return columns, tuple(rows[images] for images in sorted(rows))


def _is_float(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _samples(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"images_(\d{1,15})\.png", path.name), path) for path in folder.glob("images_*.png")]
    return sorted((int(match[1]), path) for match, path in found if match)
