"""What lies around the weights is taken off; what is no generator is refused with the way out."""

from __future__ import annotations

import argparse
import io
import pickle
import tarfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.readers import Choices, Loaded, read_generator
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from tests.export.sources import junyanz
from tests.export.sources.files import as_npz, saved, trained_like

State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def unet() -> dict[str, Tensor]:
    return dict(trained_like(junyanz.unet(5, ngf=1)).state_dict())


def read(folder: Path, content: Any, name: str = "latest_net_G.pth", **choices: Any) -> Loaded:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else saved(content))
    return read_generator(path, Choices(**choices))


def refusal(folder: Path, content: Any, name: str = "latest_net_G.pth", **choices: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        read(folder, content, name, **choices)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def first_weight(loaded: Loaded) -> Tensor:
    weight: Tensor = loaded.generator.state_dict()["net.down.0.conv.weight"]
    return weight


@pytest.mark.parametrize(
    ("wrap", "words"),
    [
        (lambda s: prefixed(s, "module."), "'module.'"),
        (lambda s: prefixed(s, "_orig_mod.module."), "'_orig_mod.'"),
        (
            lambda s: {"state_dict": prefixed(s, "generator.") | prefixed(s, "discriminator."), "epoch": 3},
            "'state_dict.generator'",
        ),
        (lambda s: {"state_dict": prefixed(s, "netG."), "optimizer_states": [{}]}, "'state_dict.netG'"),
        (lambda s: {"generator": s, "discriminator": s, "args": argparse.Namespace(lr=1.0)}, "'generator'"),
        (lambda s: {"netG": prefixed(s, "module.")}, "'netG'"),
        (lambda s: {"model_state_dict": s, "loss": 0.1}, "'model_state_dict'"),
        (OrderedDict, "PyTorch file"),
        (
            lambda s: {
                key: nn.Parameter(value) if value.is_floating_point() else value for key, value in s.items()
            },
            "",
        ),
        (lambda s: {key: value.double() if value.is_floating_point() else value for key, value in s.items()}, ""),
    ],
)
def test_wrappers_come_off(unet: State, tmp_path: Path, wrap: Any, words: str) -> None:
    loaded = read(tmp_path, wrap(unet))
    assert words in " ".join(loaded.inferred)
    assert torch.equal(first_weight(loaded), unet["model.model.0.weight"])


@pytest.mark.parametrize("key", ["g_ema", "params_ema"])
def test_averaged_weights_are_preferred_and_named(unet: State, tmp_path: Path, key: str) -> None:
    other = {name: value * 2 for name, value in unet.items()}
    loaded = read(tmp_path, {"params": other, "netG": other, key: unet})
    assert torch.equal(first_weight(loaded), unet["model.model.0.weight"])
    assert any(key in step and "averaged" in step for step in loaded.inferred)


def test_a_file_with_both_directions_asks_which(unet: State, tmp_path: Path) -> None:
    content = {"netG_A": unet, "netG_B": {name: value * 2 for name, value in unet.items()}}
    assert "--direction AtoB" in refusal(tmp_path, content)
    assert torch.equal(first_weight(read(tmp_path, content, direction="AtoB")), unet["model.model.0.weight"])
    assert torch.equal(first_weight(read(tmp_path, content, direction="BtoA")), unet["model.model.0.weight"] * 2)


def hooked(conv: nn.Module) -> None:
    nn.utils.spectral_norm(conv)


def wrapped_bar(conv: nn.Conv2d) -> None:
    """The spelling of older forks: X.module.weight_bar, with its vectors."""
    matrix = conv.weight.detach().flatten(1)
    u, _, v = torch.linalg.svd(matrix)
    inner = conv.module = nn.Module()
    for name, value in (("weight_bar", conv.weight), ("weight_u", u[:, 0]), ("weight_v", v[0])):
        inner.register_buffer(name, value.detach().clone())


@pytest.mark.parametrize("way", [hooked, parametrizations.spectral_norm, parametrizations.weight_norm, wrapped_bar])
def test_reparametrised_weights_are_folded(tmp_path: Path, way: Any) -> None:
    """The weight in the file divided by its norm is the weight torch computes with."""
    net = trained_like(junyanz.resnet(1, ngf=2))
    expected: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    places = {"model.1": "head.conv", "model.7": "down.1.conv", "model.11": "up.0.conv"}
    for place in places:
        conv = net.get_submodule(place)
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        original = conv.weight.detach().clone()
        if way is wrapped_bar and place == "model.11":
            continue
        torch.manual_seed(1)
        way(conv)
        net.train()
        if way is wrapped_bar:
            expected[place] = original / torch.linalg.matrix_norm(original.flatten(1), 2)
            continue
        if way is not parametrizations.weight_norm:
            for _ in range(30):  # the power iteration converges
                conv(torch.zeros(1, original.shape[int(isinstance(conv, nn.Conv2d))], 8, 8))
        net.eval()
        conv(torch.zeros(1, original.shape[int(isinstance(conv, nn.Conv2d))], 8, 8))
        expected[place] = conv.weight.detach().clone()
        assert parametrize.is_parametrized(conv) or way is hooked
    state = {key: value.detach() for key, value in net.state_dict().items()}
    if way is wrapped_bar:
        state = {key: value for key, value in state.items() if key not in ("model.1.weight", "model.7.weight")}
    loaded = read(tmp_path, state)
    assert any("folded" in step for step in loaded.inferred)
    for place, weight in expected.items():
        ours = loaded.generator.state_dict()[f"net.{places[place]}.weight"]
        torch.testing.assert_close(ours, weight, rtol=1e-4, atol=1e-5)


def script_archive() -> bytes:
    import warnings

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Conv2d(3, 3, 3)), stream)
    return stream.getvalue()


