"""Evaluations as a table: one run with its baseline and its ceiling, or several runs under each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.table import Table

from cgan_trainer.evaluation.base import Column
from cgan_trainer.evaluation.result import Evaluation, Row, as_text, columns_of

__all__ = ["ARROWS", "SIGNS", "joint_rows", "print_table", "sign_of"]

SIGNS: Final[Mapping[str, str]] = {"lower": "↓", "higher": "↑", "neither": ""}
ARROWS: Final = "↓ lower is better, ↑ higher is better."

_PIPE_WIDTH = 150  # where stdout is no terminal rich assumes 80 columns, and would cut the figures


def print_table(evaluations: Sequence[Evaluation]) -> None:
    """On stdout: for one run a measure per line, for several runs a run per line."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(_of_one(evaluations[0]) if len(evaluations) == 1 else _of_several(evaluations))


def sign_of(column: Column) -> str:
    """An arrow towards the better figures."""
    return SIGNS[column.better]


def joint_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """The generators of each run under the run's name, then the other rows, once where the images are the same."""
    names = Counter(evaluation.run for evaluation in evaluations)
    rows = [
        replace(row, name=name if len(evaluation.generators) == 1 else f"{name} {row.name}")
        for number, evaluation in enumerate(evaluations, start=1)
        for name in [_name(evaluation, number, names)]
        for row in evaluation.generators
    ]
    known: set[tuple[object, ...]] = set()
    for number, evaluation in enumerate(evaluations, start=1):
        images = (evaluation.images_sha256, evaluation.files, evaluation.direction)
        if images in known:
            continue
        suffix = f" ({_name(evaluation, number, names)})" if known else ""
        known.add(images)
        rows += [replace(row, name=f"{row.name}{suffix}") for row in evaluation.references]
    return rows


def _of_one(evaluation: Evaluation) -> Table:
    judged = f"{len(evaluation.files)} images of the {evaluation.split} split of the dataset {evaluation.dataset}"
    table = Table(title=f"Run {evaluation.run}, {evaluation.weights}: {judged}", title_justify="left")
    table.add_column("measure")
    table.add_column("")
    for row in evaluation.rows:
        table.add_column(row.name, justify="right")
    table.add_column("unit")
    for column in columns_of([evaluation]):
        figures = [as_text(column, row.figures.get(column.key)) for row in evaluation.rows]
        table.add_row(column.title, sign_of(column), *figures, column.unit)
    return table


def _of_several(evaluations: Sequence[Evaluation]) -> Table:
    rows = joint_rows(evaluations)
    columns = columns_of(evaluations)
    table = Table()
    table.add_column("run", overflow="fold")
    for column in columns:
        table.add_column(f"{column.title} {sign_of(column)}".strip(), justify="right")
    for row in rows:
        table.add_row(row.name, *(as_text(column, row.figures.get(column.key)) for column in columns))
    return table


def _name(evaluation: Evaluation, number: int, names: Counter[str]) -> str:
    return evaluation.run if names[evaluation.run] == 1 else f"{evaluation.run} #{number}"
