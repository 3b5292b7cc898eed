from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
import pytest
from cgan_runtime.cli.shell import run
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.cli.train import main
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families.pix2pix import PIX2PIX
from cgan_trainer.training import start
from cgan_trainer.training.expected_time import Pace, measure_pace
from cgan_trainer.training.loop import Data, TrainingRun
from cgan_trainer.training.run_folder import RunFolder

from tests.trainer.conftest import write_pairs
from tests.trainer.pix2pix_runs import stop_at

WITHOUT_TORCH = "import sys; sys.modules.update(dict.fromkeys(['torch', 'PIL', 'numpy', 'jaxtyping'])); "


def outcome(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    printed = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.out, printed.err


@pytest.mark.parametrize("module", ["train", "data"])
@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_works_and_is_quick_without_the_heavy_packages(module: str, words: list[str]) -> None:
    began_s = time.monotonic()
    code = f"{WITHOUT_TORCH}from cgan_trainer.cli.{module} import main; main({words})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout
    assert time.monotonic() - began_s < 5


def test_pix2pix_help_works_without_torch_and_using_it_says_what_to_install() -> None:
    for words, code in ((["pix2pix", "--help"], 0), (["pix2pix", "--data", "a", "--out", "b"], 1)):
        program = f"{WITHOUT_TORCH}from cgan_trainer.cli.train import main; main({words})"
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert ended.returncode == code
        if code:
            assert ended.stderr.count("\n") == 1
            assert 'pip install "cgan-deploy[train]"' in ended.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pix2px"], 'Did you mean "pix2pix"?'),
        (["pix2pix"], "--data"),
        (["pix2pix", "--data", "d", "--out", "o", "--siz", "64"], "Did you mean --size?"),
        (["pix2pix", "--data", "d", "--out", "o", "--dropout", "papr"], 'Did you mean "paper"?'),
        (["pix2pix", "--data", "d", "--out", "o", "--batch", "two"], "--batch"),
        (["pix2pix", "--data", "d", "--out", "o", "--batch", "0"], "--batch 0 cannot be used: give 1 or more"),
        (["pix2pix", "--data", "d", "--out", "o", "--size", "96"], "--size 96 cannot be used: give 64, 128, 256"),
        (["pix2pix", "--data", "d", "--out", "o", "--lr", "nan"], "--lr nan cannot be used"),
        (["pix2pix", "--data", "d", "--out", "o", "--max-minutes", "0"], "--max-minutes 0.0 cannot be used"),
        (["pix2pix", "--data", "d", "--out", "o", "stray"], "stray"),
    ],
)
def test_a_wrong_option_gets_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(words, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("cgan-train: error: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_a_missing_dataset_is_exit_3_and_makes_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pix2pix", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "run"), "--size", "64"]
    for more in ([], ["--dry-run"]):
        code, out, err = outcome([*words, *more], capsys)
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert f"{tmp_path / 'no'} does not exist" in err
        assert list(tmp_path.iterdir()) == []


def test_a_damaged_last_is_exit_3(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "last.pt").write_bytes(b"<html>")
    words = ["pix2pix", "--data", str(pairs), "--out", str(tmp_path), "--resume"]
    code, _, err = outcome(words, capsys)
    assert code == 3
    assert "a web page" in err