def tar_archive() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import sys; sys.cgan_was_here = True",)


def test_what_is_no_generator_is_refused_with_the_way_out(unet: State, tmp_path: Path) -> None:
    net = junyanz.unet(5, ngf=1)
    optimizer = torch.optim.Adam(net.parameters())
    disc = junyanz.discriminator().state_dict()
    encoder = {f"content_encoder.model.{n}.weight": torch.zeros(3, 3, 3, 3) for n in (1, 4)}
    munit = {f"{part}.model.0.conv.weight": torch.zeros(3, 3, 3, 3) for part in ("enc_style", "enc_content", "dec")}
    for content, name, words in (
        (script_archive(), "g.pt", "TorchScript archive"),
        (saved(net), "g.pth", "pickled Python object (tests.export.sources.junyanz.Named)"),
        (tar_archive(), "g.pth", "tar format of PyTorch before 0.4"),
        (optimizer.state_dict(), "g.pth", "state of an optimiser"),
        (disc, "60_net_D.pth", "this is a PatchGAN discriminator; export the generator: 60_net_G.pth"),
        (disc, "d.pth", "this is a PatchGAN discriminator; export the generator: latest_net_G.pth"),
        (encoder, "c.pth", "an encoder without its decoder"),
        ({k: v for k, v in unet.items() if k[-12:] != "model.3.bias"}, "g.pth", "model.model.3.bias is missing"),
        ({**unet, "model.model.9.weight": torch.zeros(1)}, "g.pth", "model.model.9.weight is not expected"),
        ({"backbone.conv.weight": torch.zeros(1)}, "g.pth", "backbone.conv.weight"),
        ({"a": munit, "b": munit}, "g.pth", "MUNIT"),
        (saved(unet)[:-100], "g.pth", "truncated or an incomplete download"),
        (b"<!DOCTYPE html><html>", "g.pth", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "g.pth", "Git LFS pointer"),
        (b"", "g.pth", "is empty"),
        (pickle.dumps(Payload()), "g.pkl", "pickled Python object (builtins.exec)"),
        (saved({"state_dict": unet, "callbacks": Payload()}), "g.ckpt", "pickled Python object (__builtin__.exec)"),
        ([1, 2], "g.pth", "not a state dict"),
        (as_npz({"weights": np.zeros(3, np.float32)}), "g.npz", "no layout known here"),
    ):
        assert words in refusal(tmp_path, content, name), name
    import sys

    assert not hasattr(sys, "cgan_was_here")


def test_the_first_three_differences_are_named(unet: State, tmp_path: Path) -> None:
    wrong = {**unet, "model.model.3.weight": torch.zeros(7, 3, 4, 4), "zz": torch.zeros(1)}
    del wrong["model.model.1.model.2.bias"], wrong["model.model.1.model.6.bias"]
    text = refusal(tmp_path, wrong)
    assert "nearest to a U-Net of pytorch-CycleGAN-and-pix2pix but differs in 4 keys" in text
    assert "model.model.1.model.2.bias is missing, model.model.1.model.6.bias is missing" in text
    assert "model.model.3.weight has the shape [7, 3, 4, 4]" in text


def test_affine_instance_norm_is_asked_about(tmp_path: Path) -> None:
    net = trained_like(junyanz.unet(5, kind="affine"))
    assert "--variant affine-norm" in refusal(tmp_path, net.state_dict())
    loaded = read(tmp_path, net.state_dict(), variant="affine-norm", size=(64, 64))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.generator(x)[0], net.train()(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_no_training_produces_are_damage(unet: State, tmp_path: Path, value: float) -> None:
    broken = {key: tensor.clone() for key, tensor in unet.items()}
    broken["model.model.3.weight"][0, 0, 0, 0] = value
    assert "model.model.3.weight contains" in refusal(tmp_path, broken)


def test_sizes_the_net_cannot_take_are_refused_with_the_rule(unet: State, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        read(tmp_path, unet, size=(64, 100))
    with pytest.raises(UsageError, match="U-Net of 5 levels has no place"):
        read(tmp_path, unet, dropout=True)


def test_flags_that_mean_nothing_for_a_file_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--eps is for files from other code"):
        read_generator(checkpoint, Choices(eps=1e-3))
    norm_free = trained_like(junyanz.unet(5, kind="none")).state_dict()
    with pytest.raises(UsageError, match="--eps means nothing"):
        read(tmp_path, norm_free, eps=1e-3)


def test_what_a_message_quotes_from_a_file_stays_on_one_line(unet: State, tmp_path: Path) -> None:
    assert "zz\\n\\x1b[31m is not expected" in refusal(tmp_path, {**unet, "zz\n\x1b[31m": torch.zeros(1)})


def test_a_pickle_bomb_of_shared_dicts_is_refused(tmp_path: Path) -> None:
    layers: Any = {}
    for _ in range(7):
        layers = {str(n): layers for n in range(20)}
    assert "too many" in refusal(tmp_path, saved({"x": layers}))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_numbers_that_are_no_plain_weights_are_refused(unet: dict[str, Tensor], tmp_path: Path, dtype: Any) -> None:
    """Float8 has a scale that lies elsewhere; of a complex number half would be lost."""
    from safetensors.torch import save

    text = refusal(tmp_path, save({key: value.to(dtype) for key, value in unet.items()}), "a.safetensors")
    assert f"{str(dtype).removeprefix('torch.')} numbers" in text
    assert "save the weights as float32" in text
