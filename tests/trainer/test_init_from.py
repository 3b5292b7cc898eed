"""--init-from a file with several generators: those whose names tell are taken, otherwise the user chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.checkpoint import Graph, write_checkpoint
from cgan_trainer.configs.base import RunOptions, check_config
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families.base import Recipe
from cgan_trainer.families.pix2pix import Pix2pixRecipe
from cgan_trainer.training.finetune import load_initial_weights
from cgan_trainer.training.trainer import Trainer
from torch import Tensor, nn

from tests.export.sources import junyanz
from tests.helpers import assert_one_sentence, run_here
from tests.trainer.cyclegans import recipe_of

State = Mapping[str, Tensor]
PIX2PIX = Pix2pixConfig(size=64, net="resnet-6", ngf=4, ndf=4, norm="instance", dropout="off")
PAIRS: dict[str, Any] = {"palette": None, "source_palette": None, "target_palette": None}


def made(seed: int) -> dict[str, Tensor]:
    """The state of a generator as other code saves it."""
    torch.manual_seed(seed)
    net = junyanz.resnet(6, ngf=4)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.0, 0.1)
    return dict(net.state_dict())


A, B, C = (made(seed) for seed in range(3))


def begun(
    recipe: Recipe[Any, Any], path: Path, content: object | None = None, *, chosen: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The first weight of each graph after a fresh run went on from the file."""
    if content is not None:
        torch.save(content, path)
    load_initial_weights(path, Trainer(recipe, recipe.plan(4)), chosen)
    return {name: first(graph.state_dict()) for name, graph in recipe.graphs(recipe.networks).items()}


def first(state: State) -> Tensor:
    return next(value for value in state.values() if value.shape == (4, 3, 7, 7))


def pix2pix() -> Pix2pixRecipe:
    facts = PairedFacts(name="x", source="A", target="B", direction="AtoB", **PAIRS)
    return Pix2pixRecipe(PIX2PIX, facts)


def same(given: Mapping[str, Tensor], **states: State) -> bool:
    return all(torch.equal(given[name], first(state)) for name, state in states.items())


@pytest.mark.parametrize(
    "content",
    [
        {"genA": A, "genB": B},
        {"G_BA": B, "G_AB": A, "D_A": {"x": torch.ones(1)}},
        {
            "epoch": 3,
            "state_dict": {f"{n}.{k}": v for n, s in (("netG_A", A), ("netG_B", B)) for k, v in s.items()},
        },
        {"genA2B": {"module": A}, "genB2A": {"module": B}},
        {"A2B": {"generator": A}, "B2A": {"generator": B}},
    ],
    ids=["gen", "pytorch-gan", "junyanz", "ugatit", "nested"],
)
def test_both_directions_are_taken_from_one_file_whose_names_tell(content: object, tmp_path: Path) -> None:
    assert same(begun(recipe_of(), tmp_path / "x.pt", content), AtoB=A, BtoA=B)


