from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.contract import (
    Condition,
    Contract,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    VectorEncoding,
)
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.configs.base import RunOptions
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.domains import read_domains
from cgan_trainer.data.pairs import load_pairs
from cgan_trainer.evaluation import segmenter
from cgan_trainer.evaluation.labels import TrainingPairs, find_labels
from cgan_trainer.evaluation.sampling import generate_images, with_channels
from cgan_trainer.families import build_graph
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.generator import Generator
from cgan_trainer.seeding import derive_seed
from cgan_trainer.training import start
from cgan_trainer.training.judge_run import evaluate_run
from PIL import Image
from torch import Tensor

from tests.helpers import pix2pix_generator, run_command, run_here, write_pix2pix_checkpoint


def train(data: Path, out: Path, **more: Any) -> Path:
    config = Pix2pixConfig(size=64, ngf=4, ndf=4, images=4, **more)
    assert start.train(config, RunOptions(data=data, out=out, threads=1, evaluate=False)) == 0
    return out


@pytest.fixture(scope="module")
def run(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(pairs, tmp_path_factory.mktemp("runs") / "plain")


def test_the_same_command_twice_writes_the_same_files(run: Path) -> None:
    written = []
    for start_it in (run_command, run_here):  # in a process of its own, and in this one
        done = start_it("cgan-train", "evaluate", str(run), "--seeds", "2", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads((run / "evaluation.json").read_text())
        written.append([(run / name).read_bytes() for name in ("evaluation.json", "evaluation.html")])
    assert written[0] == written[1]
    found = json.loads(written[0][0])
    assert [row["name"] for row in found["rows"]] == ["generator", "lookup table", "truth"]
    assert found["rows"][2]["figures"]["psnr"]["value"] == "inf"
    assert found["data"]["split"] == "val"
    assert any("there is no test/" in note for note in found["notes"])
    assert any("no palette" in note for note in found["notes"])
    page = written[0][1].decode()
    assert page.count("<img ") == 3 * (1 + 2 + 1 + 1 + 1)
    assert 'src="http' not in page


def test_the_judged_image_does_not_depend_on_the_others(pairs: Path, run: Path) -> None:
    generator = build_graph(read_checkpoint(run / "last.pt"), "main")
    conditions = {"condition": load_pairs(pairs, "train", 64).a}
    every = generate_images(generator, conditions, range(7), seed=0, seeds=2)
    one = generate_images(generator, conditions, [5], seed=0, seeds=1)
    assert generator.training is False
    assert torch.equal(every[5, 0], one[0, 0])
    assert not torch.equal(every[5, 0], every[5, 1])
    assert not torch.equal(one, generate_images(generator, conditions, [5], seed=1, seeds=1))
    other = generate_images(generator, conditions, [5], seed=0, seeds=1, purpose="other")
    assert not torch.equal(one, other)


def test_a_generator_without_dropout_has_no_diversity() -> None:
    conditions = {"condition": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)}
    for options in (Pix2pixOptions(size=64, ngf=4, dropout="off"), Pix2pixOptions(size=64, ngf=4)):
        torch.manual_seed(0)
        drawn = generate_images(Pix2pixGenerator(options), conditions, [0, 1], seed=0, seeds=3)
        assert bool((drawn.float().std(dim=1) > 0).any()) == bool(options.dropout_sites)


def test_grey_generators_are_given_grey_and_judged_on_grey() -> None:
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).convert("L")
    grey = with_channels(pixels, 1)
    assert grey.shape == (2, 1, 64, 64)
    assert (grey[0, 0].int() - torch.tensor(list(expected.tobytes())).reshape(64, 64)).abs().max() <= 1
    generator = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=4, in_channels=1, out_channels=1))
    assert generate_images(generator, {"condition": pixels}, [0], seed=0, seeds=2).shape == (1, 2, 1, 64, 64)
    assert torch.equal(with_channels(grey, 3), grey.expand(-1, 3, -1, -1))
    with pytest.raises(BadInputError, match="takes condition, which the data does not have"):
        generate_images(generator, {"other": pixels}, [0], seed=0, seeds=1)


