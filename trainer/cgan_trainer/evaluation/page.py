"""evaluation.html: the table and the pictures in one file that can be mailed."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from cgan_runtime.atomic import write_atomic
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from cgan_trainer.evaluation.base import Column
from cgan_trainer.evaluation.judge import Exhibit, Gallery
from cgan_trainer.evaluation.result import Evaluation, Row, as_text, columns_of
from cgan_trainer.evaluation.table import joint_rows, sign_of

__all__ = ["write_page"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1220px; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; margin-bottom: .3rem }
table { border-collapse: collapse }
td, th { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
.figures { font-variant-numeric: tabular-nums } .figures td { white-space: nowrap }
.number { text-align: right } .best { font-weight: 700 } .reference { color: #666; font-style: italic }
.wide { overflow-x: auto } .wide td, .wide th { padding: .35rem .5rem; font-size: .92rem }
.pictures td { padding: 3px; border: 0; vertical-align: middle } .pictures th { border: 0; text-align: center }
.pictures img { width: 144px; height: 144px; display: block }
.small { color: #666; font-size: .9rem } ul { padding-left: 1.2rem }
"""


def write_page(path: Path, judged: Sequence[tuple[Evaluation, Gallery]]) -> None:
    """One page for one run, or a joint table and then the pictures of several; complete or not at all."""
    evaluations = [evaluation for evaluation, _ in judged]
    single = evaluations[0] if len(evaluations) == 1 else None
    title = f"{single.run} on {single.dataset}" if single else f"{len(evaluations)} runs compared"
    body = [f"<h1>{html.escape(title)}</h1>"]
    if single:
        body += [f'<p class="small">{html.escape(_subject(single))}</p>', _table_of_one(single)]
    else:
        body.append(_table_of_several(evaluations))
    for evaluation, gallery in judged:
        heading = "Pictures" if single else evaluation.run
        body += [f"<h2>{html.escape(heading)}</h2>"]
        body += [] if single else [f'<p class="small">{html.escape(_subject(evaluation))}</p>']
        body += [_legend(gallery), _pictures(gallery), _notes(evaluation)]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )
    write_atomic(path, page)


def _subject(evaluation: Evaluation) -> str:
    trained = "" if evaluation.images is None else f" after {evaluation.images} training images"
    direction = "" if evaluation.direction is None else f"{evaluation.direction}, "
    return (
        f"{evaluation.weights}{trained} (SHA-256 {evaluation.weights_sha256[:12]}…), {direction}"
        f"{evaluation.size}x{evaluation.size}, on {len(evaluation.files)} of {evaluation.available} pictures of "
        f"{evaluation.dataset}, {evaluation.split}."
    )


def _table_of_one(evaluation: Evaluation) -> str:
    heads = ["measure", *(row.name for row in evaluation.rows), "unit"]
    lines = ["<tr>" + "".join(f"<th>{html.escape(head)}</th>" for head in heads) + "</tr>"]
    for column in columns_of([evaluation]):
        best = _best(column, evaluation.rows)
        cells = "".join(_cell(column, row, best) for row in evaluation.rows)
        lines.append(f"<tr><td>{_title(column)}</td>{cells}<td>{html.escape(column.unit)}</td></tr>")
    return f'<table class="figures">{"".join(lines)}</table>'


def _table_of_several(evaluations: Sequence[Evaluation]) -> str:
    rows = joint_rows(evaluations)
    columns = columns_of(evaluations)
    lines = ["<tr><th>run</th>" + "".join(f"<th>{_title(column)}</th>" for column in columns) + "</tr>"]
    best = {column.key: _best(column, rows) for column in columns}
    for number, row in enumerate(rows):
        cells = "".join(_cell(column, row, best[column.key]) for column in columns)
        reference = ' class="reference"' if number >= len(evaluations) else ""
        lines.append(f"<tr{reference}><td>{html.escape(row.name)}</td>{cells}</tr>")
    return f'<div class="wide"><table class="figures">{"".join(lines)}</table></div>'


def _title(column: Column) -> str:
    return f"{html.escape(column.title)}&nbsp;{sign_of(column)}"


def _best(column: Column, rows: Sequence[Row]) -> float | None:
    """The best figure that something other than the truth reached; None where there is nothing to choose from."""
    values = [row.figures[column.key].value for row in rows if column.key in row.figures and row.role != "truth"]
    if len(values) < 2 or column.better == "neither":
        return None
    return min(values) if column.better == "lower" else max(values)


def _cell(column: Column, row: Row, best: float | None) -> str:
    figure = row.figures.get(column.key)
    is_best = figure is not None and figure.value == best and row.role != "truth"
    style = "number best" if is_best else "number reference" if row.role == "truth" else "number"
    return f'<td class="{style}">{as_text(column, figure)}</td>'


def _legend(gallery: Gallery) -> str:
    return f"<p>{html.escape(gallery.legend)}</p>"


def _pictures(gallery: Gallery) -> str:
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in gallery.headings)
    lines = [f"<tr><th></th>{heads}</tr>", *(_picture_row(exhibit) for exhibit in gallery.exhibits)]
    return f'<div class="wide"><table class="pictures">{"".join(lines)}</table></div>'


def _picture_row(exhibit: Exhibit) -> str:
    cells = "".join(f"<td>{_image(pixels, exhibit.caption[-1])}</td>" for pixels in exhibit.images)
    return f'<tr><td class="small">{"<br>".join(map(html.escape, exhibit.caption))}</td>{cells}</tr>'


def _image(pixels: UInt8[Tensor, "c h w"], name: str) -> str:
    grid = pixels.permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(grid[:, :, 0] if grid.shape[2] == 1 else grid).save(stream, format="WEBP", quality=88)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/webp;base64,{data}">'


def _notes(evaluation: Evaluation) -> str:
    return '<ul class="small">' + "".join(f"<li>{html.escape(note)}</li>" for note in evaluation.notes) + "</ul>"
