"""What the page of a run says of its state: going, complete or stopped, evaluated or not, and what to type next."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.trainer.run_pages import ABSENT, HEADER, ROWS, check, make_run


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


def test_before_the_first_save_there_is_nothing_to_evaluate_or_export(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", metrics=HEADER, grids=0)
    (run / "last.pt").unlink()
    _, elements = check(run)
    assert [words[0:2] for words in elements.commands()] == [["cgan-train", "toy"]]


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
