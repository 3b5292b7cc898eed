from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.errors import BadInputError, CganError, UsageError
from cgan_trainer.checkpoint import Checkpoint, read_checkpoint
from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families import build_graph
from cgan_trainer.families.base import Stage
from cgan_trainer.families.pix2pix import PIX2PIX, Pix2pixRecipe
from cgan_trainer.training import loop, run_folder, start, trainer
from cgan_trainer.training.trainer import Trainer
from PIL import Image

from tests.trainer.conftest import write_pairs

# 13 images in batches of 2 over 7 pairs: batches cross epochs, the last one is short.
SMALL = Pix2pixConfig(size=64, ngf=4, ndf=4, images=13, batch=2, save_images=4, epochs=1, epochs_decay=1)
OLD = Path(__file__).with_name("old") / "run-v1"
TIMES = ("seconds", "images_per_s", "data_ms", "step_ms")
LOSSES = ("G_GAN", "G_L1", "D_real", "D_fake")


def train(pairs: Path, out: Path, config: Pix2pixConfig = SMALL, **options: Any) -> int:
    return start.train(config, RunOptions(data=pairs, out=out, threads=1, **{"evaluate": False, **options}))


@pytest.fixture(scope="module")
def unbroken(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    assert train(pairs, out) == 0
    return out


def state_of(path: Path) -> Mapping[str, torch.Tensor]:
    return read_checkpoint(path).graphs["main"].state


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def everything(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that decides the future of a run, flat; not the seconds it took."""
    flat: dict[str, Any] = {}

    def walk(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, f"{where}/{key}")
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                walk(item, f"{where}/{index}")
        elif not where.endswith("seconds"):
            flat[where] = value

    graphs = {name: graph.state for name, graph in checkpoint.graphs.items()}
    walk({"graphs": graphs, "training": checkpoint.training}, "")
    return flat


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        first, second = everything(read_checkpoint(one / name)), everything(read_checkpoint(other / name))
        assert first.keys() == second.keys()
        for key, value in first.items():
            same = torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
            assert same, key
    timeless = [[{**row, **dict.fromkeys(TIMES, "")} for row in rows(out)] for out in (one, other)]
    assert timeless[0] == timeless[1]
    assert sorted(path.name for path in (one / "samples").iterdir()) == sorted(
        path.name for path in (other / "samples").iterdir()
    )


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it runs."""


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int, act: Any) -> None:
    """Call `act` in place of the result of that step."""
    real, steps = Trainer.step, iter(range(1000))

    def counted(self: Trainer, *arguments: Any) -> dict[str, float]:
        losses = real(self, *arguments)
        if next(steps) == step:
            act()
        return losses

    monkeypatch.setattr(Trainer, "step", counted)


def kill() -> None:
    raise KilledError


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
    assert train(pairs, out, resume=True) == 0
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
            assert train(pairs, tmp_path / "broken", config, resume=True) == 130
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


def test_what_is_differentiated_twice_in_any_stage_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []
    monkeypatch.setattr(trainer, "_compiled", lambda network: compiled.append(id(network)))
    nothing: dict[str, Any] = {"palette": None, "source_palette": None, "target_palette": None}
    facts = PairedFacts(name="x", source="A", target="B", direction="AtoB", **nothing)
    recipe = start.make_recipe(PIX2PIX, replace(SMALL, gan_mode="wgangp", torch_compile=True), facts)
    (whole,) = recipe.plan(10)
    judge, make = whole.phases
    first = replace(whole, name="first", phases=(replace(judge, second_order=False), make))
    Trainer(recipe, (first, whole))
    assert compiled == [id(recipe.networks["generator"])]


def test_the_average_is_what_is_saved_for_use(pairs: Path, tmp_path: Path) -> None:
    assert train(pairs, tmp_path / "run", replace(SMALL, images=4, ema=0.9)) == 0
    last = read_checkpoint(tmp_path / "run" / "last.pt")
    assert last.training is not None
    saved, newest = last.graphs["main"].state, last.training["networks"]["generator"]
    assert newest.keys() == saved.keys()
    assert all(torch.equal(value, saved[name]) for name, value in last.training["averages"]["generator"].items())
    weights = [state["unet.down.3.conv.weight"] for state in (saved, newest)]
    assert not torch.equal(*weights)


def test_a_fine_tuned_run_begins_where_the_other_ended(pairs: Path, unbroken: Path, tmp_path: Path) -> None:
    before = read_checkpoint(unbroken / "last.pt")
    barely = replace(SMALL, images=1, lr=1e-12)
    assert train(pairs, tmp_path / "run", barely, init_from=unbroken / "last.pt") == 0
    after = read_checkpoint(tmp_path / "run" / "last.pt")
    assert after.provenance["origin"]["sha256"] == before.file_sha256
    assert before.training is not None
    assert after.training is not None
    state, given = after.graphs["main"].state, before.graphs["main"].state
    weights = [name for name, value in state.items() if value.is_floating_point() and "running" not in name]
    for name in weights:
        torch.testing.assert_close(state[name], given[name], rtol=0, atol=1e-9)
    judges = [one["networks"]["discriminator"]["layers.0.weight"] for one in (after.training, before.training)]
    torch.testing.assert_close(*judges)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ngf": 5}, "give --ngf 4"),
        ({"size": 128}, "it has 6 levels, so give --size 64"),
        ({"dropout": "port"}, "has dropout in 3 places .* choose another --dropout"),
        ({"net": "resnet-6"}, "choose --net, --size and --norm"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_what_to_ask_for(
    pairs: Path, unbroken: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        train(pairs, tmp_path / "run", replace(SMALL, **change), init_from=unbroken / "best.pt")
    assert not (tmp_path / "run").exists()


def test_a_kill_between_log_and_save_leaves_no_double_row(
    pairs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "killed"
    saves = iter(range(10))
    real = loop.TrainingRun._save
    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "_save", lambda self: kill() if next(saves) == 1 else real(self))
        with pytest.raises(KilledError):
            train(pairs, out)
    assert len(rows(out)) == 2
    with (out / "metrics.csv").open("a") as stream:
        stream.write("1")  # and half a row, from a power cut
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)


def test_sigkill_of_the_real_command_resumes_to_the_same_weights(
    pairs: Path, unbroken: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    words = command_line(SMALL, RunOptions(data=pairs, out=out, threads=1, evaluate=False), resume=True).split()[1:]
    command = [sys.executable, "-m", "cgan_trainer", *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() in ("", str(out / "best.pt"))
    assert_same_run(unbroken, out)


def test_a_run_leaves_what_the_readme_promises(pairs: Path, unbroken: Path) -> None:
    assert sorted(path.name for path in unbroken.iterdir()) == [
        "best.pt", "config.json", "index.html", "last.pt", "metrics.csv", "samples", "tensorboard",
    ]  # fmt: skip
    assert json.loads((unbroken / "config.json").read_text())["ngf"] == 4
    log = rows(unbroken)
    assert [row["images"] for row in log] == ["4", "8", "12", "13"]
    assert all(float(row[name]) > 0 for row in log for name in (*LOSSES, "val_L1"))
    with Image.open(unbroken / "samples" / "images_00000013.png") as grid:
        assert grid.size == (5 * 64, 3 * 64)
    best, last = read_checkpoint(unbroken / "best.pt"), read_checkpoint(unbroken / "last.pt")
    assert best.training is None
    assert best.provenance["val_L1"] == min(float(best.provenance["val_L1"]), float(last.provenance["val_L1"]))
    left = open_rgb(pairs / "val" / "000.png").crop((0, 0, 64, 64))
    assert best.examples["main"]["condition"][0].permute(1, 2, 0).numpy().tobytes() == left.tobytes()
    assert build_graph(last, "main").contract.conditions[0].meaning == "A"


def test_direction_b_to_a_turns_condition_and_target_round(pairs: Path, tmp_path: Path) -> None:
    assert train(pairs, tmp_path / "run", replace(SMALL, direction="BtoA", images=2)) == 0
    checkpoint = read_checkpoint(tmp_path / "run" / "best.pt")
    right = open_rgb(pairs / "val" / "000.png").crop((64, 0, 128, 64))
    assert checkpoint.examples["main"]["condition"][0].permute(1, 2, 0).numpy().tobytes() == right.tobytes()
    assert build_graph(checkpoint, "main").contract.conditions[0].meaning == "B"


def test_resume_after_the_end_says_so(pairs: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (unbroken / "last.pt").read_bytes()
    assert train(pairs, unbroken, resume=True) == 0
    assert "is complete (13 images)" in capsys.readouterr().err
    assert (unbroken / "last.pt").read_bytes() == before


def test_resume_without_a_run_starts_one(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(pairs, tmp_path / "new", replace(SMALL, images=1), resume=True) == 0
    assert "starting from the first image" in capsys.readouterr().err


def test_an_existing_run_is_not_overwritten(pairs: Path, unbroken: Path) -> None:
    with pytest.raises(UsageError, match="already holds a run: go on with it by --resume"):
        train(pairs, unbroken)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 128}, {"ngf": 5}, {"ndf": 5}, {"dropout": "port"}, {"images": 14}, {"batch": 1}, {"lr": 1e-4},
        {"lambda_l1": 10.0}, {"jitter": False}, {"direction": "BtoA"}, {"seed": 1}, {"epochs": 2},
        {"epochs_decay": 2}, {"save_images": 5}, {"objective": "L1"}, {"ema": 0.9}, {"accumulate": 2},
    ],
)  # fmt: skip
def test_an_option_that_would_change_the_result_is_refused_on_resume(
    pairs: Path, unbroken: Path, change: dict[str, Any]
) -> None:
    flag = next(iter(change)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{flag} is .* was begun with"):
        train(pairs, unbroken, replace(SMALL, **change), resume=True)


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
    assert read_checkpoint(out / "last.pt").provenance["images"] == 2
    assert "Time is up at 2 of 13 images" in capsys.readouterr().err
    assert rows(out) == []  # the first figures come with the save at 4 images
    assert "waiting for the first figures" in (out / "index.html").read_text()
    assert train(pairs, out, resume=True) == 0
    assert_same_run(unbroken, out)


@pytest.mark.slow
def test_the_same_pairs_in_two_trees_or_a_list_train_the_same_weights(pairs: Path, tmp_path: Path) -> None:
    lines = []
    for split in ("train", "val"):
        for file in sorted((pairs / split).iterdir()):
            picture = open_rgb(file)
            for side, box in (("A", (0, 0, 64, 64)), ("B", (64, 0, 128, 64))):
                (tmp_path / "trees" / side / split).mkdir(parents=True, exist_ok=True)
                picture.crop(box).save(tmp_path / "trees" / side / split / file.name)
            lines.append({side.lower(): f"{side}/{split}/{file.name}" for side in "AB"} | {"split": split})
    (tmp_path / "trees" / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = replace(SMALL, images=3)
    sources = {"one": pairs, "two": tmp_path / "trees", "three": tmp_path / "trees" / "list.jsonl"}
    for name, source in sources.items():
        assert train(source, tmp_path / name, config) == 0
    states = [state_of(tmp_path / name / "last.pt") for name in sources]
    for state in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in state.items())


def test_a_broken_image_is_named_and_skipped_or_ends_a_strict_run(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(pairs, data)
    broken = data / "train" / "003.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(BadInputError, match=r"003\.png is a damaged PNG"):
        train(data, tmp_path / "strict", replace(SMALL, images=1), strict=True)
    assert not (tmp_path / "strict").exists()
    assert train(data, tmp_path / "run", replace(SMALL, images=1)) == 0
    said = capsys.readouterr().err
    assert "1 of 7 train pairs are left out" in said
    assert "003.png is a damaged PNG" in said


@pytest.mark.slow
def test_a_grey_generator_is_trained_on_grey(pairs: Path, tmp_path: Path) -> None:
    config = replace(SMALL, images=2, condition="grey", picture="grey")
    assert train(pairs, tmp_path / "run", config, evaluate=True) == 0
    contract = build_graph(read_checkpoint(tmp_path / "run" / "last.pt"), "main").contract
    assert (contract.conditions[0].shape, contract.outputs[0].shape) == ((1, 64, 64), (1, 64, 64))
    assert (tmp_path / "run" / "evaluation.html").exists()


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