class Grain(Generator):
    """No condition; two outputs, the second an image of its own range, made whole by cutting off."""

    @property
    def contract(self) -> Contract:
        encoding = ImageEncoding(color="RGB", mean=(0.0, 0.5, 0.25), std=(1.0, 0.5, 0.25), rounding="truncate")
        return Contract(
            conditions=(),
            noise=(NoiseInput(name="z", index=0, distribution="uniform01", shape=(3, 2, 2)),),
            outputs=(
                Output(name="score", shape=()),
                Output(name="picture", shape=(3, 2, 2), range=(-1.0, 3.0), encoding=encoding),
            ),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (z,) = inputs
        mean, std = (torch.tensor(part)[:, None, None] for part in ((0.0, 0.5, 0.25), (1.0, 0.5, 0.25)))
        return z.mean(dim=(1, 2, 3)), (z - mean) / std


def test_any_contract_is_drawn_and_decoded_as_its_encoding_says() -> None:
    drawn = generate_images(Grain(), {}, [0, 3, 3], seed=0, seeds=2)
    assert drawn.shape == (3, 2, 3, 2, 2)
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(derive_seed(0, "evaluation/1", 3))
    expected = torch.rand(1, 3, 2, 2)[0].double() * 255
    assert (drawn[1, 1] - expected.floor()).abs().max() <= 1  # by one, where float32 falls below a whole number
    assert (drawn[1, 1] == expected.floor()).double().mean() > 0.8


def test_conditions_are_encoded_as_the_contract_says() -> None:
    seen: list[Tensor] = []

    class Watching(Grain):
        @property
        def contract(self) -> Contract:
            image = Condition(
                name="photo",
                shape=(1, 2, 2),
                range=(0.0, 1.0),
                encoding=ImageEncoding(color="L", mean=(0.25,), std=(0.5,)),
            )
            label = Condition(name="label", dtype="int64", shape=(), encoding=LabelEncoding())
            style = Condition(name="style", shape=(2,), encoding=VectorEncoding())
            return super().contract.model_copy(update={"conditions": (image, label, style)})

        def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
            seen.extend(inputs[:3])
            return super().forward(inputs[3])

    photos = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8).expand(2, 1, 2, 2)
    styles = torch.tensor([[0.5, -3.0], [1.0, 2.0]])
    generate_images(
        Watching(), {"photo": photos, "label": torch.tensor([4, 7]), "style": styles}, [1], seed=0, seeds=1
    )
    assert seen[0].flatten().tolist() == pytest.approx([-0.5, -0.1, 0.3, 1.5])
    assert seen[1].tolist() == [7]
    assert seen[2].tolist() == [[1.0, 2.0]]


def test_a_sample_of_the_split_is_spread_over_it_and_said(labelled: Path, tmp_path: Path) -> None:
    run = train(labelled, tmp_path / "run", direction="BtoA")
    evaluation = evaluate_run(run, images=2, seeds=2)
    assert evaluation.split == "test"
    assert evaluation.files == ("0.png", "2.png")
    assert "2 of the 5" in evaluation.notes[0]
    # Photographs to labels: no segmenter, the true colours are read without an error.
    truth = evaluation.row("truth").figures
    assert truth["fcn_pixel"].value == truth["fcn_iou"].value == 1
    assert evaluation.row("generator").figures["fcn_pixel"].value < 1
    assert "kid_efflite0" not in truth
    with pytest.raises(UsageError, match="--images 0"):
        evaluate_run(run, images=0)


@pytest.mark.usefixtures("short_training")
@pytest.mark.slow
def test_the_segmenter_reads_real_photographs_and_is_trained_once(labelled: Path, tmp_path: Path) -> None:
    train_pairs, test = (load_pairs(labelled, split, 64) for split in ("train", "test"))
    palette = read_domains(labelled).palette_a
    assert palette is not None
    pairs = TrainingPairs(conditions=train_pairs.a, targets=train_pairs.b, digest=train_pairs.sha256)

    def judge() -> tuple[segmenter.Segmenter | object, float]:
        labels, why = find_labels(
            source=palette, target=None, conditions=test.a, targets=test.b, train=pairs, cache=tmp_path
        )
        assert labels is not None
        assert "the ceiling" in why
        found = labels.classify(test.b)
        assert torch.equal(labels.true, palette.classes(test.a))
        return found, float((found == labels.true).double().mean())

    first, right = judge()
    assert right > 0.9  # chance is a third
    files = list(tmp_path.iterdir())
    assert len(files) == 1
    written = files[0].stat().st_mtime_ns
    again, _ = judge()
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(again))
    assert files[0].stat().st_mtime_ns == written
    files[0].write_bytes(b"damaged")
    repaired, _ = judge()
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(repaired))


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "_STEPS", 24)
    monkeypatch.setattr(segmenter, "_BATCH", 4)
    monkeypatch.setattr(segmenter, "_WIDTHS", (16, 16, 16))


