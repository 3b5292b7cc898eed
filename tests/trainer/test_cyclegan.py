"""CycleGAN: its losses against the formulas of the paper in float64, and what its graphs, figures and files are."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.configs.cyclegan import CycleganConfig
from cgan_trainer.data.kinds import Split
from cgan_trainer.data.kinds.unpaired import UnpairedFacts
from cgan_trainer.families.base import Batch, Losses, Phase, Progress
from cgan_trainer.families.cyclegan import (
    CYCLEGAN,
    CycleganGenerator,
    CycleganOptions,
    CycleganRecipe,
)
from cgan_trainer.generator import Generator
from cgan_trainer.nets.image_pool import ImagePool
from cgan_trainer.training.trainer import Trainer, Turn
from torch import Tensor, nn

SMALL = CycleganConfig(size=32, net="resnet-6", ngf=4, ndf=4, patch=34, pool=0)
FACTS = UnpairedFacts(name="x", a="map", b="satellite")


def recipe_of(**changes: Any) -> CycleganRecipe:
    torch.manual_seed(0)
    recipe = CycleganRecipe(replace(SMALL, **changes), FACTS)
    for network in recipe.networks.values():
        recipe.initialise(network)
    return recipe


def phases_of(recipe: CycleganRecipe) -> tuple[Phase, Phase]:
    (stage,) = recipe.plan(100)
    generators, judges = stage.phases
    return generators, judges


def batch_of(positions: range = range(2), size: int = 32) -> Batch:
    draws = [torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(n)) * 2 - 1 for n in positions]
    both = torch.stack(draws)
    return Batch(positions=positions, tensors={"a": both[:, 0], "b": both[:, 1]})


def trainer_of(recipe: CycleganRecipe) -> Trainer:
    return Trainer(recipe, recipe.plan(100)[0])  # draws the first weights


def turns_of(recipe: CycleganRecipe, batches: Sequence[Batch]) -> list[Turn]:
    shared = tuple(batches)
    return [Turn(phase=phase, batches=shared) for phase in phases_of(recipe)]


def step(trainer: Trainer, *batches: Batch) -> dict[str, float]:
    start = Progress(images=0, total=100, epochs=1, steps=0)
    return trainer.step(turns_of(trainer.recipe, batches), start)  # type: ignore[arg-type]  # a CycleganRecipe


def gradients(trainer: Trainer) -> dict[str, Tensor]:
    """Of every weight in the one step taken: Adam's first moment is then half the gradient, beta1 being 0.5."""
    found: dict[str, Tensor] = {}
    for phase in phases_of(trainer.recipe):  # type: ignore[arg-type]  # as above
        names = [
            f"{net}.{key}" for net in phase.trains for key, _ in trainer.recipe.networks[net].named_parameters()
        ]
        moments = trainer.optimizers[phase.name].state_dict()["state"]
        found |= {name: 2 * moments[index]["exp_avg"] for index, name in enumerate(names)}
    return found


class Reference:
    """The objective written down from the paper, in float64, on copies of the recipe's networks."""

    def __init__(self, recipe: CycleganRecipe, batch: Batch) -> None:
        nets = {name: copy.deepcopy(network).double() for name, network in recipe.networks.items()}
        self.nets = nets
        self.a, self.b = batch["a"].double(), batch["b"].double()
        self.mode = recipe.config.gan_mode
        self.fake_b, self.fake_a = self.run("G_AB", self.a), self.run("G_BA", self.b)

    def run(self, name: str, images: Tensor) -> Tensor:
        result: Tensor = self.nets[name](images)[0]
        return result

    def gan(self, name: str, images: Tensor, real: bool) -> Tensor:
        logits: Tensor = self.nets[name](images)
        if self.mode == "lsgan":
            return ((logits - float(real)) ** 2).mean()
        share = torch.sigmoid(logits)
        return -(share if real else 1 - share).log().mean()

    def generators(self, cycle: float, identity: float) -> dict[str, Tensor]:
        back_a, back_b = self.run("G_BA", self.fake_b), self.run("G_AB", self.fake_a)
        return {
            "G_AB": self.gan("D_B", self.fake_b, real=True),
            "G_BA": self.gan("D_A", self.fake_a, real=True),
            "G_cycle_A": cycle * (back_a - self.a).abs().mean(),
            "G_cycle_B": cycle * (back_b - self.b).abs().mean(),
            "G_identity_A": cycle * identity * (self.run("G_BA", self.a) - self.a).abs().mean(),
            "G_identity_B": cycle * identity * (self.run("G_AB", self.b) - self.b).abs().mean(),
        }

    def judges(self) -> dict[str, Tensor]:
        return {
            name: (self.gan(name, real, real=True) + self.gan(name, fake.detach(), real=False)) / 2
            for name, real, fake in (("D_A", self.a, self.fake_a), ("D_B", self.b, self.fake_b))
        }

    def gradients(self, parts: Mapping[str, Tensor], trained: tuple[str, ...]) -> dict[str, Tensor]:
        weights = {f"{name}.{key}": w for name in trained for key, w in self.nets[name].named_parameters()}
        total = torch.stack([*parts.values()]).sum()
        return dict(zip(weights, torch.autograd.grad(total, [*weights.values()]), strict=True))


