"""A comparison as a table for people, a table for programs, and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from cgan_runtime.atomic import write_atomic
from PIL import Image

from cgan_trainer.ablation.variants import Variant, What
from cgan_trainer.data.pairs import load_pairs
from cgan_trainer.evaluation.result import Evaluation, as_text, columns_of
from cgan_trainer.evaluation.run_reader import read_run
from cgan_trainer.evaluation.sampling import generate_images
from cgan_trainer.evaluation.table import sign_of
from cgan_trainer.training.config import Pix2pixConfig, RunOptions
from cgan_trainer.training.validation import spread_rows

__all__ = ["Compared", "table", "write_report"]

_PAPER = ("pixel", "class", "IoU")
_PICTURES = 4
_ELSEWHERE = ("l1_unit", "seed_l1")  # said twice: in the JSON only, for a table that fits a page


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A variant, trained and judged."""

    variant: Variant
    evaluation: Evaluation
    folder: Path


def write_report(
    out: Path, what: What, compared: Sequence[Compared], config: Pix2pixConfig, run: RunOptions
) -> None:
    """Write losses.json, losses.md and losses.png (or patch..., ...) into `out`, each complete or not at all."""
    first = compared[0].evaluation
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
                "paper": None if one.variant.paper is None else dict(zip(_PAPER, one.variant.paper, strict=True)),
                "evaluation": one.evaluation.to_json(),
            }
            for one in compared
        ],
    }
    text = json.dumps(described, indent=1, allow_nan=False) + "\n"
    write_atomic(out / f"{what}.json", text)
    header, rows = table(compared)
    lines = [" | ".join(cells) for cells in (header, ["---", *["---:"] * (len(header) - 1)], *rows)]
    notes = "".join(f"- {note}\n" for note in first.notes)
    markdown = "\n".join(f"| {line} |" for line in lines) + f"\n\n{notes}"
    write_atomic(out / f"{what}.md", markdown)
    picture = _pictures(compared, run)
    write_atomic(out / f"{what}.png", lambda stream: picture.save(stream, format="PNG"))


def table(compared: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a variant each, then the lookup table and the truth; the paper's FCN-scores beside ours."""
    evaluations = [one.evaluation for one in compared]
    found = columns_of(evaluations)
    columns = [column for column in found if column.key not in _ELSEWHERE]
    papers = any(one.variant.paper for one in compared)
    header = ["variant", *([f"paper: {name}" for name in _PAPER] if papers else [])]
    header += [f"{column.title} {sign_of(column)}".strip() for column in columns]

    def line(name: str, paper: tuple[float, ...] | None, figures: Any) -> list[str]:
        beside = [f"{value:.2f}" for value in paper] if paper else ["–"] * len(_PAPER)  # noqa: RUF001 - as in tables
        return [
            name,
            *(beside if papers else []),
            *(as_text(column, figures.get(column.key)) for column in columns),
        ]

    rows = [line(one.variant.name, one.variant.paper, one.evaluation.row("generator").figures) for one in compared]
    first = compared[0].evaluation
    ceiling = (0.80, 0.26, 0.21) if papers else None  # of the paper's tables of labels -> photo
    references = [row for row in first.rows if row.name != "generator"]
    rows += [line(row.name, ceiling if row.name == "truth" else None, row.figures) for row in references]
    return header, rows


def _pictures(compared: Sequence[Compared], run: RunOptions) -> Image.Image:
    """Rows: held-out pairs. Columns: condition, one picture of each variant, target."""
    read = read_run(compared[0].folder)
    pairs = load_pairs(run.data, compared[0].evaluation.split, read.size, modes=read.modes)
    conditions, targets = (pairs.a, pairs.b) if read.direction == "AtoB" else (pairs.b, pairs.a)
    rows = spread_rows(len(conditions), _PICTURES)
    columns = [conditions[rows]]
    for one in compared:
        made = read_run(one.folder)
        given = {made.generator.contract.conditions[0].name: conditions}
        columns.append(generate_images(made.generator, given, rows, seed=made.seed, seeds=1)[:, 0])
    columns.append(targets[rows])
    grid = torch.cat([column.expand(-1, 3, -1, -1) for column in columns], dim=-1)
    return Image.fromarray(torch.cat(list(grid), dim=-2).permute(1, 2, 0).numpy())
