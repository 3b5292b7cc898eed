"""What an evaluation found, as a value: `evaluation.json` is its JSON form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cgan_trainer.evaluation.base import Column, Figure
from cgan_trainer.evaluation.judge import Row

__all__ = ["Evaluation", "Row", "as_text", "columns_of"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One checkpoint judged on one split: where both come from, and the findings of `Judged`.

    Attributes:
        run: name of the run folder.
        weights: file the generators came from.
        weights_sha256: of that file.
        images: training images the generators have seen.
        planned_images: of the whole run; None where they have seen all, or an older version did not say.
        stopped_by: why the run ended before: "time limit", "interruption"; None where that is not known.
        dataset: its name.
        data: its folder.
        split: "test" or "val".
        files: names of the images judged, in order.
        available: how many the split has.
        images_sha256: over every image of the split and its name; equal digests may be compared.
        direction: "AtoB" or "BtoA" of data that has two sides and a generator for one way; None for other data.
        size: side of the images in pixels.
        seed: of every draw.
        seeds: images drawn per condition.
        rows: the generators first.
        columns: of the figures, in the order of the table.
        notes: what a reader must know, a sentence each.
        each: for some figures, their value per image, by key; in the order of `files`.
    """

    run: str
    weights: str
    weights_sha256: str
    images: int | None
    dataset: str
    data: str
    split: str
    files: tuple[str, ...]
    available: int
    images_sha256: str
    direction: str | None
    size: int
    seed: int
    seeds: int
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    each: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    planned_images: int | None = None
    stopped_by: str | None = None

    def row(self, name: str) -> Row:
        """Raises KeyError where no row is called that."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def generators(self) -> tuple[Row, ...]:
        """The rows of generators: one, or one per graph."""
        return tuple(row for row in self.rows if row.role == "generator")

    @property
    def references(self) -> tuple[Row, ...]:
        """The other rows: baselines and the truth."""
        return tuple(row for row in self.rows if row.role != "generator")

    def to_json(self) -> dict[str, Any]:
        """Plain values. A figure that is infinite (the PSNR of equal images) is the string "inf".

        The names are those of version 1, which knew pairs only. "pictures" is one of them: programs and saved
        evaluations use it. `direction` is absent where data has none; `planned_images` and `stopped_by` of the
        weights are absent where they are None.
        """
        direction = {} if self.direction is None else {"direction": self.direction}
        return {
            "format": "cgan-deploy-evaluation",
            "version": 1,
            "run": self.run,
            "weights": {
                "file": self.weights,
                "sha256": self.weights_sha256,
                "images": self.images,
                **({} if self.planned_images is None else {"planned_images": self.planned_images}),
                **({} if self.stopped_by is None else {"stopped_by": self.stopped_by}),
            },
            "data": {
                "name": self.dataset,
                "folder": self.data,
                "split": self.split,
                "pictures": len(self.files),
                "available": self.available,
                "sha256": self.images_sha256,
                **direction,
                "size": self.size,
            },
            "seed": self.seed,
            "seeds": self.seeds,
            "measures": [
                {
                    "key": column.key,
                    "title": column.title,
                    "unit": column.unit,
                    "better": column.better,
                    "source": column.source,
                }
                for column in self.columns
            ],
            "rows": [
                {
                    "name": row.name,
                    "role": row.role,
                    "figures": {key: _figure(figure) for key, figure in row.figures.items()},
                }
                for row in self.rows
            ],
            "pictures": [
                {"file": file, **{key: _plain(values[index]) for key, values in self.each.items()}}
                for index, file in enumerate(self.files)
            ],
            "notes": list(self.notes),
        }


def columns_of(evaluations: Iterable[Evaluation]) -> list[Column]:
    """The columns that at least one row has a figure for, in the order of the table; each key once."""
    found: dict[str, Column] = {}
    for evaluation in evaluations:
        for column in evaluation.columns:
            if any(column.key in row.figures for row in evaluation.rows):
                found.setdefault(column.key, column)
    return list(found.values())


def as_text(column: Column, figure: Figure | None) -> str:
    """A figure as it stands in a table; an en dash where there is none."""
    if figure is None:
        return "–"  # noqa: RUF001 - the typographer's sign for nothing
    if math.isinf(figure.value):
        return "∞" if figure.value > 0 else "-∞"
    text = f"{figure.value:.{column.decimals}f}"
    return text if figure.spread is None else f"{text} ± {figure.spread:.{column.decimals}f}"


def _figure(figure: Figure) -> dict[str, Any]:
    plain = {"value": _plain(figure.value)}
    return plain if figure.spread is None else {**plain, "spread": _plain(figure.spread)}


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
