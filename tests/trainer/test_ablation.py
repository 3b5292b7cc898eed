from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cgan_runtime.errors import UsageError
from cgan_trainer.ablation.run import ablate
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families.base import Variant
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training.loop import TrainingRun
from PIL import Image

from tests.helpers import run_here

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
    out = tmp_path / "ablations"
    code, comparison = ablate("dropout", SMALL, options(pairs, out), images=2)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["dropout.json", "dropout.md", "dropout.png", "runs"]
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
        assert grid.size == (5 * 64, 3 * (3 * 64 + 22))  # of each variant a caption and the sample grid

    def no_training(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(TrainingRun, "step", no_training)
    before = (out / "dropout.json").read_text()
    assert ablate("dropout", SMALL, options(pairs, out), images=2)[0] == 0
    assert (out / "dropout.json").read_text() == before
    assert "nothing is left to do" in capsys.readouterr().err


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
    assert (done.returncode, done.stderr) == (0, "")
    variants = json.loads(done.stdout)["variants"]
    assert {name: one["config"]["dropout"] for name, one in variants.items()} == {
        f"dropout {name}": name for name in ("paper", "port", "off")
    }
    assert variants["dropout off"]["would"] == f"write a new run to {out / 'runs' / 'dropout-off'}"
    assert not out.exists()


def test_the_help_shows_only_what_a_comparison_uses() -> None:
    shown = run_here("cgan-train", "ablate", "pix2pix", "--help").stdout
    assert "Folder for the table and the image" in shown
    for name in ("--max-minutes", "--resume", "--evaluate", "--pictures"):
        assert name not in shown
    assert "--pictures" not in run_here("cgan-train", "evaluate", "--help").stdout
    # The older name still works.
    with_old_name = ("--data", "d", "--out", "o", "--what", "dropout", "--pictures", "0")
    assert "--images-judged 0 cannot be used" in run_here("cgan-train", "ablate", *with_old_name).stderr
    assert "--images 0 cannot be used" in run_here("cgan-train", "evaluate", "run", "--pictures", "0").stderr
