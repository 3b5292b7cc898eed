"""A comparison as a table for people, a table for programs, and an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cgan_runtime.atomic import write_atomic
from PIL import Image, ImageDraw

from cgan_trainer.configs.base import RunOptions, TrainConfig
from cgan_trainer.evaluation.base import Column
from cgan_trainer.evaluation.result import Evaluation, as_text
from cgan_trainer.evaluation.table import sign_of
from cgan_trainer.families.base import Ablation, Variant

__all__ = ["Compared", "Comparison", "table", "write_report"]

_ELSEWHERE = ("l1_unit", "seed_l1")  # said twice: in the JSON only, for a table that fits a page
_CAPTION = 22  # pixels above each variant's samples


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A variant, trained and judged."""

    variant: Variant
    evaluation: Evaluation
    folder: Path


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
                "paper": dict(one.variant.published) or None,
                "evaluation": one.evaluation.to_json(),
            }
            for one in comparison.compared
        ],
    }
    write_atomic(out / f"{what}.json", json.dumps(described, indent=1, allow_nan=False) + "\n")
    header, rows = table(comparison)
    lines = [" | ".join(cells) for cells in (header, ["---", *["---:"] * (len(header) - 1)], *rows)]
    notes = "".join(f"- {note}\n" for note in comparison.compared[0].evaluation.notes)
    write_atomic(out / f"{what}.md", "\n".join(f"| {line} |" for line in lines) + f"\n\n{notes}")
    image = _samples(comparison)
    if image is not None:
        write_atomic(out / f"{what}.png", lambda stream: image.save(stream, format="PNG"))


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a variant each, then what else was judged; the paper's figures beside ours."""
    first = comparison.compared[0].evaluation
    columns = [column for column in first.columns if column.key not in _ELSEWHERE]
    titles = {column.key: column.title for column in first.columns}
    papers = [key for key in comparison.published if key in titles]
    header = ["variant", *(f"paper: {titles[key]}" for key in papers)]
    header += [f"{column.title} {sign_of(column)}".strip() for column in columns]
    lines = [
        _line(one.variant.name, one.variant.published, one.evaluation.rows[0].figures, papers, columns)
        for one in comparison.compared
    ]
    lines += [
        _line(row.name, comparison.ablation.references.get(row.name, {}), row.figures, papers, columns)
        for row in first.rows[1:]
    ]
    return header, lines


def _line(
    name: str, published: Mapping[str, float], figures: Mapping[str, Any], papers: list[str], columns: list[Column]
) -> list[str]:
    beside = [f"{published[key]:.2f}" if key in published else "–" for key in papers]  # noqa: RUF001 - as in tables
    return [name, *beside, *(as_text(column, figures.get(column.key)) for column in columns)]


def _samples(comparison: Comparison) -> Image.Image | None:
    """The newest sample grid of every variant, of the same conditions and seeds, below each other."""
    grids = []
    for one in comparison.compared:
        files = sorted((one.folder / "samples").glob("images_*.png"))
        if files:
            with Image.open(files[-1]) as opened:
                grids.append((one.variant.name, opened.convert("RGB")))
    if not grids:
        return None
    width = max(grid.width for _, grid in grids)
    image = Image.new("RGB", (width, sum(grid.height + _CAPTION for _, grid in grids)), "white")
    draw, top = ImageDraw.Draw(image), 0
    for name, grid in grids:
        draw.text((4, top + 5), name, fill="black")
        image.paste(grid, (0, top + _CAPTION))
        top += grid.height + _CAPTION
    return image