def test_dry_run_prints_json_and_writes_nothing(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--size", "64", "--ngf", "4", "--ndf", "4", "--threads", "1"]
    words = ["pix2pix", "--data", str(pairs), "--out", str(tmp_path / "run"), "--dry-run", "--epochs", "3", *small]
    code, out, err = outcome(words, capsys)
    described = json.loads(out)
    assert (code, "training" in err) == (0, False)
    config = Pix2pixConfig(size=64, ngf=4, ndf=4)
    recipe = start.make_recipe(PIX2PIX, config, PIX2PIX.data(config, 64).facts(pairs))
    assert described["parameters"] == {
        name: sum(p.numel() for p in net.parameters()) for name, net in recipe.networks.items()
    }
    assert described["images"] == (3 + 100) * 7
    assert described["pairs"] == {"train": 7, "val": 3}
    assert list(tmp_path.iterdir()) == []
    # What the run would refuse once it has read the images is refused here.
    code, out, err = outcome([*words, "--condition", "labels"], capsys)
    assert (code, out) == (3, "")
    assert "colours" in err.splitlines()[-1]
    code, out, err = outcome([*words, "--init-from", str(tmp_path / "no.pt")], capsys)
    assert (code, out) == (3, "")
    assert "no.pt does not exist" in err.splitlines()[-1]
    (tmp_path / "file").touch()
    file = ["pix2pix", "--data", str(pairs), "--out", str(tmp_path / "file"), "--dry-run", *small]
    code, out, err = outcome(file, capsys)
    assert (code, out) == (2, "")
    assert "is a file: choose a folder as --out" in err


def test_the_expected_time_is_that_of_what_is_still_to_do(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "measure_pace", lambda _: Pace(images_per_s=0.5, validation_s=30.0))
    options = [
        "--size",
        "64",
        "--ngf",
        "2",
        "--ndf",
        "2",
        "--images",
        "40",
        "--save-images",
        "12",
        "--threads",
        "1",
    ]
    words = ["pix2pix", "--data", str(pairs), "--out", str(tmp_path / "run"), "--no-evaluate", *options]
    described = json.loads(outcome([*words, "--dry-run"], capsys)[1])
    assert described["images_per_s"] == 0.5
    assert described["expected_minutes"] == round((40 / 0.5 + 4 * 30) / 60, 1), "validated at 12, 24, 36 and 40"
    with monkeypatch.context() as patch:
        stop_at(patch, 13, lambda: signal.raise_signal(signal.SIGINT))
        assert outcome(words, capsys)[0] == 130
    last = (tmp_path / "run" / "last.pt").read_bytes()
    described = json.loads(outcome([*words, "--resume", "--dry-run"], capsys)[1])
    assert described["expected_minutes"] == round((26 / 0.5 + 3 * 30) / 60, 1)
    assert (tmp_path / "run" / "last.pt").read_bytes() == last
    code, out, err = outcome([*words, "--resume", "--dry-run", "--lr", "1e-4"], capsys)
    assert (code, out) == (2, ""), "as the run itself would refuse it"
    assert "--lr is 0.0001, but " in err
    assert outcome([*words, "--resume"], capsys)[0] == 0
    described = json.loads(outcome([*words, "--resume", "--dry-run"], capsys)[1])
    assert (described["images_per_s"], described["expected_minutes"]) == (None, 0)


def test_the_pace_is_measured_on_the_steps_of_the_run_and_writes_nothing(pairs: Path, tmp_path: Path) -> None:
    config = Pix2pixConfig(size=64, ngf=2, ndf=2, images=5)
    data = PIX2PIX.data(config, 64)
    splits = Data(train=data.load(pairs, "train"), held_out=data.load(pairs, "val"))
    recipe = start.make_recipe(PIX2PIX, config, data.facts(pairs))
    training = TrainingRun(PIX2PIX, recipe, splits, folder=RunFolder(path=tmp_path / "run"))
    pace = measure_pace(training)
    assert 0 < training.images <= 5, "no step that the run does not have"
    assert min(pace.images_per_s, pace.validation_s) > 0
    assert list(tmp_path.iterdir()) == []


def small_run(root: Path, *more: str) -> list[str]:
    """The words of a run of seconds on two pairs, with one pair under test/."""
    write_pairs(root / "data" / "train", 2)
    write_pairs(root / "data" / "test", 1)
    small = ("--size", "64", "--ngf", "2", "--ndf", "2", "--threads", "1")
    return ["pix2pix", "--data", str(root / "data"), "--out", str(root / "run"), *small, *more]


@pytest.mark.slow
def test_training_prints_the_checkpoint_on_stdout_and_the_rest_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(small_run(tmp_path, "--images", "2"), capsys)
    last = tmp_path / "run" / "last.pt"
    assert (code, out) == (0, f"{last}\n")
    assert "validating with test/" in err
    assert "training: 2/2 images, " in err
    assert f"Next: cgan-export {last}" in err
    assert "\x1b" not in err
    judged = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert [row["name"] for row in judged["rows"]] == ["generator", "lookup table", "truth"]
    assert "evaluation.html" in (tmp_path / "run" / "index.html").read_text()


@pytest.mark.slow
def test_a_run_that_the_time_limit_ends_names_what_it_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(small_run(tmp_path, "--images", "8", "--max-minutes", "1e-9"), capsys)
    last = tmp_path / "run" / "last.pt"
    assert (code, out) == (0, f"{last}\n")
    assert f"Next: cgan-export {last}" in err


@pytest.mark.parametrize(
    ("problem", "code", "sentence"),
    [
        (UsageError("no"), 2, "x: error: no"),
        (BadInputError("a.png is text"), 3, "x: error: a.png is text"),
        (KeyboardInterrupt(), 130, "x: error: interrupted."),
        (OSError(28, "No space left on device", "f"), 1, "x: error: f: no room left on the disk"),
        (PermissionError(13, "Permission denied", "f"), 1, "x: error: f: permission denied"),
        (
            RuntimeError("two\nlines"),
            1,
            "x: error: unexpected error (RuntimeError: two lines); run again with --debug",
        ),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_problem_ends_as_one_sentence(
    problem: BaseException, code: int, sentence: str, debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    app = cyclopts.App(name="x")

    @app.command
    def fail() -> None:
        raise problem

    with pytest.raises(SystemExit) as ended:
        run(app, ["fail", *(["--debug"] if debug else [])])
    err = capsys.readouterr().err
    assert ended.value.code == code
    assert err.splitlines()[-1].startswith(sentence)
    assert ("Traceback" in err) == debug
    assert debug or err.count("\n") == 1


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (130, 130)])
def test_a_command_ends_with_the_code_it_returns(returned: Any, code: int) -> None:
    app = cyclopts.App(name="x")
    app.command(lambda: returned, name="go")
    with pytest.raises(SystemExit) as ended:
        run(app, ["go"])
    assert ended.value.code == code


def test_the_config_of_a_run_asks_for_the_same_run_and_given_options_win(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.json").write_text(
        json.dumps({"family": "pix2pix", "size": 64, "ngf": 4, "jitter": False, "images": None, "lr_policy": "step",
                    "data": str(pairs), "threads": 1, "total_images": 9})
    )  # fmt: skip
    (tmp_path / "mine.toml").write_text(f'size = 64\nlr = 0.01\nmirror = false\ndata = "{pairs}"\n')
    words = ["pix2pix", "--out", str(tmp_path / "run"), "--dry-run", "--config"]
    _, out, _ = outcome([*words, str(tmp_path / "old.json"), "--ngf", "8"], capsys)
    config = json.loads(out)["config"]
    assert (config["size"], config["ngf"], config["jitter"], config["lr_policy"]) == (64, 8, False, "step")
    _, out, _ = outcome([*words[:-1], f"--config={tmp_path / 'mine.toml'}"], capsys)
    config = json.loads(out)["config"]
    assert (config["size"], config["lr"], config["mirror"], config["jitter"]) == (64, 0.01, False, True)
    for text, code, sentence in (
        ("{", 3, "cannot be read"),
        ("[" * 100_000, 3, "cannot be read"),
        ('{"ngf": [1]}', 3, "holds no options"),
        ('{"ngfs": 4}', 2, "--ngfs"),
    ):
        (tmp_path / "bad.json").write_text(text)
        ended, _, err = outcome([*words, str(tmp_path / "bad.json"), "--data", str(pairs)], capsys)
        assert (ended, err.count("\n")) == (code, 1)
        assert sentence in err
    assert outcome([*words], capsys)[0] == 2


def test_the_config_that_a_run_has_written_asks_for_that_run(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(pairs), "--size", "64", "--ngf", "2", "--ndf", "2", "--images", "2", "--threads", "1"]
    assert outcome(["pix2pix", *options, "--out", str(tmp_path / "a"), "--no-evaluate"], capsys)[0] == 0
    words = ["pix2pix", "--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b"), "--dry-run"]
    code, out, _ = outcome(words, capsys)
    assert code == 0
    config, written = json.loads(out)["config"], json.loads((tmp_path / "a" / "config.json").read_text())
    assert config == {name: written[name] for name in config}
    assert json.loads(out)["data"] == str(pairs)
    _, out, _ = outcome(["pix2pix", *options, "--out", str(tmp_path / "a"), "--dry-run"], capsys)
    assert json.loads(out)["would"].startswith(f"refuse, for {tmp_path / 'a'} already holds a run")


@pytest.mark.parametrize("family", [[], ["pix2pix"]])
def test_a_comparison_needs_its_name_data_and_place_only(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: list[str]
) -> None:
    words = ["ablate", *family, "--what", "patch", "--data", str(pairs), "--out", str(tmp_path / "out")]
    code, _, err = outcome([*words, "--size", "64"], capsys)
    assert code == 2  # the options were taken: what is refused is one variant
    assert "--patch 286 cannot be used with --size 64" in err
