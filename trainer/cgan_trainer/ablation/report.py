"""A comparison as a table for people, a table for programs, and an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cgan_runtime.atomic import write_atomic
from PIL import Image

from cgan_trainer.ablation.image import Samples, samples_image
from cgan_trainer.configs.base import RunOptions, TrainConfig
from cgan_trainer.evaluation.base import Column
from cgan_trainer.evaluation.result import Evaluation, Row, as_text, columns_of
from cgan_trainer.evaluation.table import sign_of
from cgan_trainer.families.base import Ablation, Variant
from cgan_trainer.watching.run_data import read_record
from cgan_trainer.watching.samples import headings

__all__ = ["Compared", "Comparison", "references_of", "shown_columns", "table", "write_report"]

_ELSEWHERE = ("l1_unit", "seed_l1")  # said twice: in the JSON only, for a table that fits a page


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A variant, trained and judged."""

    variant: Variant
    evaluation: Evaluation
    folder: Path

    @property
    def seconds(self) -> float:
        """Training time; 0 where metrics.csv does not say it."""
        rows = read_record(self.folder).rows
        return rows[-1].get("seconds", 0.0) if rows else 0.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every variant of an ablation."""

    ablation: Ablation
    compared: tuple[Compared, ...]

    @property
    def dataset(self) -> str:
        """What all were judged on."""
        return self.compared[0].evaluation.dataset

    @property
    def published(self) -> list[str]:
        """Keys of the columns that the paper has figures for, in its order."""
        found: dict[str, None] = {}
        for variant in self.ablation.variants:
            found |= dict.fromkeys(variant.published)
        return list(found)


def write_report(out: Path, what: str, comparison: Comparison, config: TrainConfig, run: RunOptions) -> None:
    """Write losses.json, losses.md and losses.png (or patch..., ...) into `out`, each complete or not at all."""
    described: dict[str, Any] = {
        "format": "cgan-deploy-ablation",
        "version": 1,
        "what": what,
        "data": str(run.data),
        "config": asdict(config),
        "variants": [
            {
                "name": one.variant.name,
                "changes": dict(one.variant.changes),
                "minutes": round(one.seconds / 60, 2),
                "paper": dict(one.variant.published) or None,
                "evaluation": one.evaluation.to_json(),
            }
            for one in comparison.compared
        ],
    }
    write_atomic(out / f"{what}.json", json.dumps(described, indent=1, allow_nan=False) + "\n")
    header, rows = table(comparison)
    lines = [" | ".join(cells) for cells in (header, ["---", *["---:"] * (len(header) - 1)], *rows)]
    said = (comparison.ablation.source, *comparison.compared[0].evaluation.notes)
    notes = "".join(f"- {note}\n" for note in said if note)
    write_atomic(out / f"{what}.md", "\n".join(f"| {line} |" for line in lines) + f"\n\n{notes}")
    image = samples_image(_samples(comparison))
    if image is not None:
        write_atomic(out / f"{what}.png", lambda stream: image.save(stream, format="PNG"))


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a variant each, then what else was judged; the paper's figures beside ours."""
    columns = shown_columns(comparison)
    titles = {column.key: column.title for column in columns}
    papers = [key for key in comparison.published if key in titles]
    header = ["variant", *(f"paper: {titles[key]}" for key in papers)]
    header += [f"{column.title} {sign_of(column)}".strip() for column in columns]
    lines = [
        _line(one.variant.name, one.variant.published, one.evaluation.rows[0].figures, papers, columns)
        for one in comparison.compared
    ]
    lines += [
        _line(row.name, comparison.ablation.references.get(row.name, {}), row.figures, papers, columns)
        for row in references_of(comparison)
    ]
    return header, lines


def shown_columns(comparison: Comparison) -> list[Column]:
    """The columns that a variant or the paper has a figure for, without those that are said twice."""
    measured = {column.key for column in columns_of(one.evaluation for one in comparison.compared)}
    wanted = measured.union(comparison.published).difference(_ELSEWHERE)
    return [column for column in comparison.compared[0].evaluation.columns if column.key in wanted]


def references_of(comparison: Comparison) -> list[Row]:
    """What else was judged, once: baselines and the truth."""
    return list(comparison.compared[0].evaluation.rows[1:])


def _line(
    name: str, published: Mapping[str, float], figures: Mapping[str, Any], papers: list[str], columns: list[Column]
) -> list[str]:
    beside = [f"{published[key]:.2f}" if key in published else "–" for key in papers]  # noqa: RUF001 - as in tables
    return [name, *beside, *(as_text(column, figures.get(column.key)) for column in columns)]


def _samples(comparison: Comparison) -> list[Samples]:
    """The newest sample grid of every variant, of the same conditions and seeds."""
    found = []
    for one in comparison.compared:
        record = read_record(one.folder)
        if record.samples:
            with Image.open(record.samples[-1][1]) as opened:
                found.append((one.variant.name, opened.convert("RGB"), headings(record.config)))
    return found
