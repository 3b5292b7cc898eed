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

from tests.pages import HOSTILE, Elements, check_page

DEFAULTS = {
    "size": 256, "net": "unet", "ngf": 64, "ndf": 64, "lr": 0.0002, "jitter": True, "images": None, "epochs": 100,
    "lambda": {"l1": 100.0, "gan": 1.0}, "channels_last": None,
}  # fmt: skip
ABSENT = object()
GRID = {"columns": ["condition", "seed 0", "seed 1", "seed 2", "target"], "rows": []}
HEADER = "images,epoch,G_GAN,G_L1,D_real,D_fake,val_L1,seconds\n"
ROWS = (
    HEADER + "500,2.041,1.3,19.0,0.53,0.51,0.1616,66.9\n1000,4.082,1.5,15.5,0.50,0.46,0.1596,133.5\n"
    "1500,6.122,1.4,14.5,0.47,0.44,0.1705,205.3\n"
)


def make_run(run: Path, *, metrics: str | None = ROWS, grids: int = 3, **config: object) -> Path:
    """A run folder as training leaves it; `config` replaces entries of config.json, ABSENT leaves them out."""
    (run / "samples").mkdir(parents=True)
    usual = {
        **DEFAULTS, "family": "toy", "data": "data/satellite", "threads": 2, "defaults": DEFAULTS, "grid": GRID,
        "best": {"metric": "val_L1", "better": "lower", "caution": "It favours blur."},
    }  # fmt: skip
    wanted = {name: value for name, value in {**usual, **config}.items() if value is not ABSENT}
    (run / "config.json").write_text(json.dumps(wanted))
    (run / "last.pt").touch()
    if metrics is not None:
        (run / "metrics.csv").write_text(metrics)
    for number in range(1, grids + 1):
        draw_grid(run, 500 * number)
    return run


