"""A family defined in this one file goes from cgan-train to a server and a benchmark; nothing else knows of it.

It has what no other family has together: two conditions of two kinds, two outputs of two kinds, noise that is no
mask, and three phases in two stages, one of which takes two new batches a step.
"""

# Annotations are evaluated at once: the command line reads the options' types from the class that inherits them.

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cgan_bench.cli import main as bench
from cgan_export.bundle.verify import verify_bundle
from cgan_export.cli.export import main as export
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import (
    Condition,
    Contract,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
)
from cgan_runtime.generator import noise_tensors
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import ServerOptions, TritonServer
from cgan_runtime.triton_client import TritonClient, TritonGenerator
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.cli.train import main as train
from cgan_trainer.configs import CONFIGS
from cgan_trainer.configs.base import TrainConfig, Width
from cgan_trainer.data.kinds import Split
from cgan_trainer.data.kinds.labelled import LabelledData, LabelledFacts
from cgan_trainer.families import FAMILIES, build_graph, register
from cgan_trainer.families.base import (
    Batch,
    Best,
    Family,
    Graphs,
    Losses,
    Networks,
    OptimizerSpec,
    Phase,
    Recipe,
    SampleGrid,
    Stage,
)
from cgan_trainer.families.grids import grid_image
from cgan_trainer.generator import Generator, as_used
from cgan_trainer.losses import gan_loss, l1_loss
from cgan_trainer.seeding import draw_noise, to_float
from PIL import Image
from torch import Tensor, nn

from tests.helpers import free_ports, smooth_images

SIZE, LATENT, CLASSES = 16, 5, ("dark", "bright")
GREY = ImageEncoding(color="L", mean=(0.5,), std=(0.5,))


@dataclass(frozen=True, kw_only=True)
class SketchConfig(TrainConfig):
    """Options of the family: a sketch and a class to an image, and how sure the generator is."""

    family: ClassVar[str] = "sketch"
    title: ClassVar[str] = "A sketch and a class to an image and a score (of this test)."

    size: int = SIZE
    width: Width = 4
    """Channels of every layer."""


class SketchGenerator(Generator):
    """Sketch [b, 1, 16, 16] and label [b], with z ~ N(0, 1)^5, to an image and a score."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.label = nn.Embedding(len(CLASSES), width)
        self.z = nn.Linear(LATENT, width)
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.score = nn.Linear(width, 1)

    @property
    def contract(self) -> Contract:
        image: dict[str, Any] = {"shape": (1, SIZE, SIZE), "range": (-1.0, 1.0), "encoding": GREY}
        return Contract(
            conditions=(
                Condition(name="sketch", **image),
                Condition(name="label", dtype="int64", shape=(), encoding=LabelEncoding(names=CLASSES)),
            ),
            noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(LATENT,)),),
            outputs=(
                Output(name="picture", **image),
                Output(name="sureness", shape=(), encoding=ScoreEncoding(threshold=0.0, positive="sure")),
            ),
            statistics="running",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        sketch, label, z = inputs
        style = (self.label(label) + self.z(z))[:, :, None, None]
        x = F.relu(self.norm(self.first(sketch) + style))
        return torch.tanh(self.last(x)), self.score(x.mean(dim=(2, 3)))[:, 0]


class SketchRecipe(Recipe[SketchConfig, LabelledFacts]):
    """The generator alone first; then a critic on two new batches, and the generator on the second."""

    validation = ("val_L1",)

    def __init__(self, config: SketchConfig, facts: LabelledFacts) -> None:
        super().__init__(config, facts)
        self.generator = SketchGenerator(config.width)
        judge = nn.Sequential(nn.Conv2d(1, config.width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(config.width, 1, 4))
        self.networks = {"generator": self.generator, "judge": judge}
        self.averaged = ("generator",)

    @property
    def loss_names(self) -> tuple[str, ...]:
        return ("W_L1", "D_loss", "G_loss")

    def plan(self, total: int) -> tuple[Stage, ...]:
        warm = Phase(name="W", trains=("generator",), batches=1)
        critic = Phase(
            name="D",
            trains=("judge",),
            optimizer=OptimizerSpec(kind="rmsprop", lr=self.config.lr, clip=0.05),
            through_make=False,
            batches=2,
        )
        maker = Phase(name="G", trains=("generator",), reuse=False)
        best = Best(metric="val_L1")
        return (
            Stage(name="warm-up", images=total // 3, phases=(warm,), best=best),
            Stage(
                name="train",
                images=total - total // 3,
                phases=(critic, maker),
                batch=2,
                fresh_optimizers=True,
                best=best,
            ),
        )

    def make(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        z = self.place(draw_noise("normal", (LATENT,), self.config.seed, f"z/{phase.name}", batch.positions))
        picture, score = self.networks["generator"](batch["image"], batch["label"], z)
        return {"picture": picture, "score": score}

    def losses(self, phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        if phase.name == "W":
            loss = l1_loss(made["picture"], batch["image"]) + made["score"].square().mean()
            return Losses(total=loss, parts={"W_L1": loss})
        judge = self.networks["judge"]
        fake = gan_loss(judge(made["picture"]), real=phase.name == "G", mode="lsgan")
        if phase.name == "G":
            return Losses(total=fake, parts={"G_loss": fake})
        loss = fake + gan_loss(judge(batch["image"]), real=True, mode="lsgan")
        return Losses(total=loss, parts={"D_loss": loss})

    def graphs(self, networks: Networks) -> dict[str, Generator]:
        generator = networks["generator"]
        assert isinstance(generator, Generator)
        return {"main": generator}

    def graph_options(self, graph: str) -> dict[str, Any]:
        assert graph == "main"
        return {"width": self.config.width}

    def examples(self, graph: str, held_out: Split) -> dict[str, Tensor]:
        assert graph == "main"
        return {"sketch": held_out.arrays["image"][:8], "label": held_out.arrays["label"][:8]}

    def validate(self, graphs: Graphs, held_out: Split) -> dict[str, float]:
        images, labels = to_float(held_out.arrays["image"]), held_out.arrays["label"]
        with as_used(graphs["main"]) as generator:
            torch.manual_seed(0)
            picture, _ = generator.live([images, labels], len(images))
        return {"val_L1": l1_loss(picture, images).item()}

    def grid(self, graphs: Graphs, held_out: Split) -> SampleGrid:
        images, labels = to_float(held_out.arrays["image"][:2]), held_out.arrays["label"][:2]
        with as_used(graphs["main"]) as generator:
            torch.manual_seed(0)
            picture, _ = generator.live([images, labels], 2)
        return SampleGrid(image=grid_image(list(zip(images, picture, strict=True))), columns=("sketch", "made"))


SKETCH = Family(
    config=SketchConfig,
    data=lambda _, size: LabelledData(size),
    recipe=SketchRecipe,
    rebuild=lambda _, options: SketchGenerator(**options),
)


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    register(SKETCH)
    yield
    del CONFIGS["sketch"], FAMILIES["sketch"]


def ended(command: Any, *words: str | Path) -> int:
    """A command in this process, where the family is known."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", [command.__module__, *map(str, words)])
        command()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sketches")
    for split, count, seed in (("train", 6, 0), ("val", 4, 1)):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index, pixels in enumerate(smooth_images(count, size=SIZE, seed=seed + 10 * label)):
                Image.fromarray(pixels).convert("L").save(folder / f"{index}.png")
    return root


