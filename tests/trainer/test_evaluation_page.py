"""evaluation.html: whatever kind of data was judged, one file that shows figures and images."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cgan_trainer.evaluation import PAIRED_MEASURES
from cgan_trainer.evaluation.base import Figure, columns
from cgan_trainer.evaluation.judge import Exhibit, Gallery, Role
from cgan_trainer.evaluation.page import write_page
from cgan_trainer.evaluation.result import Evaluation, Row
from PIL import Image

from tests.pages import HOSTILE, check_page

FIGURES = {
    "generator": {"l1": Figure(value=12.0, spread=3.0), "psnr": Figure(value=18.0), "ssim": Figure(value=0.4)},
    "lookup table": {"l1": Figure(value=15.0), "psnr": Figure(value=19.0)},
    "truth": {"l1": Figure(value=0.0), "psnr": Figure(value=float("inf")), "ssim": Figure(value=1.0)},
}


ROLES: dict[str, Role] = {"generator": "generator", "lookup table": "baseline", "truth": "truth"}


def evaluation(run: str = "satellite", **figures: Figure) -> Evaluation:
    """A run with a baseline and the truth."""
    rows = [Row(name=name, figures=values, role=ROLES[name]) for name, values in FIGURES.items()]
    rows[0] = replace(rows[0], figures={**FIGURES["generator"], **figures})
    return Evaluation(
        run=run,
        weights="last.pt",
        weights_sha256="0123456789abcdef" * 4,
        images=1700,
        dataset=run,
        data="data",
        split="test",
        files=("a.png", "b.png"),
        available=2,
        images_sha256="0" * 64,
        direction="AtoB",
        size=8,
        seed=0,
        seeds=2,
        rows=tuple(rows),
        columns=columns(PAIRED_MEASURES),
        notes=(f"A note on {run}.",),
    )


def gallery(text: str = "boot") -> Gallery:
    """Two rows of a colour image and a grey one."""
    colour = torch.arange(192, dtype=torch.uint8).reshape(3, 8, 8)
    grey = torch.full((1, 8, 8), 77, dtype=torch.uint8)
    rows = tuple(Exhibit(caption=(text, f"L1 {number}"), images=(colour, grey)) for number in (1, 2))
    return Gallery(headings=(f"{text} given", "seed 1"), exhibits=rows, legend=f"All {text}s.")


def test_one_run_has_its_figures_images_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    write_page(path, [(evaluation(), gallery())])
    elements = check_page(path.read_text(encoding="utf-8"))
    for words in ("after 1,700 training images", "0123456789ab…", "A note on satellite.", "All boots.", "seed 1"):
        assert words in elements.text
    assert [a["alt"] for a in elements.all("img")] == [
        "boot given: boot, L1 1", "seed 1: boot, L1 1", "boot given: boot, L1 2", "seed 1: boot, L1 2"
    ]  # fmt: skip
    shown = [
        Image.open(io.BytesIO(base64.b64decode((a["src"] or "").partition(",")[2]))) for a in elements.all("img")
    ]
    assert [image.size for image in shown] == [(8, 8)] * 4
    assert np.abs(np.asarray(shown[1].convert("L"), dtype=int) - 77).max() <= 2


def test_the_best_figure_is_bold_and_the_truth_is_no_competitor(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    write_page(path, [(evaluation(), gallery())])
    page = path.read_text(encoding="utf-8")
    assert re.findall(r'<span class="best">([^<]*)</span>', page) == ["12.00", "19.00"]
    assert "<small>± 3.00</small>" in page
    assert '<span class="quiet">∞</span>' in page
    assert "L1\N{NO-BREAK SPACE}↓" in page
    assert "PSNR\N{NO-BREAK SPACE}↑" in page
    assert "Bold is the best figure" in page
    alone = [row for row in evaluation().rows if row.name != "lookup table"]
    write_page(path, [(Evaluation(**{**vars(evaluation()), "rows": tuple(alone)}), gallery())])
    page = path.read_text(encoding="utf-8")
    assert 'class="best"' not in page
    assert "Bold" not in page, "nothing is bold, so nothing is to be explained"


def test_a_truth_that_is_no_better_is_not_bold_either(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    write_page(path, [(evaluation(l1=Figure(value=0.0)), gallery())])  # the truth's own figure
    page = path.read_text(encoding="utf-8")
    assert re.findall(r'<span class="best">([^<]*)</span>', page) == ["0.00", "19.00"]


def test_two_directions_do_not_compete(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    rows = tuple(
        Row(name=f"{name} {way}", figures={"l1": Figure(value=value)}, role=ROLES[name], group=way)
        for way, values in (("AtoB", (12.0, 30.0)), ("BtoA", (50.0, 40.0)))
        for name, value in zip(("generator", "lookup table"), values, strict=True)
    )
    write_page(path, [(replace(evaluation(), rows=rows), gallery())])
    assert re.findall(r'<span class="best">([^<]*)</span>', path.read_text(encoding="utf-8")) == ["12.00", "40.00"]


def test_several_runs_share_a_table_and_have_a_section_each(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    second = evaluation("relief", l1=Figure(value=11.0))
    write_page(path, [(evaluation(), gallery("boot")), (second, gallery("bag"))])
    page = path.read_text(encoding="utf-8")
    elements = check_page(page)
    assert re.findall(r'<th scope="row">([^<]*)</th>', page) == ["satellite", "relief", "lookup table", "truth"]
    assert page.count('<tr class="quiet">') == 2
    assert '<span class="best">11.00</span>' in page
    assert [a["id"] for a in elements.all("h2")] == ["figures-title", "run-1-title", "run-2-title"]
    assert page.index("All boots.") < page.index("A note on satellite.") < page.index("All bags.")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    write_page(path, [(evaluation(HOSTILE), gallery(HOSTILE))])
    elements = check_page(path.read_text(encoding="utf-8"))
    assert HOSTILE in elements.text
    assert len(elements.all("img")) == 4
    write_page(path, [(evaluation(HOSTILE), gallery()), (evaluation(HOSTILE), gallery(HOSTILE))])
    check_page(path.read_text(encoding="utf-8"))


def test_a_gallery_without_captions_or_rows_is_still_a_page(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    for exhibits in ((), (Exhibit(caption=(), images=(image,)),)):
        write_page(path, [(evaluation(), Gallery(headings=("made",), exhibits=exhibits, legend="Nothing."))])
        elements = check_page(path.read_text(encoding="utf-8"))
        assert [a["alt"] for a in elements.all("img")] == ["made"] * len(exhibits)


def test_the_file_of_a_row_is_told_by_its_images_and_is_no_caption(tmp_path: Path) -> None:
    path, image = tmp_path / "evaluation.html", torch.zeros(1, 2, 2, dtype=torch.uint8)
    row = Exhibit(caption=("L1 3.00", "largest, 1 of 9"), images=(image,), file="x2880_y0834.png")
    write_page(path, [(evaluation(), Gallery(headings=("condition",), exhibits=(row,), legend=""))])
    page = path.read_text(encoding="utf-8")
    assert 'alt="condition: L1 3.00, largest, 1 of 9, x2880_y0834.png" title="x2880_y0834.png"' in page
    assert "<span>L1 3.00</span><span>largest, 1 of 9</span></p>" in page
