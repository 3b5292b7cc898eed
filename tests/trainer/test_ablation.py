from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.errors import UsageError
from cgan_trainer.ablation.image import samples_image
from cgan_trainer.ablation.page import write_page
from cgan_trainer.ablation.report import Compared, Comparison, write_report
from cgan_trainer.ablation.run import ablate
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.evaluation.base import Figure, columns
from cgan_trainer.evaluation.judge import Row
from cgan_trainer.evaluation.paired import PAIRED_MEASURES
from cgan_trainer.families.base import Variant
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training.loop import TrainingRun
from cgan_trainer.watching.samples import Headings
from PIL import Image

from tests.helpers import run_here
from tests.pages import check_page
from tests.trainer.test_evaluation_page import evaluation

SMALL = Pix2pixConfig(size=64, ngf=4, ndf=4, images=3)


def options(pairs: Path, out: Path) -> RunOptions:
    return RunOptions(data=pairs, out=out, threads=1)


def variants(what: str, config: Pix2pixConfig) -> tuple[Variant, ...]:
    return PIX2PIX.ablations[what](config).variants


def test_every_comparison_of_the_family_is_offered() -> None:
    assert tuple(PIX2PIX.ablations) == Pix2pixConfig.ablations


def test_the_comparisons_are_the_papers() -> None:
    names = {what: [row.name for row in variants(what, SMALL)] for what in ("losses", "patch", "generator")}
    assert names == {
        "losses": ["L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN"],
        "patch": ["1x1", "16x16", "70x70", "286x286"],
        "generator": ["encoder-decoder L1", "encoder-decoder L1+cGAN", "unet L1", "unet L1+cGAN"],
    }
    backwards = variants("losses", replace(SMALL, direction="BtoA"))
    assert [tuple(row.published.values()) for row in backwards if row.name == "L1"] == [
        (0.86, 0.42, 0.35)
    ]  # photo -> labels