def options(data: Path, out: Path) -> list[str | Path]:
    return ["sketch", "--data", data, "--out", out, "--images", "30", "--batch", "3", "--save-images", "10",
            "--ema", "0.9", "--threads", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "sketch"
    assert ended(train, *options(data, out)) == 0
    return out


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = tmp_path_factory.mktemp("bundles") / "sketch"
    assert ended(export, run / "last.pt", "-o", target, "--name", "sketch", "--precision", "fp32,fp16") == 0
    return read_bundle(target)


def test_its_run_folder_is_that_of_every_family(run: Path) -> None:
    with (run / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"W_L1", "D_loss", "G_loss", "val_L1"} <= set(rows[0])
    assert [row["images"] for row in rows][-1] == "30"
    page = (run / "index.html").read_text()
    assert "sketch" in page
    assert "pix2pix" not in page
    assert json.loads((run / "config.json").read_text())["grid"]["columns"] == ["sketch", "made"]


def test_a_stage_ends_where_it_should_and_a_resumed_run_equals_an_unbroken_one(
    run: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "broken"
    for step in range(12):  # one step each, through both stages
        resume = ["--resume"] if step else []
        assert ended(train, *options(data, out), "--max-minutes", "1e-9", *resume) == 0
    states = [read_checkpoint(folder / "last.pt") for folder in (run, out)]
    for state in states:
        assert state.training is not None
        assert state.training["stage"] == "train"
        assert set(state.training["optimizers"]) == {"D", "G"}
    for name, value in states[0].graphs["main"].state.items():
        assert torch.equal(value, states[1].graphs["main"].state[name]), name


def test_critic_weights_are_cut(run: Path) -> None:
    training = read_checkpoint(run / "last.pt").training
    assert training is not None
    assert max(float(value.abs().max()) for value in training["networks"]["judge"].values()) < 0.05 + 1e-6


def test_the_bundle_gives_what_pytorch_gives(run: Path, bundle: Bundle) -> None:
    generator = build_graph(read_checkpoint(run / "last.pt"), "main")
    images = to_float(torch.from_numpy(smooth_images(2, size=SIZE)[:, None, :, :, 0].copy()))
    labels = torch.tensor([1, 0])
    noise = noise_tensors(bundle.manifest.contract.noise, [7, 8], [0, 0])
    with torch.no_grad():
        picture, score = generator(images, labels, torch.from_numpy(noise["z"]))
    given = {"sketch": images.numpy(), "label": labels.numpy()}
    ours = bundle.generator().generate(given, [7, 8], [0, 0])
    np.testing.assert_allclose(ours["picture"], picture.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours["sureness"], score.numpy(), rtol=1e-4, atol=1e-6)
    assert all(figure.passed for figures in verify_bundle(bundle).values() for figure in figures.values())


def test_the_server_and_the_benchmark_take_it(
    bundle: Bundle, server_environment: ServerEnvironment, tmp_path: Path
) -> None:
    options = ServerOptions(ports=free_ports(), drain_seconds=2)
    given = {
        "sketch": to_float(torch.from_numpy(smooth_images(2, size=SIZE)[:, None, :, :, 0].copy())).numpy(),
        "label": np.array([1, 0]),
    }
    ours = bundle.generator().generate(given, [7, 2**63], [0, 3])
    with TritonServer([bundle], server_environment, options) as server:
        assert server.models == ("sketch_core", "sketch", "sketch_png")
        for url in (server.http_url, f"grpc://{server.grpc_url}"):
            client = TritonClient(url)
            theirs = TritonGenerator(client, "sketch").generate(given, [7, 2**63], [0, 3])
            client.close()
            for name, value in ours.items():
                np.testing.assert_array_equal(theirs[name], value)
    out = tmp_path / "bench.json"
    assert ended(bench, bundle.path, "--batch", "1", "--rounds", "3", "--json", "--out", out) == 0
    assert "sketch" in out.read_text()
