"""What a run leaves behind, and how a later command finds it again.

config.json   resolved options       samples/      a grid per save
metrics.csv   a row per save         last.pt       everything, to go on from or to export
                                     best.pt       the graphs with the best validation figure
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cgan_runtime.atomic import sweep_leftovers, write_atomic
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.progress import note
from PIL.Image import Image

from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.configs.base import RunOptions, TrainConfig
from cgan_trainer.families.base import Recipe

__all__ = ["RunFolder", "metric_columns"]


def metric_columns(recipe: Recipe[Any, Any]) -> tuple[str, ...]:
    """The header of metrics.csv: where the run stands, losses, validation, speed."""
    timings = ("images_per_s", "data_ms", "step_ms", "seconds")
    return ("images", "epoch", "lr", *recipe.loss_names, *recipe.validation, *timings)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint of the newest state."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The best generator so far."""
        return self.path / "best.pt"

    @property
    def metrics(self) -> Path:
        """The training log."""
        return self.path / "metrics.csv"

    @property
    def began(self) -> bool:
        """Whether a run was begun here: `begin` writes config.json first."""
        return (self.path / "config.json").is_file()

    def find_last(self, *, resume: bool) -> Checkpoint | None:
        """The state to go on from, None to start fresh.

        Raises:
            UsageError: a run is already there and `resume` was not asked for; or it was, and none is there;
                or there are files that a run would replace and that no run wrote.
            BadInputError: last.pt cannot be used.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file: choose a folder as --out.")
        if not self.last.exists():
            if resume and not self.began:
                raise UsageError(
                    f"--resume: there is no run in {self.path}{self._near()}: name the folder of a run as --out, "
                    "or leave --resume out to begin one."
                )
            self._require_no_strangers()
            if resume:
                note(f"{self.path} was interrupted before its first save: starting from the first image.")
            return None
        if not resume:
            raise UsageError(
                f"{self.path} already holds a run: go on with it by --resume, or choose another --out."
            )
        last = read_checkpoint(self.last)
        if last.training is None:
            raise BadInputError(f"{self.last} holds a generator only, nothing to go on from: choose another --out.")
        return last

    def begin(
        self, config: TrainConfig, run: RunOptions, facts: Mapping[str, Any], columns: tuple[str, ...]
    ) -> None:
        """Make the folder, write config.json, and forget metrics rows after the images that `facts` names.

        Args:
            config: what decides the weights.
            run: the rest.
            facts: what else config.json says: "images", "threads", "total_images", "grid", "best".
            columns: the header of metrics.csv.
        """
        (self.path / "samples").mkdir(parents=True, exist_ok=True)
        sweep_leftovers(self.path)
        defaults = {f.name: f.default for f in fields(config)}
        said = {name: value for name, value in facts.items() if name != "images"}
        self._write_config(
            {"family": config.family, **asdict(config), "data": str(run.data), **said, "defaults": defaults}
        )
        self._write_rows([row for row in self._rows() if int(row["images"]) <= facts["images"]], columns)

    def _require_no_strangers(self) -> None:
        """Refuse a folder with files of a run's names where no run began: they would be replaced."""
        taken = [file for file in (self.path / "config.json", self.metrics, self.best) if file.exists()]
        try:
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            config = None
        if taken and not (isinstance(config, dict) and {"family", "data"} <= config.keys()):
            raise UsageError(f"{taken[0]} is not of a training and would be replaced: choose another --out.")

    def mark_stopped(self, how: Mapping[str, object]) -> None:
        """Say in config.json that the run ended early, until `begin` writes it again: "by", "images", rates."""
        config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        self._write_config({**config, "stopped": dict(how)})

    def add_row(self, row: Mapping[str, object]) -> None:
        """Append to metrics.csv; one short write, so a reader never sees half a row."""
        with self.metrics.open("a", newline="", encoding="utf-8") as stream:
            stream.write(_csv([row], tuple(row), header=False))

    def add_sample(self, images: int, grid: Image) -> None:
        """Write samples/images_00001000.png."""
        path = self.path / "samples" / f"images_{images:08d}.png"
        write_atomic(path, lambda stream: grid.save(stream, format="PNG"))

    def _near(self) -> str:
        """The run beside this folder that was probably meant, for a message."""
        beside = [path.parent.name for path in self.path.absolute().parent.glob("*/last.pt")]
        close = difflib.get_close_matches(self.path.name, beside, n=1)
        return f" (did you mean {self.path.parent / close[0]}?)" if close else ""

    def _write_config(self, values: Mapping[str, object]) -> None:
        write_atomic(self.path / "config.json", json.dumps(values, indent=2) + "\n")

    def _rows(self) -> list[dict[str, Any]]:
        if not self.metrics.exists():
            return []
        # A power failure may cut a row short, or leave bytes of no text: such a row has no figures worth keeping.
        with self.metrics.open(newline="", encoding="utf-8", errors="replace") as stream:
            try:
                rows = list(csv.DictReader(stream))
            except csv.Error as error:
                raise BadInputError(f"{self.metrics} is damaged ({error}): move it away, and resume.") from error
        return [row for row in rows if (row.get("images") or "").isdecimal() and row.get("seconds")]

    def _write_rows(self, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
        older = {"images_per_second": "images_per_s"}
        named = [{older.get(name, name): value for name, value in row.items()} for row in rows]
        write_atomic(self.metrics, _csv(named, columns, header=True))


def _csv(rows: list[Any], columns: tuple[str, ...], *, header: bool) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
