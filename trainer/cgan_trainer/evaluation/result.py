"""What an evaluation found, as a value: `evaluation.json` is its JSON form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cgan_trainer.evaluation import COLUMNS, MEASURES
from cgan_trainer.evaluation.base import Column, Figure

__all__ = ["Evaluation", "Row", "as_text", "columns_of"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was judged: "generator", "lookup table" or "truth"."""

    name: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One generator on one test set.

    Attributes:
        run: name of the run folder.
        weights: file the generator came from.
        weights_sha256: of that file.
        images: training images the generator has seen.
        dataset: its name.
        data: its folder.
        split: "test" or "val".
        files: the pictures judged, in order.
        available: how many the split has.
        pictures_sha256: over every picture of the split and its name; equal digests may be compared.
        direction: "AtoB" or "BtoA".
        size: side of the pictures in pixels.
        seed: of every draw.
        seeds: pictures drawn per condition for diversity.
        rows: the generator first.
        notes: what a reader must know, a sentence each.
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
    pictures_sha256: str
    direction: str
    size: int
    seed: int
    seeds: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def row(self, name: str) -> Row:
        """Raises KeyError where no row is called that."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Plain values. A figure that is infinite (the PSNR of equal pictures) is the string "inf"."""
        each = self.rows[0].figures
        return {
            "format": "cgan-deploy-evaluation",
            "version": 1,
            "run": self.run,
            "weights": {"file": self.weights, "sha256": self.weights_sha256, "images": self.images},
            "data": {
                "name": self.dataset,
                "folder": self.data,
                "split": self.split,
                "pictures": len(self.files),
                "available": self.available,
                "sha256": self.pictures_sha256,
                "direction": self.direction,
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
                    "source": measure.source,
                }
                for measure in MEASURES
                for column in measure.columns
            ],
            "rows": [
                {"name": row.name, "figures": {key: _figure(figure) for key, figure in row.figures.items()}}
                for row in self.rows
            ],
            "pictures": [
                {"file": file, **{key: _plain(each[key].each[index]) for key in ("l1", "psnr", "ssim")}}
                for index, file in enumerate(self.files)
            ],
            "notes": list(self.notes),
        }


def columns_of(rows: tuple[Row, ...] | list[Row]) -> list[Column]:
    """The columns that at least one row has a figure for, in the order of the table."""
    return [column for key, column in COLUMNS.items() if any(key in row.figures for row in rows)]


def as_text(column: Column, figure: Figure | None) -> str:
    """A figure as it stands in a table; an en dash where there is none."""
    if figure is None:
        return "–"  # noqa: RUF001 - the typographer's sign for nothing
    if math.isinf(figure.value):
        return "∞"
    text = f"{figure.value:.{column.decimals}f}"
    return text if figure.spread is None else f"{text} ± {figure.spread:.{column.decimals}f}"


def _figure(figure: Figure) -> dict[str, Any]:
    plain = {"value": _plain(figure.value)}
    return plain if figure.spread is None else {**plain, "spread": _plain(figure.spread)}


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