def assert_same_gradient(given: Tensor | None, wanted: Tensor) -> None:
    """Within 1e-4 of its largest value; 5e-6 is rounding, all that biases before an instance norm have."""
    assert given is not None
    tolerance = 5e-6 + 1e-4 * wanted.abs().max().item()
    torch.testing.assert_close(given.double(), wanted.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        ({"gan_mode": "lsgan", "lambda_cycle": 7.0, "lambda_identity": 0.3}, 0.3),
        ({"gan_mode": "vanilla"}, 0.5),
        ({"lambda_identity": 0.0}, None),
    ],
)
def test_a_step_follows_the_papers_objective(changes: dict[str, Any], identity: float | None) -> None:
    recipe = recipe_of(**changes)
    trainer, batch = trainer_of(recipe), batch_of()
    reference = Reference(recipe, batch)
    parts = reference.generators(recipe.config.lambda_cycle, identity or 0.0)
    if identity is None:
        parts = {name: part for name, part in parts.items() if "identity" not in name}
    judged = reference.judges()
    wanted = reference.gradients(parts, ("G_AB", "G_BA")) | reference.gradients(judged, ("D_A", "D_B"))
    losses = step(trainer, batch)
    assert tuple(losses) == (*parts, *judged) == recipe.loss_names
    for name, part in {**parts, **judged}.items():
        assert losses[name] == pytest.approx(part.item(), rel=1e-5), name
    given = gradients(trainer)
    assert given.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert_same_gradient(given[name], gradient)


def test_in_its_phase_a_network_alone_has_gradients() -> None:
    recipe = recipe_of()
    trainer = trainer_of(recipe)
    losses, seen = recipe.losses, {}

    def watched(phase: Phase, batch: Batch, made: Mapping[str, Tensor]) -> Losses:
        needed = {name for name, net in recipe.networks.items() if next(net.parameters()).requires_grad}
        seen[phase.name] = (needed, made["fake_A"].requires_grad)
        return losses(phase, batch, made)

    recipe.losses = watched  # type: ignore[method-assign]  # only looks on
    step(trainer, batch_of())
    assert seen["G"] == ({"G_AB", "G_BA"}, True)
    assert seen["D"][1] is False
    assert {"D_A", "D_B"} <= seen["D"][0]


def test_the_discriminators_see_what_the_generators_made_before_their_step() -> None:
    recipe = recipe_of()
    trainer = trainer_of(recipe)
    runs = []
    recipe.networks["G_AB"].register_forward_hook(lambda *_: runs.append(1))
    step(trainer, batch_of(range(1)), batch_of(range(1, 2)))
    assert len(runs) == 6  # fake, way back and identity of each of two batches; none for the discriminators


def test_generators_step_first_and_discriminators_on_the_same_images() -> None:
    generators, judges = phases_of(recipe_of())
    assert (generators.name, judges.name) == ("G", "D")
    assert (generators.batches, judges.batches) == (1, 0)


def test_the_discriminators_are_shown_the_pool_of_their_own_domain() -> None:
    recipe = recipe_of(pool=3)
    _, judges = phases_of(recipe)
    pools = {name: ImagePool(3, SMALL.seed, f"pool {name}") for name in ("A", "B")}
    older = 0
    for n in range(24):
        batch = batch_of(range(n, n + 1))
        with torch.no_grad():
            made = recipe.make(judges, batch)
            shown = {f"fake_{name}": pools[name].exchange(made[f"fake_{name}"], batch.positions) for name in pools}
            older += sum(not torch.equal(shown[name], made[name]) for name in shown)
            given = recipe.losses(judges, batch, made).parts
            wanted = recipe_without_pool(recipe).losses(judges, batch, shown).parts
        for name, part in wanted.items():
            assert given[name].item() == pytest.approx(part.item(), rel=1e-6)
    assert 10 < older < 34  # of the 42 that came when a pool was full


