"""WHAT.html of a comparison: its budget, our figures beside the paper's, samples of every variant, the commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cgan_runtime import pages
from cgan_runtime.pages import Cell, Table, readable_time

from cgan_trainer.ablation.report import Comparison, references_of, shown_columns
from cgan_trainer.configs.base import RunOptions, TrainConfig, command_line
from cgan_trainer.evaluation.page import figure_cells, heading_cell
from cgan_trainer.evaluation.result import Row
from cgan_trainer.evaluation.table import ARROWS
from cgan_trainer.watching.run_data import read_record
from cgan_trainer.watching.samples import Frame, Headings, frames, headings

__all__ = ["write_page"]

_TEMPLATE: Final = Path(__file__).with_name("ablation.html.j2")


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A variant on the page: its name, its newest samples with their headings, and the page of its run."""

    name: str
    frame: Frame | None
    headings: Headings
    link: str


def write_page(
    path: Path, what: str, comparison: Comparison, config: TrainConfig, run: RunOptions, *, images: int | None
) -> None:
    """Write the page, complete or not at all.

    Args:
        path: of the page; the run folders lie below its folder.
        what: the comparison.
        comparison: every variant, trained and judged.
        config: what they have in common.
        run: data, and the folder of the comparison.
        images: judged on at most so many; None: all.
    """
    first = comparison.compared[0].evaluation
    pages.write_page(
        path,
        _TEMPLATE,
        title=f"Comparison: {what}",
        kicker=f"cgan-train ablate {config.family}",
        budget=_budget(comparison),
        table=_table(comparison),
        reading=f"{ARROWS} Bold is the best variant.",
        source=comparison.ablation.source,
        notes=first.notes,
        parts_of_page=[_part(path.parent, one.variant.name, one.folder) for one in comparison.compared],
        picture=path.with_suffix(".png").name,
        again=_command(what, config, run, images),
        own=_quoted("cgan-export", str(comparison.compared[0].folder / "last.pt")),
    )


def _budget(comparison: Comparison) -> list[tuple[str, str, str]]:
    """(name, figure, what stands below it): what every variant was given."""
    evaluation, count = comparison.compared[0].evaluation, len(comparison.compared)
    seconds = [one.seconds for one in comparison.compared]
    figures = [
        ("variants", f"{count}", "trained from the same seed"),
        ("images per variant", f"{evaluation.images or 0:,}", "training images seen"),
        ("size", f"{evaluation.size} px", ""),
        ("data", evaluation.dataset, f"judged on {len(evaluation.files):,} images of {evaluation.split}/"),
    ]
    if any(seconds):
        beside = f"per variant, {readable_time(sum(seconds))} in all"
        figures.append(("training time", readable_time(sum(seconds) / count), beside))
    return figures


def _table(comparison: Comparison) -> Table:
    """A variant per row, then the baselines and the truth; the paper's figures stand before ours."""
    columns = shown_columns(comparison)
    titles = {column.key: column.title for column in columns}
    papers = [key for key in comparison.published if key in titles]
    references = references_of(comparison)
    rows = [
        Row(name=one.variant.name, figures=one.evaluation.rows[0].figures, role="generator")
        for one in comparison.compared
    ] + [replace(row, group="references") for row in references]  # the best variant is marked, not the baseline
    found = [one.variant.published for one in comparison.compared]
    found += [comparison.ablation.references.get(row.name, {}) for row in references]
    by_column = [figure_cells(column, rows) for column in columns]
    beside = [[_paper(one.get(key)) for one in found] for key in papers]
    return Table(
        heads=("variant", *(Cell(text=titles[key], note="paper") for key in papers), *map(heading_cell, columns)),
        rows=tuple(
            (row.name, *(cells[at] for cells in beside), *(cells[at] for cells in by_column))
            for at, row in enumerate(rows)
        ),
        quiet=frozenset(range(len(comparison.compared), len(rows))),
    )


def _paper(value: float | None) -> Cell:
    return Cell(text="–" if value is None else f"{value:.2f}", mark="quiet")  # noqa: RUF001 - as in tables


def _part(root: Path, name: str, folder: Path) -> _Part:
    record = read_record(folder)
    names = headings(record.config)
    shown = frames(record.samples[-1:], names)
    return _Part(
        name=name,
        frame=shown[-1] if shown else None,
        headings=names,
        link=(folder / "index.html").relative_to(root).as_posix(),
    )


def _command(what: str, config: TrainConfig, run: RunOptions, images: int | None) -> tuple[str, ...]:
    """The command that trains and judges all of it, quoted words."""
    _, *words = shlex.split(command_line(config, run, resume=False))
    judged = [] if images is None else ["--images-judged", str(images)]
    return _quoted("cgan-train", "ablate", words[0], "--what", what, *words[1:], *judged)


def _quoted(*words: str) -> tuple[str, ...]:
    return tuple(map(shlex.quote, words))
