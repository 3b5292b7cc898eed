"""What CycleGAN's graphs, figures and files of first weights are."""

from __future__ import annotations

import json
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
from cgan_trainer.families.cyclegan import (
    CYCLEGAN,
    CycleganGenerator,
    CycleganOptions,
    CycleganRecipe,
)
from cgan_trainer.generator import Generator
from torch import Tensor, nn

from tests.trainer.cyclegans import FACTS, SMALL, batch_of, recipe_of


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


def test_the_newest_pair_is_told_by_the_number_of_its_epoch(tmp_path: Path) -> None:
    touched(tmp_path, *(f"exp100_G_{way}_{n}.pth" for n in (5, 60) for way in ("AB", "BA")))
    assert recipe_of().initial_files(tmp_path)["AtoB"].name == "exp100_G_AB_60.pth"


def test_half_of_a_pair_is_refused(tmp_path: Path) -> None:
    (second,) = touched(tmp_path, "latest_net_G_B.pth")
    with pytest.raises(BadInputError, match=r"latest_net_G_A\.pth is missing: .* copy it beside .*_G_B\.pth"):
        recipe_of().initial_files(second)


def test_any_other_file_holds_all_graphs(tmp_path: Path) -> None:
    (best,) = touched(tmp_path, "best.pt")
    assert recipe_of().initial_files(best) == {"AtoB": best, "BtoA": best}
