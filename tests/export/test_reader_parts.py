"""The generator of a file is found by its keys, whatever a script called it and wherever it put it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.part_names import direction_of, is_average, is_rival, kin
from cgan_trainer.readers import Choices, Loaded, read_generator
from torch import Tensor

from tests.export.sources import junyanz
from tests.export.sources.files import saved, trained_like

State = dict[str, Tensor]
NAMES = (
    "g gen G Generator generator net_G netG G_model G_state_dict generator_state_dict net model params weights "
    "my_first_try 0 translator"
)


@pytest.fixture(scope="module")
def one() -> State:
    return dict(trained_like(junyanz.resnet(1, ngf=2)).state_dict())


@pytest.fixture(scope="module")
def two(one: State) -> State:
    return {name: value * 2 for name, value in one.items()}


@pytest.fixture(scope="module")
def rival() -> State:
    return dict(junyanz.discriminator().state_dict())


def read(folder: Path, content: Any, **choices: Any) -> Loaded:
    path = folder / "x.pth"
    path.write_bytes(saved(content))
    return read_generator(path, Choices(**choices))


def first(loaded: Loaded) -> Tensor:
    weight: Tensor = loaded.generator.state_dict()["net.head.conv.weight"]
    return weight


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("name", NAMES.split())
def test_no_name_matters_where_there_is_one_generator(name: str, one: State, rival: State, tmp_path: Path) -> None:
    """As a dict, as a beginning of the keys, and a level deeper, beside a discriminator and its optimiser."""
    optimizer = torch.optim.Adam(junyanz.discriminator().parameters()).state_dict()
    for content in (
        {name: one, "netD": rival, "epoch": 3, "optimizer": optimizer},
        {"state_dict": under(name, one) | under("netD", rival), "epoch": 3},
        {"checkpoint": {"nets": {name: under("module", one)}}, "args": {"lr": 1e-4}},
    ):
        loaded = read(tmp_path, content)
        assert torch.equal(first(loaded), one["model.1.weight"])
        assert (loaded.graph, loaded.graphs) == ("main", ("main",))


def test_lists_and_a_wrapper_called_state_are_looked_into(one: State, rival: State, tmp_path: Path) -> None:
    for content in ([one, rival], {"state": {"G": one}}, {"n_averaged": torch.tensor(3), **under("module", one)}):
        assert torch.equal(first(read(tmp_path, content)), one["model.1.weight"])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("netG_A", "netG_B"),
        ("net_G_A", "net_G_B"),
        ("G_AB", "G_BA"),
        ("G_A2B", "G_B2A"),
        ("genA2B", "genB2A"),
        ("gen_a2b", "gen_b2a"),
        ("G_AtoB", "G_BtoA"),
        ("generator_A", "generator_B"),
        ("G_A_state_dict", "G_B_state_dict"),
    ],
)
def test_direction_picks_one_of_a_pair_and_names_its_sides(
    a: str, b: str, one: State, two: State, rival: State, tmp_path: Path
) -> None:
    for content in (
        {a: one, b: two, "netD_A": rival},
        {"state_dict": under(a, one) | under(b, two) | under("netD_A", rival)},
    ):
        to_b, to_a = (read(tmp_path, content, direction=way) for way in ("AtoB", "BtoA"))
        assert torch.equal(first(to_b), one["model.1.weight"])
        assert torch.equal(first(to_a), two["model.1.weight"])
        assert (to_a.graph, to_a.graphs) == (b, (a, b))
        named = read(tmp_path, content, graph=b)
        assert torch.equal(first(named), two["model.1.weight"])
        assert named.generator.contract.conditions[0].meaning == "B"
        with pytest.raises(BadInputError, match=rf"2 generators \({a}, {b}\).*--direction"):
            read(tmp_path, content)


def test_names_that_say_no_direction_are_asked_about(one: State, two: State, tmp_path: Path) -> None:
    content = {"G": one, "F": two}
    for choices in ({}, {"direction": "BtoA"}):
        with pytest.raises(BadInputError, match="--graph G or --graph F"):
            read(tmp_path, content, **choices)
    assert torch.equal(first(read(tmp_path, content, graph="F")), two["model.1.weight"])
    with pytest.raises(UsageError, match=r"holds G, F\. Did you mean F\?"):
        read(tmp_path, content, graph="f")
    with pytest.raises(UsageError, match="holds one: leave it out"):
        read(tmp_path, one, graph="G")


def test_an_average_is_taken_before_its_own_weights_only(one: State, two: State, tmp_path: Path) -> None:
    for content in (
        {"ema": {"netG": one}, "model": {"netG": two}},
        {"G_ema": one, "G": two},
        {"ema_generator": one, "generator": two},
    ):
        assert torch.equal(first(read(tmp_path, content)), one["model.1.weight"])
    with pytest.raises(BadInputError, match=r"\(G_A_ema, G_B\)"):
        read(tmp_path, {"G_A_ema": one, "G_A": two, "G_B": two})


def test_what_is_saved_under_two_names_is_one_generator(one: State, tmp_path: Path) -> None:
    assert torch.equal(first(read(tmp_path, {"model": one, "state_dict": one})), one["model.1.weight"])


def test_a_net_whose_every_weight_is_reparametrised_is_recognised(one: State, tmp_path: Path) -> None:
    net = trained_like(junyanz.resnet(1, ngf=2))
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.utils.parametrizations.weight_norm(layer)
    loaded = read(tmp_path, {"anything": net.state_dict()})
    torch.testing.assert_close(first(loaded), one["model.1.weight"])


def test_files_without_a_generator_name_their_parts(rival: State, tmp_path: Path) -> None:
    for content, words in (
        ({"netD_A": rival, "netD_B": rival}, "PatchGAN discriminator"),
        ({"enc": {"x.weight": torch.ones(1)}, "dec": {"y.weight": torch.ones(1)}}, "several parts (enc, dec)"),
        ({"optimizer": torch.optim.Adam(junyanz.discriminator().parameters()).state_dict()}, "holds no weights"),
    ):
        with pytest.raises(BadInputError) as caught:
            read(tmp_path, content)
        assert words in str(caught.value)


def test_what_names_say() -> None:
    assert [direction_of(name) for name in ("latest_net_G_A", "G_BA_9", "F", "photo_a", "G_XtoY", "a")] == [
        *("AtoB", "BtoA"),
        *(None,) * 4,
    ]
    assert [kin(name) for name in ("netG", "params_ema", "state_dict.net_G_B", "G_XtoY")] == ["", "", "b", "xto y"]
    assert is_average("g_ema")
    assert not is_average("schema")
    assert is_rival("netD_A")
    assert not is_rival("netG")