def recipe_without_pool(recipe: CycleganRecipe) -> CycleganRecipe:
    same = copy.copy(recipe)
    same.pools = {name: ImagePool(0, 0) for name in recipe.pools}
    return same


@pytest.mark.parametrize(
    ("changes", "names", "runs"),
    [
        ({}, "G_AB G_BA G_cycle_A G_cycle_B G_identity_A G_identity_B D_A D_B", 6),
        ({"lambda_identity": 0.0}, "G_AB G_BA G_cycle_A G_cycle_B D_A D_B", 4),
        ({"lambda_cycle": 0.0}, "G_AB G_BA D_A D_B", 2),
    ],
)
def test_a_loss_without_weight_is_neither_computed_nor_reported(
    changes: dict[str, Any], names: str, runs: int
) -> None:
    recipe = recipe_of(**changes)
    trainer = trainer_of(recipe)
    ran = []
    for name in ("G_AB", "G_BA"):
        recipe.networks[name].register_forward_hook(lambda *_: ran.append(1))
    assert tuple(step(trainer, batch_of())) == recipe.loss_names == tuple(names.split())
    assert len(ran) == runs


def test_batches_added_up_are_one_of_all_images() -> None:
    trainers = [trainer_of(recipe_of(pool=3)) for _ in range(2)]
    for begin in (0, 4, 8):
        whole = step(trainers[0], batch_of(range(begin, begin + 4)))
        halves = step(trainers[1], *(batch_of(range(at, at + 2)) for at in (begin, begin + 2)))
        if begin == 0:
            one, other = map(gradients, trainers)
            for name, gradient in one.items():
                assert_same_gradient(other[name], gradient)
        assert halves == pytest.approx(whole, rel=2e-3)
    for name, pool in trainers[0].recipe.pools.items():
        for mine, theirs in zip(pool.images, trainers[1].recipe.pools[name].images, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-2)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("net", "size", "millions"), [("resnet-9", 256, 11.378), ("resnet-6", 128, 7.838)])
def test_the_default_networks_have_the_published_sizes(net: Any, size: int, millions: float) -> None:
    with torch.device("meta"):
        recipe = CycleganRecipe(CycleganConfig(net=net, size=size), FACTS)
    assert [round(count(recipe.networks[name]) / 1e6, 3) for name in ("G_AB", "G_BA")] == [millions] * 2
    assert [count(recipe.networks[name]) for name in ("D_A", "D_B")] == [2_764_737] * 2


@pytest.mark.parametrize(("net", "size"), [("resnet-6", 64), ("resnet-9", 48), ("unet", 64)])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_rows_do_not_depend_on_each_other(net: Any, size: int, norm: Any) -> None:
    torch.manual_seed(1)
    generator = CycleganGenerator(CycleganOptions(size=size, net=net, ngf=4, norm=norm)).eval()
    images = batch_of(range(3), size)["a"]
    with torch.no_grad():
        (together,) = generator(images)
        assert together.shape == images.shape
        for row in range(3):
            (alone,) = generator(images[row : row + 1])
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-5)


def test_a_graph_is_built_again_from_its_plain_options() -> None:
    recipe = recipe_of()
    graphs = recipe.graphs(recipe.networks)
    assert list(graphs) == ["AtoB", "BtoA"]
    image = batch_of()["a"]
    for name, ends in (("AtoB", ("map", "satellite")), ("BtoA", ("satellite", "map"))):
        options = json.loads(json.dumps(recipe.graph_options(name)))
        again = CYCLEGAN.rebuild(name, options).eval()
        assert again.contract == graphs[name].contract
        assert (again.contract.conditions[0].meaning, again.contract.outputs[0].meaning) == ends
        assert not again.contract.noise
        again.load_state_dict(graphs[name].state_dict())
        with torch.no_grad():
            assert torch.equal(again(image)[0], graphs[name].eval()(image)[0])
    with torch.no_grad():
        assert not torch.equal(graphs["AtoB"](image)[0], graphs["BtoA"](image)[0])