@pytest.mark.slow
def test_every_variant_is_trained_once_judged_alike_and_put_into_one_table(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = shutil.copytree(pairs, tmp_path / "pairs"), tmp_path / "ablations"
    code, comparison = ablate("dropout", SMALL, options(data, out), images=2)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "dropout.html", "dropout.json", "dropout.md", "dropout.png", "runs",
    ]  # fmt: skip
    assert sorted(path.name for path in (out / "runs").iterdir()) == ["as-given", "dropout-off", "dropout-port"]
    compared = comparison.compared
    spreads = {one.variant.name: one.evaluation.row("generator").figures["seed_std"].value for one in compared}
    assert spreads["dropout off"] == 0
    assert min(spreads["dropout paper"], spreads["dropout port"]) > 0
    assert len({one.evaluation.images_sha256 for one in compared}) == 1
    found = json.loads((out / "dropout.json").read_text())
    assert [one["changes"] for one in found["variants"]] == [{"dropout": name} for name in ("paper", "port", "off")]
    lines = (out / "dropout.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:7]] == [
        "dropout paper", "dropout port", "dropout off", "lookup table", "truth",
    ]  # fmt: skip
    with Image.open(out / "dropout.png") as grid:
        assert grid.width == 5 * 128  # small cells are enlarged
        assert grid.height > 3 * 3 * 128  # of each variant names and the sample grid
    page = (out / "dropout.html").read_text()
    elements = check_page(page)
    assert "images per variant3" in elements.text
    assert "64 px" in elements.text
    assert {a["href"] for a in elements.all("a")} == {
        "dropout.png", *(f"runs/{name}/index.html" for name in ("as-given", "dropout-off", "dropout-port"))
    }  # fmt: skip
    assert all((out / str(a["href"])).exists() for a in elements.all("a"))
    again, _ = elements.commands()
    assert again[:5] == ["cgan-train", "ablate", "pix2pix", "--what", "dropout"]
    assert again[-2:] == ["--images-judged", "2"]

    def no_training(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(TrainingRun, "step", no_training)
    before = (out / "dropout.json").read_text()
    (tmp_path / "elsewhere").mkdir()
    moved = data.rename(tmp_path / "elsewhere" / "pairs")
    assert ablate("dropout", SMALL, options(moved, out), images=2)[0] == 0
    assert (out / "dropout.json").read_text() == before.replace(str(data), str(moved))
    assert "nothing is left to do" in capsys.readouterr().err


def test_the_names_in_the_image_stand_outside_the_samples() -> None:
    names = Headings(columns=("condition", "seed 1"), rows=("boot", "bag"))
    grid = Image.new("RGB", (2 * 32, 2 * 32), (200, 0, 0))
    image = samples_image([("L1", grid, names), ("L1+cGAN", grid, names)])
    assert image is not None
    pixels = np.asarray(image)
    red = np.all(pixels == (200, 0, 0), axis=2)
    assert red.sum() == 2 * (2 * 128) ** 2, "every sample is whole, four times as large"
    written = np.all(pixels < 100, axis=2)
    for side in (written[:, : image.width - 2 * 128], written[:60]):  # names of rows, name and columns
        assert side.any()
    assert samples_image([]) is None


def test_the_name_of_a_row_ends_before_the_row_at_half_of_its_height() -> None:
    names = Headings(columns=("seed 1",), rows=("boot", "", "bag"))
    image = samples_image([("L1", Image.new("RGB", (128, 3 * 128), "white"), names)])
    assert image is not None
    margin = np.asarray(image)[-3 * 128 :, : image.width - 128].min(axis=2) < 128
    for row, named in enumerate((True, False, True)):
        at, across = np.nonzero(margin[row * 128 : (row + 1) * 128])
        assert bool(len(at)) == named
        if named:
            assert abs(at.mean() - 64) < 5
            assert 0 < margin.shape[1] - across.max() <= 12


def test_a_name_that_is_wider_than_its_column_is_cut_before_the_next() -> None:
    grid = Image.new("RGB", (2 * 128, 128), "white")
    long = Headings(columns=("a very long name of a condition", "a very long name of a target"))
    image = samples_image([("L1", grid, long)])
    assert image is not None
    names = np.asarray(image)[30:-128]
    for edge in (0, 128, 255):  # of the image, and between the columns
        assert (names[:, max(edge - 2, 0) : edge + 2] == 255).all()


def test_the_papers_figures_stand_beside_ours_and_the_best_variant_is_bold(pairs: Path, tmp_path: Path) -> None:
    ablation = PIX2PIX.ablations["losses"](SMALL)
    compared = []
    for variant, l1 in zip(ablation.variants, (9.0, 8.0, 7.0, 6.0, 5.0), strict=True):
        row = Row(name="generator", figures={"l1": Figure(value=l1)}, role="generator")
        table = Row(name="lookup table", figures={"l1": Figure(value=4.0)}, role="baseline")
        judged = replace(evaluation(), columns=columns(PAIRED_MEASURES), rows=(row, table))
        compared.append(Compared(variant=variant, evaluation=judged, folder=tmp_path / "runs" / variant.name))
    path = tmp_path / "losses.html"
    comparison = Comparison(ablation=ablation, compared=tuple(compared))
    write_page(path, "losses", comparison, SMALL, options(pairs, tmp_path), images=None)
    page = path.read_text()
    check_page(page)
    assert re.findall(r'<span class="best">([^<]*)</span>', page) == ["5.00"], "the lookup table does not compete"
    assert page.count("<small>paper</small>") == 3
    assert '<th scope="row">L1+cGAN</th><td><span class="quiet">0.66</span></td>' in page
    assert "Isola et al. 2017" in page


def test_the_minutes_of_a_variant_are_those_of_its_last_row(pairs: Path, tmp_path: Path) -> None:
    ablation = PIX2PIX.ablations["losses"](SMALL)
    compared = tuple(
        Compared(variant=variant, evaluation=evaluation(), folder=tmp_path / variant.name)
        for variant in ablation.variants[:2]
    )
    compared[0].folder.mkdir()
    (compared[0].folder / "metrics.csv").write_text("images,epoch,lr,seconds\n4,1,0.1,60.0\n8,2,0.1,7200.0\n")
    write_report(
        tmp_path, "losses", Comparison(ablation=ablation, compared=compared), SMALL, options(pairs, tmp_path)
    )
    described = json.loads((tmp_path / "losses.json").read_text())
    assert [one["minutes"] for one in described["variants"]] == [120.0, 0.0]


def test_what_a_variant_cannot_use_is_refused_before_any_is_trained(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--patch 286 cannot be used with --size 64"):
        ablate("patch", SMALL, options(pairs, tmp_path / "out"), images=None)
    with pytest.raises(UsageError, match="--max-minutes"):
        ablate("losses", SMALL, replace(options(pairs, tmp_path / "out"), max_minutes=1.0), images=None)
    with pytest.raises(UsageError, match="--images-judged 0 cannot be used: give 1 or more"):
        ablate("losses", SMALL, options(pairs, tmp_path / "out"), images=0)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_each_variant_would_do_and_does_nothing(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("cgan-train", "ablate", "--what", "dropout", "--data", pairs, "--out", out, "--dry-run")
    done = run_here(*words, "--size", "64", "--ngf", "4", "--ndf", "4", "--images", "3")
    assert done.returncode == 0
    described = json.loads(done.stdout)
    variants = described["variants"]
    minutes = [one["expected_minutes"] for one in variants.values()]
    assert described["expected_minutes"] == round(sum(minutes), 1)
    assert all(one["images_per_s"] > 0 for one in variants.values()), "each variant is measured"
    assert {name: one["config"]["dropout"] for name, one in variants.items()} == {
        f"dropout {name}": name for name in ("paper", "port", "off")
    }
    assert variants["dropout off"]["would"] == f"write a new run to {out / 'runs' / 'dropout-off'}"
    assert not out.exists()


def test_the_help_shows_only_what_a_comparison_uses() -> None:
    shown = run_here("cgan-train", "ablate", "pix2pix", "--help").stdout
    assert "Folder for the page, the table and the image" in shown
    for name in ("--max-minutes", "--resume", "--evaluate", "--pictures", "--ngf", "--lambda-l1"):
        assert name not in shown
    assert "--pictures" not in run_here("cgan-train", "evaluate", "--help").stdout
    # The older name still works.
    with_old_name = ("--data", "d", "--out", "o", "--what", "dropout", "--pictures", "0")
    assert "--images-judged 0 cannot be used" in run_here("cgan-train", "ablate", *with_old_name).stderr
    assert "--images 0 cannot be used" in run_here("cgan-train", "evaluate", "run", "--pictures", "0").stderr
