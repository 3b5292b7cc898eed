"""A run that was interrupted, killed or stopped ends with the weights of an unbroken one, or is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.claims import claim
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families.base import Stage
from cgan_trainer.families.pix2pix import Pix2pixRecipe
from cgan_trainer.training import loop, run_folder
from cgan_trainer.unfinished import unfinished

from tests.trainer.conftest import write_pairs
from tests.trainer.pix2pix_runs import (
    OLD,
    SMALL,
    KilledError,
    assert_same_run,
    kill,
    rows,
    state_of,
    stop_at,
    train,
)


def test_the_same_command_gives_the_same_weights(pairs: Path, unbroken: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    torch.rand(3)
    assert train(pairs, tmp_path / "again") == 0
    assert_same_run(unbroken, tmp_path / "again")


def test_another_seed_gives_other_weights(pairs: Path, unbroken: Path, tmp_path: Path) -> None:
    assert train(pairs, tmp_path / "other", replace(SMALL, seed=1)) == 0
    weights = [state_of(out / "last.pt")["unet.down.3.conv.weight"] for out in (unbroken, tmp_path / "other")]
    assert not torch.equal(*weights)


@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_a_run_interrupted_and_resumed_equals_an_unbroken_one(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    out = tmp_path / "broken"
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert train(pairs, out) == 130
    images = read_checkpoint(out / "last.pt").provenance["images"]
    assert images == 2 * (step + 1)
    assert unfinished(read_checkpoint(out / "last.pt").provenance).endswith("the run was interrupted.")
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_killed_run_resumes_from_its_last_save(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        stop_at(patch, step, kill)
        with pytest.raises(KilledError):
            train(pairs, out)
    saved = read_checkpoint(out / "last.pt").provenance
    assert ("stopped_by" in saved, saved["planned_images"]) == (False, 13), "nobody could say why it ended"
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)


def test_a_kill_between_log_and_save_leaves_no_double_row(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "killed"
    saves = iter(range(10))
    real = loop.TrainingRun._save
    with monkeypatch.context() as patch:
        patch.setattr(
            loop.TrainingRun, "_save", lambda self, ended: kill() if next(saves) == 1 else real(self, ended)
        )
        with pytest.raises(KilledError):
            train(pairs, out)
    assert len(rows(out)) == 2
    with (out / "metrics.csv").open("ab") as stream:
        stream.write(b"1\xff\0\0")  # and half a row, from a power cut
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)


def test_sigkill_of_the_real_command_resumes_to_the_same_weights(
    pairs: Path, unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    words = command_line(SMALL, RunOptions(data=pairs, out=out, threads=1, evaluate=False), resume=False).split()[
        1:
    ]
    command = [sys.executable, "-m", "cgan_trainer", *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    ended = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() in ("", str(out / "last.pt"))
    assert_same_run(unbroken, out)


EVERYTHING = replace(
    SMALL, images=12, batch=1, accumulate=2, ema=0.9, buffer=2, lr_policy="plateau", channels_last=True,
    net="encoder-decoder", norm="instance", gan_mode="lsgan",
)  # fmt: skip


@pytest.mark.parametrize(
    "config", [EVERYTHING, replace(SMALL, objective="L1"), replace(SMALL, gan_mode="wgangp", lr_policy="cosine")]
)
@pytest.mark.slow
def test_a_run_with_any_options_resumes_to_the_same_weights(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Pix2pixConfig
) -> None:
    assert train(pairs, tmp_path / "unbroken", config) == 0
    for step in (1, 0):  # twice, the second time at once
        with monkeypatch.context() as patch:
            stop_at(patch, step, lambda: os.kill(os.getpid(), signal.SIGINT))
            assert train(pairs, tmp_path / "broken", config, resume=step == 0) == 130
    assert train(pairs, tmp_path / "broken", config, resume=True, max_minutes=1e-9) == 0
    assert train(pairs, tmp_path / "broken", config, resume=True) == 0
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.slow
def test_a_run_of_three_stages_resumed_in_the_last_equals_an_unbroken_one(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    plan = Pix2pixRecipe.plan

    def three(recipe: Pix2pixRecipe, total: int) -> tuple[Stage, ...]:
        (whole,) = plan(recipe, total)
        judge, make = whole.phases
        alone = (replace(make, batches=1),)  # the generator without a step of the discriminator
        # With fresh optimisers in the second stage the third must not get back the discriminator's of the first;
        # without, it keeps the one that only the second stage has made.
        phases = ((judge, make), alone, alone) if fresh else (alone, (judge, make), alone)
        return tuple(
            replace(whole, name=name, images=count, phases=these, fresh_optimizers=fresh and name == "b")
            for name, count, these in zip("abc", (4, 4, total - 8), phases, strict=True)
        )

    monkeypatch.setattr(Pix2pixRecipe, "plan", three)
    assert train(pairs, tmp_path / "unbroken") == 0
    for resume in (False, *(True,) * 6):  # one step each
        assert train(pairs, tmp_path / "broken", resume=resume, max_minutes=1e-9) == 0
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


def test_resume_after_the_end_says_so(pairs: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (unbroken / "last.pt").read_bytes()
    assert train(pairs, unbroken, resume=True) == 0
    assert "is complete (13 images)" in capsys.readouterr().err
    assert (unbroken / "last.pt").read_bytes() == before


def test_resume_where_no_run_is_begins_none_and_names_the_one_beside_it(pairs: Path, tmp_path: Path) -> None:
    assert train(pairs, tmp_path / "streets", replace(SMALL, images=1)) == 0
    with pytest.raises(UsageError, match=r"no run in .*/streats \(did you mean .*/streets\?\): name the folder"):
        train(pairs, tmp_path / "streats", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["streets"]


def test_a_run_killed_before_its_first_save_is_resumed_from_the_first_image(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 0, kill)
        with pytest.raises(KilledError):
            train(pairs, tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()
    assert train(pairs, tmp_path / "run", resume=True) == 0
    assert "before its first save: starting from the first image" in capsys.readouterr().err
    assert_same_run(unbroken, tmp_path / "run")


@pytest.mark.parametrize("begun", [{"images": 8}, {"images": None, "epochs": 1, "epochs_decay": 0}])
def test_a_run_made_longer_equals_one_that_was_so_from_the_first_where_the_rate_knows_no_end(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: dict[str, Any]
) -> None:
    config = replace(SMALL, batch=1, lr_policy="step", save_images=1)
    longer = replace(config, images=None, epochs=2, epochs_decay=0) if begun["images"] is None else config
    assert train(pairs, tmp_path / "whole", longer) == 0
    assert train(pairs, tmp_path / "longer", replace(config, **begun)) == 0
    seen = 8 if begun["images"] else 7
    capsys.readouterr()
    assert train(pairs, tmp_path / "longer", longer, resume=True) == 0
    total = 14 if longer.images is None else 13
    assert f"The run ends at {total} images now, not at {seen}; {seen} are done." in capsys.readouterr().err
    assert_same_run(tmp_path / "whole", tmp_path / "longer")
    provenance = read_checkpoint(tmp_path / "longer" / "last.pt").provenance
    assert provenance["extended_at"] == [seen]
    assert "extended_at" not in read_checkpoint(tmp_path / "whole" / "last.pt").provenance


def test_a_longer_run_says_what_becomes_of_its_falling_rate_and_may_be_interrupted(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, ends = replace(SMALL, images=26), []
    for name in ("at once", "in two"):
        out = tmp_path / name
        shutil.copytree(unbroken, out)
        if name == "in two":
            with monkeypatch.context() as patch:
                stop_at(patch, 2, lambda: os.kill(os.getpid(), signal.SIGINT))
                assert train(pairs, out, config, resume=True) == 130
        assert train(pairs, out, config, resume=True) == 0
        ends.append(read_checkpoint(out / "last.pt").provenance)
    assert "the new schedule: 0.0002 now, 1.54e-05 at the end" in capsys.readouterr().err
    assert ends[0] == ends[1]
    assert (ends[0]["images"], ends[0]["extended_at"]) == (26, [13])
    assert_same_run(tmp_path / "at once", tmp_path / "in two")
    assert float(rows(out)[-1]["lr"]) < 1e-4


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ({"images": 5}, "has seen 13 images and would end at 5: ask for more, or .*--init-from .*last.pt"),
        ({"images": None, "epochs_decay": 0}, "would end at 7: ask for more, or .*--init-from"),
        ({"epochs": 2}, "has seen 13 images and would end at 13: ask for more"),
    ],
)
def test_a_run_is_not_made_shorter_than_what_it_has_seen(
    pairs: Path, unbroken: Path, length: dict[str, Any], said: str
) -> None:
    before = (unbroken / "last.pt").read_bytes()
    with pytest.raises(UsageError, match=said):
        train(pairs, unbroken, replace(SMALL, **length), resume=True)
    assert (unbroken / "last.pt").read_bytes() == before


def test_another_schedule_to_the_same_end_is_refused(pairs: Path, tmp_path: Path) -> None:
    assert train(pairs, tmp_path, max_minutes=1e-9) == 0
    with pytest.raises(UsageError, match="would end at 13 images as before, but with another learning rate"):
        train(pairs, tmp_path, replace(SMALL, epochs=2), resume=True)


def test_an_existing_run_is_not_overwritten(pairs: Path, unbroken: Path) -> None:
    with pytest.raises(UsageError, match="already holds a run: go on with it by --resume"):
        train(pairs, unbroken)


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "best.pt"])
def test_a_file_that_no_run_wrote_is_not_overwritten(pairs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"name": "my project"}')
    with pytest.raises(
        UsageError, match=f"{name} is not of a training and would be replaced: choose another --out"
    ):
        train(pairs, tmp_path, replace(SMALL, images=1))
    assert (tmp_path / name).read_text() == '{"name": "my project"}'
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_run_that_was_killed_before_its_first_save_can_be_begun_again(
    pairs: Path, unbroken: Path, tmp_path: Path
) -> None:
    for name in ("config.json", "metrics.csv"):
        shutil.copy(unbroken / name, tmp_path)
    assert train(pairs, tmp_path, replace(SMALL, images=1)) == 0


def test_of_two_trainings_in_one_folder_the_second_is_refused(pairs: Path, tmp_path: Path) -> None:
    with claim(tmp_path / "run" / "last.pt"), pytest.raises(CganError, match="another process is writing to"):
        train(pairs, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"size": 128}, {"ngf": 5}, {"ndf": 5}, {"dropout": "port"}, {"batch": 1}, {"lr": 1e-4},
        {"lambda_l1": 10.0}, {"jitter": False}, {"direction": "BtoA"}, {"seed": 1}, {"save_images": 5},
        {"objective": "L1"}, {"ema": 0.9}, {"accumulate": 2},
    ],
)  # fmt: skip
def test_an_option_that_would_change_the_result_is_refused_on_resume(
    pairs: Path, unbroken: Path, change: dict[str, Any]
) -> None:
    flag = next(iter(change)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} is .* was begun with .* --init-from .*last.pt"):
        train(pairs, unbroken, replace(SMALL, **change), resume=True)


def test_an_option_that_an_older_version_did_not_have_was_as_its_default(
    pairs: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(path: Path) -> Checkpoint:
        read = read_checkpoint(path)
        assert read.training is not None
        config = {name: value for name, value in read.training["config"].items() if name != "upsample"}
        return replace(read, training={**read.training, "config": config})

    monkeypatch.setattr(run_folder, "read_checkpoint", older)
    assert train(pairs, unbroken, resume=True) == 0
    with pytest.raises(UsageError, match=r"--upsample is resize, but .* was begun with transposed"):
        train(pairs, unbroken, replace(SMALL, upsample="resize"), resume=True)


def test_other_images_are_refused_on_resume(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(pairs, out) == 130
    write_pairs(tmp_path / "other" / "train", 7, seed=9)
    write_pairs(tmp_path / "other" / "val", 3, seed=1)
    with pytest.raises(BadInputError, match="are not those"):
        train(tmp_path / "other", out, resume=True)


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_last_good_state(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def poison() -> None:
        raise CganError("the loss of the generator is no longer a finite number")

    stop_at(monkeypatch, 3, poison)
    with pytest.raises(CganError, match="no longer a finite number"):
        train(pairs, out)
    assert read_checkpoint(out / "last.pt").provenance["images"] == 4


def test_a_time_limit_ends_cleanly_and_can_be_extended(
    pairs: Path, unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train(pairs, out, max_minutes=1e-9) == 0
    saved = read_checkpoint(out / "last.pt").provenance
    assert (saved["images"], saved["planned_images"], saved["stopped_by"]) == (2, 13, "time limit")
    page = (out / "index.html").read_text()
    assert "This run was stopped by its time limit at 2 of 13 images: the learning rate had not reached" in page
    assert "Time is up at 2 of 13 images" in capsys.readouterr().err
    assert rows(out) == []  # the first figures come with the save at 4 images
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)
    assert read_checkpoint(out / "last.pt").provenance == read_checkpoint(unbroken / "last.pt").provenance
    assert "planned_images" not in read_checkpoint(out / "last.pt").provenance, "it is finished"
    assert "stopped" not in json.loads((out / "config.json").read_text())
    assert "This run was" not in (out / "index.html").read_text()


@pytest.mark.slow
def test_a_run_that_an_older_release_began_goes_on(pairs: Path, tmp_path: Path) -> None:
    """Its weights are those of a run of today, but for what another processor rounds otherwise."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(OLD, old)
    config = replace(SMALL, ngf=1, ndf=1, images=12, batch=1, accumulate=2, ema=0.9, buffer=2, patch=16,
                     epochs=100, epochs_decay=100)  # fmt: skip
    assert train(pairs, old, config, resume=True) == 0
    assert train(pairs, new, config) == 0
    assert [row["images"] for row in rows(old)] == ["2", "4", "8", "12"]
    for name, value in state_of(old / "last.pt").items():
        torch.testing.assert_close(value, state_of(new / "last.pt")[name], rtol=1e-3, atol=1e-4)


def test_a_run_of_the_oldest_release_is_refused_with_what_to_do(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(OLD, tmp_path / "old")

    def oldest(path: Path) -> Checkpoint:
        # What is left of the training of such a run: see checkpoint_v1.py.
        return replace(read_checkpoint(path), training={"config": {}})

    monkeypatch.setattr(run_folder, "read_checkpoint", oldest)
    with pytest.raises(UsageError, match=r"begun by an older version.* --init-from"):
        train(pairs, tmp_path / "old", resume=True)