@pytest.mark.parametrize(
    "options",
    [{"net": "vgg"}, {"size": 62}, {"net": "unet", "size": 96}, {"ngf": 0}, {"norm": "layer"}, {"colour": "red"}],
)
def test_options_of_no_network_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        CYCLEGAN.rebuild("AtoB", options)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 62}, "--size 62 cannot be used with --net resnet-6: give a multiple of 4"),
        ({"size": 96, "net": "unet"}, "--size 96 cannot be used with --net unet: give 64, 128, 256 or 512"),
        ({"size": 32, "patch": 142}, "--patch 142 cannot be used with --size 32: it needs images of 64 pixels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(SMALL, **changes).check()


def test_the_defaults_can_be_used() -> None:
    CycleganConfig().check()
    CycleganConfig(size=64, net="resnet-6").check()


class Times(Generator):
    """``factor * image``, with a meaning of its own."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @property
    def contract(self) -> Contract:
        shape = (3, 32, 32)
        return Contract(
            conditions=(Condition(name="condition", shape=shape),),
            noise=(),
            outputs=(Output(name="picture", shape=shape),),
            statistics="none",
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        assert not self.training
        return (self.factor * inputs[0],)


def held_out(a: int = 40, b: int = 5) -> Split:
    draws = torch.Generator().manual_seed(7)
    arrays = {
        name: torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=draws)
        for name, n in (("a", a), ("b", b))
    }
    return Split(name="test", arrays=arrays, files={"a": (), "b": ()}, count=a, sha256="")


def test_the_cycle_error_is_the_mean_over_both_ways() -> None:
    recipe, split = recipe_of(), held_out(a=6, b=5)
    there, back = Times(0.5).train(), Times(0.25).train()
    figures = recipe.validate({"AtoB": there, "BtoA": back}, split)
    means = [(split.arrays[name].double() / 127.5 - 1).abs().mean().item() for name in ("a", "b")]
    assert tuple(figures) == recipe.validation
    assert figures["val_cycle"] == pytest.approx((1 - 0.125) * sum(means) / 2, rel=1e-5)
    assert there.training and back.training  # as they were
    perfect = recipe.validate({"AtoB": Times(-1), "BtoA": Times(-1)}, split)
    assert perfect["val_cycle"] == pytest.approx(0, abs=1e-6)


def test_the_grid_shows_image_translation_and_way_back() -> None:
    recipe, split = recipe_of(), held_out()
    grid = recipe.grid({"AtoB": Times(-1), "BtoA": Times(0)}, split)
    assert grid.columns == ("image", "translated", "and back")
    assert grid.rows == ("map to satellite",) * 4 + ("satellite to map",) * 4
    pixels = torch.from_numpy(np.array(grid.image)).permute(2, 0, 1)
    assert pixels.shape == (3, 8 * 32, 3 * 32)
    cells = pixels.unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4)
    assert torch.equal(cells[0, 0], split.arrays["a"][0])
    assert torch.equal(cells[0, 1], 255 - split.arrays["a"][0])
    assert torch.equal(cells[4, 0], split.arrays["b"][0])
    assert cells[4, 1].float().std() == 0  # times 0


def test_examples_are_of_the_domain_a_graph_starts_from() -> None:
    split = held_out()
    for graph, name, wanted in (("AtoB", "a", 8), ("BtoA", "b", 5)):
        examples = recipe_of().examples(graph, split)
        assert list(examples) == ["condition"]
        assert examples["condition"].shape == (wanted, 3, 32, 32)
        assert torch.equal(examples["condition"][0], split.arrays[name][0])


def touched(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


@pytest.mark.parametrize(
    "names",
    [("latest_net_G_A.pth", "latest_net_G_B.pth"), ("G_AB_120.pth", "G_BA_120.pth"), ("G_A.pth", "G_B.pth")],
)
def test_either_file_of_a_pair_names_both(tmp_path: Path, names: tuple[str, str]) -> None:
    first, second = touched(tmp_path, *names)
    for given in (first, second, tmp_path):
        assert recipe_of().initial_files(given) == {"AtoB": first, "BtoA": second}


def test_a_folder_gives_its_newest_pair(tmp_path: Path) -> None:
    recipe = recipe_of()
    touched(tmp_path, *(f"{n}_net_G_{side}.pth" for n in (5, 20, 100) for side in "AB"), "100_net_D_A.pth")
    assert recipe.initial_files(tmp_path)["AtoB"].name == "100_net_G_A.pth"
    touched(tmp_path, "latest_net_G_A.pth", "latest_net_G_B.pth")
    assert recipe.initial_files(tmp_path)["BtoA"].name == "latest_net_G_B.pth"


def test_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    (second,) = touched(tmp_path, "latest_net_G_B.pth")
    with pytest.raises(BadInputError, match=r"latest_net_G_A\.pth is missing: .* copy it beside .*_G_B\.pth"):
        recipe_of().initial_files(second)


def test_any_other_file_holds_all_graphs(tmp_path: Path) -> None:
    (best,) = touched(tmp_path, "best.pt")
    assert recipe_of().initial_files(best) == {"AtoB": best, "BtoA": best}
