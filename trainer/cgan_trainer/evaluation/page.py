"""evaluation.html: the table and the images in one file that can be mailed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cgan_runtime import pages
from cgan_runtime.pages import Cell, Mark, Table, data_uri
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from cgan_trainer.evaluation.base import Column
from cgan_trainer.evaluation.judge import Exhibit, Gallery
from cgan_trainer.evaluation.result import Evaluation, Row, as_text, columns_of
from cgan_trainer.evaluation.table import ARROWS, joint_rows, sign_of

__all__ = ["figure_cells", "heading_cell", "how_to_read", "write_page"]

_TEMPLATE: Final = Path(__file__).with_name("evaluation.html.j2")
_BEST: Final = "Bold is the best figure of a measure; the truth, which is real images, does not compete."


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One run on the page."""

    name: str
    subject: str
    legend: str
    exhibits: tuple[pages.Exhibit, ...]
    notes: tuple[str, ...]


def write_page(path: Path, judged: Sequence[tuple[Evaluation, Gallery]]) -> None:
    """One page for one run, or a joint table and then the images of several; complete or not at all.

    Args:
        path: of the page.
        judged: each run with its images; at least one.
    """
    evaluations = [evaluation for evaluation, _ in judged]
    single = evaluations[0] if len(evaluations) == 1 else None
    table = _table_of_one(single) if single else _table_of_several(evaluations)
    pages.write_page(
        path,
        _TEMPLATE,
        title=f"Evaluation of {single.run}" if single else f"{len(evaluations)} runs compared",
        kicker="cgan-train evaluate",
        single=single is not None,
        table=table,
        reading=how_to_read(table),
        judged=[_part(evaluation, gallery) for evaluation, gallery in judged],
    )


def _part(evaluation: Evaluation, gallery: Gallery) -> _Part:
    planned = "" if evaluation.planned_images is None else f" of {evaluation.planned_images:,}"
    trained = "" if evaluation.images is None else f" after {evaluation.images:,}{planned} training images"
    subject = (
        f"Weights: {evaluation.weights}{trained}, SHA-256 {evaluation.weights_sha256[:12]}…. Judged on "
        f"{evaluation.split}/ of the dataset {evaluation.dataset}."
    )
    return _Part(
        name=evaluation.run,
        subject=subject,
        legend=gallery.legend,
        exhibits=tuple(_exhibit(exhibit, gallery.headings) for exhibit in gallery.exhibits),
        notes=evaluation.notes,
    )


def _exhibit(exhibit: Exhibit, headings: tuple[str, ...]) -> pages.Exhibit:
    row = ", ".join(line for line in (*exhibit.caption, exhibit.file) if line)
    return pages.Exhibit(
        caption=exhibit.caption,
        file=exhibit.file,
        images=tuple(
            pages.CaptionedImage(uri=_uri(image), heading=heading, alt=f"{heading}: {row}" if row else heading)
            for heading, image in zip(headings, exhibit.images, strict=True)
        ),
    )


def _uri(image: UInt8[Tensor, "c h w"]) -> str:
    pixels = image.permute(1, 2, 0).numpy()
    return data_uri(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))


def _table_of_one(evaluation: Evaluation) -> Table:
    """A measure per row; a column for everything that was judged."""
    rows = evaluation.rows
    columns = columns_of([evaluation])
    return Table(
        heads=("measure", *(row.name for row in rows)),
        rows=tuple((heading_cell(column), *figure_cells(column, rows)) for column in columns),
    )


def _table_of_several(evaluations: Sequence[Evaluation]) -> Table:
    """A run per row, then the baselines and the truth; a column for every measure."""
    rows = joint_rows(evaluations)
    columns = columns_of(evaluations)
    by_column = [figure_cells(column, rows) for column in columns]
    return Table(
        heads=("run", *map(heading_cell, columns)),
        rows=tuple((row.name, *(cells[number] for cells in by_column)) for number, row in enumerate(rows)),
        quiet=frozenset(number for number, row in enumerate(rows) if row.role != "generator"),
    )


def heading_cell(column: Column) -> Cell:
    """The title of a measure with its arrow, and its unit below."""
    return Cell(text=f"{column.title}\N{NO-BREAK SPACE}{sign_of(column)}".rstrip(), note=column.unit)


def figure_cells(column: Column, rows: Sequence[Row]) -> list[Cell]:
    """The figures of one measure, the best of each group marked."""
    best = {
        group: _best(column, [row for row in rows if row.group == group]) for group in {row.group for row in rows}
    }
    cells = []
    for row in rows:
        figure = row.figures.get(column.key)
        is_best = figure is not None and figure.value == best[row.group] and not _is_truth(row)
        text, _, spread = as_text(column, figure).partition(" ± ")
        mark: Mark = "best" if is_best else "quiet" if _is_truth(row) else ""
        cells.append(Cell(text=text, mark=mark, note=f"± {spread}" if spread else ""))
    return cells


def _best(column: Column, rows: Sequence[Row]) -> float | None:
    """The best figure that something other than the truth reached; None where there is nothing to choose from."""
    values = [row.figures[column.key].value for row in rows if column.key in row.figures and not _is_truth(row)]
    if len(values) < 2 or column.better == "neither":
        return None
    return min(values) if column.better == "lower" else max(values)


def _is_truth(row: Row) -> bool:
    return row.role == "truth"


def how_to_read(table: Table) -> str:
    """What arrows and bold figures mean, where the table has them."""
    cells = [cell for row in table.rows for cell in row if isinstance(cell, Cell)]
    return f"{ARROWS} {_BEST}" if any(cell.mark == "best" for cell in cells) else ARROWS