def test_names_that_do_not_tell_are_asked_about_in_words_of_this_command(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    asked = r"2 generators \(G, F\), and their names do not tell which is AtoB and which BtoA: .*--init-graph G,F"
    with pytest.raises(BadInputError, match=asked):
        begun(recipe_of(), path, {"G": A, "F": B})
    assert same(begun(recipe_of(), path, chosen=("G", "F")), AtoB=A, BtoA=B)
    assert same(begun(recipe_of(), path, chosen=("F", "G")), AtoB=B, BtoA=A), "the data may lie the other way round"
    untouched = first(dict(recipe_of().graphs(recipe_of().networks)["BtoA"].state_dict()))
    one = begun(recipe_of(), path, chosen=("F",))
    assert same(one, AtoB=B)
    assert one["BtoA"].abs().max() < 4 * untouched.abs().max(), "first weights, of 0.02"
    assert not torch.equal(one["BtoA"], first(A))
    with pytest.raises(BadInputError, match=r"3 generators .*do not tell"):
        begun(recipe_of(), path, {"G_A": A, "old": {"G_A": C}, "G_B": B})


def test_a_family_of_one_generator_is_given_the_one_that_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(BadInputError, match=r"2 generators \(genA, genB\): choose one with --init-graph genA"):
        begun(pix2pix(), path, {"genA": A, "genB": B})
    for name, state in (("genA", A), ("genB", B)):
        assert same(begun(pix2pix(), path, chosen=(name,)), main=state)
    for wrong, said in (
        (("genb",), r"--init-graph genb is not in .*x\.pt, which holds genA, genB\. Did you mean genB\?"),
        (("genA", "genB"), r"names 2 generators, and this run has 1 \(main\)"),
    ):
        with pytest.raises(UsageError, match=said):
            begun(pix2pix(), path, chosen=wrong)
    with pytest.raises(UsageError, match=r"--init-graph genA is not in .* which holds one: leave it out"):
        begun(pix2pix(), path, A, chosen=("genA",))
    assert same(begun(pix2pix(), path, A), main=A)


def test_the_only_generator_of_a_file_goes_the_way_that_its_name_says(tmp_path: Path) -> None:
    for name, graph in (("netG_A", "AtoB"), ("netG_B", "BtoA"), ("netG", "AtoB")):
        given = begun(recipe_of(), tmp_path / "x.pt", {name: A})
        assert same(given, **{graph: A})
        assert sum(torch.equal(value, first(A)) for value in given.values()) == 1


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, Recipe[Any, Any]]:
    """last.pt of a CycleGAN, alone in its folder."""
    (tmp_path / "brought").mkdir()
    recipe = recipe_of()
    graphs = {
        name: Graph(options=recipe.graph_options(name), contract=graph.contract.to_json(), state=graph.state_dict())
        for name, graph in recipe.graphs(recipe.networks).items()
    }
    training = {"networks": {name: dict(network.state_dict()) for name, network in recipe.networks.items()}}
    path = tmp_path / "brought" / "last.pt"
    write_checkpoint(path, family="cyclegan", graphs=graphs, examples={}, provenance={}, training=training)
    return path, recipe


def judges(recipe: Recipe[Any, Any]) -> list[Tensor]:
    return [next(iter(recipe.networks[name].state_dict().values())) for name in ("D_A", "D_B")]


def test_of_our_own_file_each_graph_is_taken_or_the_chosen_one(ours: tuple[Path, Recipe[Any, Any]]) -> None:
    path, source = ours
    states = {name: graph.state_dict() for name, graph in source.graphs(source.networks).items()}
    for given in (path, path.parent):
        recipe = recipe_of()
        assert same(begun(recipe, given), **states), "a folder means the file in it"
        assert all(map(torch.equal, judges(recipe), judges(source)))
    swapped = recipe_of()
    assert same(begun(swapped, path, chosen=("BtoA", "AtoB")), AtoB=states["BtoA"], BtoA=states["AtoB"])
    assert not any(map(torch.equal, judges(swapped), judges(source))), "its D_A knows the other images"
    assert same(begun(pix2pix(), path), main=states["AtoB"])
    assert same(begun(pix2pix(), path, chosen=("BtoA",)), main=states["BtoA"])


def test_a_name_without_a_file_is_a_usage_error(tmp_path: Path) -> None:
    run = RunOptions(data=tmp_path, out=tmp_path / "out", init_from=tmp_path / "x.pt", init_graph="genA, genB")
    check_config(PIX2PIX, run)
    assert run.init_graphs == ("genA", "genB")
    for wrong in (replace(run, init_from=None), replace(run, init_graph=" ,")):
        with pytest.raises(UsageError, match=r"--init-graph .* name a generator that is in the file of"):
            check_config(PIX2PIX, wrong)
    words = ("--data", tmp_path, "--out", tmp_path / "out", "--init-graph", "genA")
    assert_one_sentence(run_here("cgan-train", "cyclegan", *words), 2, "--init-graph genA cannot be used")