def test_without_training_images_rows_are_absent_and_the_reason_is_given(
    run: Path, labelled: Path, tmp_path: Path
) -> None:
    shutil.copytree(labelled, tmp_path / "data", ignore=shutil.ignore_patterns("train"))
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    evaluation = evaluate_run(copy, data=tmp_path / "data", seeds=1, images=2)
    assert [row.name for row in evaluation.rows] == ["generator", "truth"]
    assert sum("no training images" in note for note in evaluation.notes) == 2
    assert "seed_std" not in evaluation.row("generator").figures


def test_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    out = tmp_path / "joint"
    done = run_here("cgan-train", "evaluate", str(run), str(other), "--seeds", "1", "--out", str(out))
    assert done.returncode == 0, done.stderr
    names = [line.split("│")[1].strip() for line in done.stdout.splitlines() if line.startswith("│")]
    assert names == ["plain", "other", "lookup table", "truth"]
    found = json.loads((out / "evaluation.json").read_text())
    assert [one["run"] for one in found] == ["plain", "other"]
    assert found[0]["rows"] == found[1]["rows"]
    assert (out / "evaluation.html").read_text().count('<section id="run-') == 2


def test_a_test_split_that_cannot_be_used_is_passed_over_with_the_reason(
    run: Path, pairs: Path, tmp_path: Path
) -> None:
    data, copy = tmp_path / "pairs", tmp_path / "run"
    shutil.copytree(pairs, data)
    shutil.copytree(run, copy)
    (data / "test").mkdir()
    evaluation = evaluate_run(copy, data=data, seeds=1)
    assert evaluation.split == "val"
    assert f"Judged on val/, for test/ cannot be used ({data / 'test'} holds no images" in evaluation.notes[-1]
    shutil.rmtree(data / "val")
    with pytest.raises(BadInputError, match="test holds no images"):
        evaluate_run(copy, data=data, seeds=1)


def test_what_is_no_run_is_one_sentence(run: Path, pairs: Path, tmp_path: Path) -> None:
    def refused(folder: Path, **options: object) -> str:
        with pytest.raises((BadInputError, UsageError)) as caught:
            evaluate_run(folder, **options)  # type: ignore[arg-type]  # any option, to be refused
        return str(caught.value)

    assert "does not exist" in refused(tmp_path / "absent")
    assert "no config.json" in refused(pairs)
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("evaluation.*"))
    assert "by --data" in refused(copy, data=tmp_path / "gone")
    assert "--split test" in refused(copy, split="test")
    broken = tmp_path / "broken"
    shutil.copytree(pairs, broken)
    (broken / "test").mkdir()
    assert f"{broken / 'test'} holds no images" in refused(copy, data=broken, split="test")
    assert "--seeds 0" in refused(copy, seeds=0)
    wide = write_pix2pix_checkpoint(tmp_path / "wide.pt", pix2pix_generator(size=128, ngf=1))
    assert "takes images of 128x128 pixels, but the data was read at 64x64" in refused(copy, checkpoint=wide)
    weights = (copy / "last.pt").read_bytes()
    (copy / "last.pt").write_bytes(weights[: len(weights) // 2])
    assert "damaged or cut short" in refused(copy)
    (copy / "last.pt").unlink()
    assert "has no last.pt" in refused(copy)
    for text in (
        "{",
        "[]",
        '{"data": 1, "direction": "AtoB", "seed": 0}',
        '{"data": "x", "seed": 0.5, "family": "pix2pix"}',
        '{"data": "x", "seed": 0, "family": "pix2pix", "direction": "up"}',
    ):
        (copy / "config.json").write_text(text)
        assert "config.json" in refused(copy)
    (copy / "config.json").write_text('{"data": "x", "seed": 0, "family": "other"}')
    assert "run of 'other'" in refused(copy)
    assert not (copy / "evaluation.json").exists()
    done = run_here("cgan-train", "evaluate", str(tmp_path / "absent"))
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert run_here("cgan-train", "evaluate").returncode == 2