def draw_grid(run: Path, images: int, *, cell: int = 16) -> None:
    pixels = np.random.default_rng(images).integers(0, 256, (4 * cell, 5 * cell, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "samples" / f"images_{images:08d}.png")


def check(run: Path) -> tuple[str, Elements]:
    """Write the page, and hold it to what every page must be; its links lead to files of the run."""
    page = write_page(run).read_text(encoding="utf-8")
    elements = check_page(page)
    for attributes in elements.all("a"):
        target = attributes["href"] or ""
        assert target.startswith(("#", "samples/")) or target == "evaluation.html"
        assert target.startswith("#") or (run / target).exists()
    return page, elements


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


def test_the_resume_command_asks_for_the_same_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run", ngf=32, jitter=False, lr=4e-4, images=9000, data="my data/it's")
    _, elements = check(run)
    resume, evaluate, export = elements.commands()
    assert resume == [
        "cgan-train", "toy", "--data", "my data/it's", "--out", str(run), "--ngf", "32", "--lr", "0.0004",
        "--no-jitter", "--images", "9000", "--threads", "2", "--resume",
    ]  # fmt: skip
    assert evaluate == ["cgan-train", "evaluate", str(run)]
    assert export == ["cgan-export", str(run / "last.pt")]


def test_a_complete_run_needs_no_resuming(tmp_path: Path) -> None:
    _, elements = check(make_run(tmp_path / "run", images=1500))
    assert not any("--resume" in words for words in elements.commands())


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


def test_before_the_first_save_there_is_nothing_to_evaluate_or_export(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", metrics=HEADER, grids=0)
    (run / "last.pt").unlink()
    _, elements = check(run)
    assert [words[0:2] for words in elements.commands()] == [["cgan-train", "toy"]]


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


def test_a_run_without_defaults_shows_and_repeats_every_option(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", defaults=ABSENT, images=9000, total_images=9000)
    page, elements = check(run)
    section = page[page.index('id="options"') :]
    assert "<details>" not in section
    assert "lambda.l1" in section
    assert "defaults" not in section
    assert elements.commands()[0] == [
        "cgan-train", "toy", "--data", "data/satellite", "--out", str(run), "--size", "256", "--net", "unet",
        "--ngf", "64", "--ndf", "64", "--lr", "0.0002", "--jitter", "--images", "9000", "--epochs", "100",
        "--lambda.l1", "100.0", "--lambda.gan", "1.0", "--threads", "2", "--resume",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "purpose"),
    [
        ({"file": "last.pt", "images": 1500}, None),
        ({"file": "best.pt", "images": 500}, None),
        ({}, None),
        ({"file": "last.pt", "images": 1000}, "Evaluate again"),
    ],
)
def test_an_evaluated_run_is_not_told_to_evaluate(
    tmp_path: Path, weights: dict[str, object], purpose: str | None
) -> None:
    run = make_run(tmp_path / "run")
    _, elements = check(run)
    assert "Evaluate on held-out images" in elements.text
    (run / "evaluation.json").write_text(json.dumps({"weights": weights, "L1": 3}))
    _, elements = check(run)
    assert "Evaluate on held-out images" not in elements.text
    assert (["cgan-train", "evaluate", str(run)] in elements.commands()) == (purpose is not None)
    assert purpose is None or purpose in elements.text


def test_what_is_said_of_the_time_left_is_true_of_a_run_that_was_stopped(tmp_path: Path) -> None:
    _, elements = check(make_run(tmp_path / "run", images=3000))
    assert "the rest takes about 3 min 25 s" in elements.text
    _, elements = check(make_run(tmp_path / "complete", images=1500))
    assert "the rest" not in elements.text


STOPPED = {"by": "time limit", "images": 1765, "lr": 2e-4, "last_lr": 0.0}


def test_a_run_that_was_stopped_says_why_where_and_how_it_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=2200, stopped=STOPPED)
    _, elements = check(run)
    assert "stopped at 80%" in elements.text
    said = (
        "This run was stopped by its time limit at 1,765 of 2,200 images: the learning rate had not reached its end"
    )
    assert f"{said} (it was 0.0002, and ends at 0). To go on:" in elements.text
    assert [words[-1] for words in elements.commands()].count("--resume") == 1
    assert "stopped" not in elements.commands()[0]
    (run / "evaluation.json").write_text(json.dumps({"weights": {"file": "last.pt", "images": 1765}, "L1": 3}))
    assert not any("evaluate" in words for words in check(run)[1].commands()), "these weights are the ones judged"


def test_a_run_that_was_stopped_before_its_first_figures_waits_for_none(tmp_path: Path) -> None:
    stopped = {**STOPPED, "images": 110}
    _, elements = check(make_run(tmp_path / "run", images=2200, metrics=HEADER, grids=0, stopped=stopped))
    assert "stopped at 5%" in elements.text
    assert "waiting for" not in elements.text


def test_a_constant_rate_has_no_end_to_reach(tmp_path: Path) -> None:
    _, elements = check(make_run(tmp_path / "run", images=2200, stopped={**STOPPED, "last_lr": 2e-4}))
    assert "at 1,765 of 2,200 images. To go on:" in elements.text


def test_the_newest_weights_are_offered_and_it_is_said_what_the_others_are(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", images=1500)
    (run / "best.pt").touch()
    _, elements = check(run)
    assert ["cgan-export", str(run / "last.pt")] in elements.commands()
    assert (
        "last.pt has the weights that the schedule ended on. best.pt has those with the lowest val_L1 (0.1596, "
        "after 1,000 images). It favours blur."
    ) in elements.text
    newest = ROWS.replace("0.1705", "0.1505")
    _, elements = check(make_run(tmp_path / "newest", images=1500, metrics=newest))
    assert "best.pt" not in elements.text, "it is the same state"


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3", "null", '"x"', "[" * 100_000])
def test_other_files_may_be_broken(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.json").write_text(text)
    (run / "evaluation.json").write_text(text)
    (run / "samples" / "images_00000500.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (run / "samples" / "images_00001000.png").write_bytes(b"")
    _, elements = check(run)
    assert len([a for a in elements.all("img") if a["alt"]]) == 1


@pytest.mark.parametrize(
    ("value", "head"),
    [
        ({"ours": {"L1": 0.13, "SSIM": 0.4}, "mean colour": {"L1": 0.15, "SSIM": 0.3}}, ["", "L1", "SSIM"]),
        ([{"split": "test", "L1": 0.13}, {"split": "val", "PSNR": 18.2}], ["split", "L1", "PSNR"]),
    ],
)
def test_an_evaluation_is_a_table_and_a_link(tmp_path: Path, value: object, head: list[str]) -> None:
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text(json.dumps(value))
    (run / "evaluation.html").touch()
    page, elements = check(run)
    section = page[page.index('id="evaluation"') :]
    assert re.findall(r'<th scope="col">(.*?)</th>', section[: section.index("</table>")]) == head
    assert "0.13" in elements.text
    assert any(a["href"] == "evaluation.html" for a in elements.all("a"))


def test_an_evaluation_of_ours_is_one_table_with_its_notes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    figures = {"l1": {"value": 0.1312, "spread": 0.02}, "psnr": {"value": "inf"}}
    measures = [{"key": "l1", "title": "L1", "unit": "", "better": "lower"},
                {"key": "psnr", "title": "PSNR", "unit": "dB", "better": "higher"}]  # fmt: skip
    rows = [{"name": "generator", "figures": figures}, {"name": "lookup table", "figures": {"l1": {"value": 0.15}}}]
    value = {"rows": rows, "measures": measures, "pictures": [{"file": "a.png"}] * 90, "notes": ["Few images."]}
    (run / "evaluation.json").write_text(json.dumps(value))
    page, elements = check(run)
    section = page[page.index('id="evaluation"') :].split("</section>")[0]
    assert re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", section) == [
        "measure", "generator", "lookup table",
        "<span>L1\N{NO-BREAK SPACE}↓</span>", "<span>0.1312</span><small>± 0.02</small>", "0.15",
        "<span>PSNR\N{NO-BREAK SPACE}↑</span><small>dB</small>", "∞", "",
    ]  # fmt: skip
    assert "Few images." in elements.text


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
