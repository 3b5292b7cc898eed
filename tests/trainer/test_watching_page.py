"""index.html of a run: one file, valid, harmless and small, whatever the folder holds."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from cgan_trainer.watching import samples
from cgan_trainer.watching.page import write_page
from cgan_trainer.watching.samples import spread
from PIL import Image

from tests.pages import HOSTILE
from tests.trainer.run_pages import ABSENT, HEADER, ROWS, check, draw_grid, make_run


def test_a_run_is_shown_with_samples_curves_commands_and_options(tmp_path: Path) -> None:
    page, elements = check(make_run(tmp_path / "satellite", ngf=32, images=1500))
    assert "http://" not in page
    assert "https://" not in page
    assert "complete" in elements.text
    assert "cgan-train toy" in elements.text
    assert len(elements.all("svg")) == 4  # validation, L1, adversarial, throughput
    assert len([a for a in elements.all("img") if a["alt"]]) == 3
    assert len(elements.all("input")) == 1
    assert "best 0.1596 at 1,000" in elements.text
    differing = page[page.index("this run") : page.index("<details", page.index("this run"))]
    assert "ngf" in differing
    assert "ndf" not in differing
    assert not list((tmp_path / "satellite").glob(".*"))


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    first = write_page(run).read_bytes()
    samples._encoded.cache_clear()
    time.sleep(0.01)
    assert write_page(run).read_bytes() == first


def test_the_total_comes_from_epochs_when_no_number_of_images_was_asked_for(tmp_path: Path) -> None:
    _, elements = check(make_run(tmp_path / "run", epochs=100, epochs_decay=100, images=None))
    assert "of 49,000" in elements.text  # 245 pairs, though metrics.csv rounds the epochs
    assert "3% done" in elements.text


@pytest.mark.parametrize("name", ["a" + HOSTILE.replace("/", "\\"), "sp ace", "ünïcode-\N{SNOWMAN}"])
def test_hostile_names_stay_text(tmp_path: Path, name: str) -> None:
    run = make_run(
        tmp_path / name, data=HOSTILE, metrics=ROWS.replace("val_L1", 'c"><svg onload=alert(1)>'), family=HOSTILE
    )
    (run / "evaluation.json").write_text(
        json.dumps({HOSTILE: HOSTILE, "rows": [{HOSTILE: HOSTILE}], "n": {HOSTILE: 1}})
    )
    page, elements = check(run)
    assert name in elements.text
    assert HOSTILE in elements.text
    assert page.count("<script>") == 1
    assert "http://x.example" in page  # as text only: `check` looked at every element


@pytest.mark.parametrize(
    "metrics",
    [
        None,
        "",
        "images",
        HEADER,
        HEADER + "500,2.0",
        HEADER + "500,,,,,,,\n",
        HEADER + "x,y\n\n,,,\n",
        "\x00\xff\n1,2\n",
    ],
)
def test_a_page_without_metrics(tmp_path: Path, metrics: str | None) -> None:
    _, elements = check(make_run(tmp_path / "run", metrics=metrics, grids=0))
    assert "No samples yet" in elements.text


def test_a_page_of_an_empty_folder(tmp_path: Path) -> None:
    _, elements = check(tmp_path)
    assert "waiting for the first figures" in elements.text


def test_a_half_written_row_is_not_shown(tmp_path: Path) -> None:
    """14.129 cut to 14.1 would look like a value."""
    _, whole = check(make_run(tmp_path / "whole"))
    _, cut = check(make_run(tmp_path / "cut", metrics=ROWS + "2000,8.1,1.2,14.1"))
    assert whole.all("polyline") == cut.all("polyline")


def test_a_run_with_l1_only_has_no_adversarial_chart(tmp_path: Path) -> None:
    _, elements = check(make_run(tmp_path / "run", metrics=HEADER + "500,2.0,,19.0,,,0.16,66.9\n"))
    assert "Adversarial" not in elements.text
    assert "L1 loss" in elements.text


@pytest.mark.parametrize("rate", ["images_per_s", "images_per_second"])
def test_further_columns_are_drawn_and_values_that_are_no_numbers_are_told(tmp_path: Path, rate: str) -> None:
    header, *rows = ROWS.splitlines()
    more = [f"{header},lr,{rate},data_ms,step_ms,temperature"]
    more += [f"{row},0.0002,7.5,2,130,{value}" for row, value in zip(rows, ("41", "nan", "43"), strict=True)]
    _, elements = check(make_run(tmp_path / "run", metrics="\n".join(more) + "\n"))
    for title in ("Learning rate", "Images per second", "Time per step", "temperature"):
        assert title in elements.text
    assert "temperature: not a finite number" in elements.text
    assert elements.text.count("images/s") == 1
    assert "images per second7.5" in elements.text


def test_columns_of_another_family_are_drawn_by_their_prefix(tmp_path: Path) -> None:
    """Losses of one network share a chart, but none that is a flat line beside a much larger one."""
    names = ("G_cycle", "G_idt", "G_tiny", "D_A_real", "E_z", "val_accuracy", "val_frechet", "beta")
    lines = [",".join(("images", *names))]
    lines += [f"{x},{12 - x},{6 - x},{0.01 * x},0.5,{x},0.{x},{100 - x},{x}" for x in (1, 2, 3)]
    page, elements = check(make_run(tmp_path / "run", metrics="\n".join(lines) + "\n"))
    titles = re.findall(r"<figcaption>([^<]*)</figcaption>\n<ul", page)
    assert titles == [
        "Validation accuracy", "Validation frechet", "Losses of G", "G_tiny", "D_A_real", "E_z", "beta"
    ]  # fmt: skip
    assert "validation accuracy0.3from 0.1 to 0.3" in elements.text
    svgs = page.split("<svg ")[1:]
    assert [svg.count("<polyline") for svg in svgs] == [1, 1, 2, 1, 1, 1, 1]
    assert ["loss</text>" in svg for svg in svgs] == [False, False, True, True, True, True, False]


def test_a_chart_has_no_more_lines_than_colours(tmp_path: Path) -> None:
    names = [f"G_{number}" for number in range(9)]
    lines = [",".join(("images", *names)), *(",".join(map(str, [x, *range(1, 10)])) for x in (1, 2))]
    page, _ = check(make_run(tmp_path / "run", metrics="\n".join(lines) + "\n"))
    assert [svg.count("<polyline") for svg in page.split("<svg ")[1:]] == [4, 4, 1]


def test_one_save_is_figures_and_not_curves(tmp_path: Path) -> None:
    page, elements = check(make_run(tmp_path / "run", metrics=HEADER + "500,2.0,1.3,19.0,0.53,0.51,0.1616,66.9\n"))
    assert elements.all("svg") == []
    assert "val_L1 <b>0.1616</b>" in page
    assert elements.text.count("a curve needs two saves") == 4


def test_the_headings_of_the_grid_are_those_of_the_config(tmp_path: Path) -> None:
    grid = {"columns": ["A", "A to B <b>"], "rows": ["boot", "bag", "shirt"]}
    run = make_run(tmp_path / "run", grids=0, grid=grid)
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:16, 32:] = 200  # the second cell of the first row: the first that was made
    Image.fromarray(pixels).save(run / "samples" / "images_00000500.png")
    page, elements = check(run)
    assert re.findall(r"<span>([^<]*)</span>", page.split('class="columns"')[1].split("</div>")[0]) == [
        "A", "A to B &lt;b&gt;"
    ]  # fmt: skip
    assert re.findall(r"<span>([^<]*)</span>", page.split('class="sides"')[1].split("</div>")[0]) == grid["rows"]
    (image,) = [a for a in elements.all("img") if a["alt"]]
    assert image["alt"] == "Rows: boot, bag, shirt. Columns: A, A to B <b>. After 500 images."
    (frame,) = samples.frames([(500, run / "samples" / "images_00000500.png")], samples.headings({"grid": grid}))
    stored = Image.open(io.BytesIO(base64.b64decode(frame.thumbnail.partition(",")[2])))
    assert np.asarray(stored).min() > 150


@pytest.mark.parametrize("grid", [ABSENT, None, 3, {}, {"columns": []}, {"columns": "ab"}, {"rows": ["x"]}])
def test_a_run_without_headings_is_one_of_the_first_family(tmp_path: Path, grid: object) -> None:
    page, elements = check(make_run(tmp_path / "run", grid=grid, family=ABSENT))
    assert "cgan-train pix2pix" in elements.text
    assert page.count("<span>seed 3</span>") == 3
    assert 'class="sides"' not in page


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3", "null", '"x"', "[" * 100_000])
def test_other_files_may_be_broken(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text(text)
    (run / "evaluation.json").write_text(text)
    (run / "samples" / "images_00000500.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (run / "samples" / "images_00001000.png").write_bytes(b"")
    _, elements = check(run)
    assert len([a for a in elements.all("img") if a["alt"]]) == 1


@pytest.mark.slow
def test_200_samples_of_noise_fit_in_the_budget(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", grids=0)
    draw_grid(run, 500, cell=256)  # noise is the worst an image can do to a JPEG
    for number in range(2, 201):
        (run / "samples" / f"images_{500 * number:08d}.png").hardlink_to(run / "samples" / "images_00000500.png")
    page, elements = check(run)
    assert len(page) < 4_200_000
    shown = [a["id"] for a in elements.all("figure") if "id" in a]
    assert shown[0] == "images-100000"
    assert shown[-1] == "images-500"


def test_a_save_is_quick_once_the_earlier_samples_are_known(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", grids=24)
    write_page(run)
    draw_grid(run, 24 * 500 + 500)
    began_s = time.process_time()
    write_page(run)
    assert time.process_time() - began_s < 0.5


def test_thinning_keeps_the_ends_and_what_was_kept_before() -> None:
    before: set[int] = set()
    for count in range(1, 300):
        kept = spread(range(count), 12)
        assert kept[0] == 0
        assert kept[-1] == count - 1
        assert len(kept) <= 12
        assert len(kept) == count or len(kept) > 6
        assert not set(kept[:-1]) - before - {count - 2, count - 1}, "an old grid came back"
        before = set(kept)
    assert spread([], 12) == []
