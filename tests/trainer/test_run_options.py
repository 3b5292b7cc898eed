"""What the options of a run do to what it leaves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.data.images import open_rgb
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families import build_graph
from cgan_trainer.families.pix2pix import PIX2PIX, Pix2pixRecipe
from cgan_trainer.training import start, trainer
from cgan_trainer.training.trainer import Trainer
from PIL import Image

from tests.trainer.pix2pix_runs import LOSSES, SMALL, rows, state_of, train


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
        ({"upsample": "resize"}, "choose another --upsample"),
        ({"upsample": "resize", "net": "resnet-6"}, "choose --net, --size and --norm"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_what_to_ask_for(
    pairs: Path, unbroken: Path, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        train(pairs, tmp_path / "run", replace(SMALL, **change), init_from=unbroken / "best.pt")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_reads_the_weights_that_it_would_begin_with(pairs: Path, unbroken: Path, tmp_path: Path) -> None:
    run = RunOptions(data=pairs, out=tmp_path / "run", threads=1, init_from=unbroken / "best.pt")
    assert start.describe(SMALL, run)["images"] == SMALL.images
    with pytest.raises(UsageError, match="give --ngf 4"):
        start.describe(replace(SMALL, ngf=5), run)
    assert not run.out.exists()


def test_a_family_that_looks_at_its_whole_batch_is_trained_whole_or_not_at_all(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pix2pixRecipe, "rows_interact", True)
    assert train(pairs, tmp_path / "whole", replace(SMALL, images=2, accumulate=1)) == 0
    with pytest.raises(UsageError, match=r"looks at its whole batch at once.*here 1 and 2"):
        train(pairs, tmp_path / "parts", replace(SMALL, images=2, accumulate=2))
    assert not (tmp_path / "parts").exists()


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
