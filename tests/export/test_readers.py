"""A file from other code becomes the model its own source would run, to the last float."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cgan_export.export import export_checkpoint
from cgan_runtime.bundle import read_bundle
from cgan_runtime.contract import Condition, ImageEncoding, NoiseInput
from cgan_trainer.readers import Choices, Loaded, read_generator
from torch import Tensor

from tests.export.sources import affinelayer, pytorch_gan
from tests.export.sources.files import FILES, SourceFile, as_npz, trained_like
from tests.helpers import REPOSITORY, assert_one_sentence, run_here

TOLERANCE = 1e-4  # of a range of 2: what parity of FP32 is held to everywhere


def load(made: SourceFile, folder: Path, **choices: object) -> Loaded:
    path = folder / made.name
    path.write_bytes(made.data)
    return read_generator(path, Choices(**{"size": made.size, **choices}))  # type: ignore[arg-type]  # cases of any choice


def inputs_of(loaded: Loaded, batch: int = 2) -> list[Tensor]:
    """Random conditions and noise of the contract."""
    draws = torch.Generator().manual_seed(3)
    contract = loaded.generator.contract
    values: list[Tensor] = []
    inputs: list[Condition | NoiseInput] = [*contract.conditions, *contract.noise]
    for tensor in inputs:
        shape = (batch, *(int(axis) for axis in tensor.shape))
        if tensor.dtype == "int64":
            values.append(torch.arange(batch) + 3)
        elif getattr(tensor, "distribution", "") == "mask":
            values.append(torch.randint(0, 2, shape, generator=draws) * 2.0)
        else:
            values.append(torch.rand(shape, generator=draws) * 2 - 1)
    return values


@pytest.mark.parametrize("kind", FILES)
def test_the_generator_is_the_sources_own(kind: str, tmp_path: Path) -> None:
    made = FILES[kind]()
    loaded = load(made, tmp_path)
    inputs = inputs_of(loaded)
    with torch.no_grad():
        (ours,) = loaded.generator(*inputs)
    theirs = made.forward(*inputs)
    assert ours.shape == theirs.shape == (2, *loaded.generator.contract.outputs[0].shape)
    assert theirs.std() > 0.02, "the source's image says something"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)


def test_live_dropout_is_the_noise_and_can_be_switched_off(tmp_path: Path) -> None:
    made = FILES["unet6-batch"]()
    live, silent = load(made, tmp_path), load(made, tmp_path, dropout=False)
    assert [n.shape for n in live.generator.contract.noise] == [(32, 4, 4)]
    assert any("dropout live" in words for words in live.assumed)
    assert not any("dropout" in words for words in silent.assumed)
    assert silent.generator.contract.noise == ()
    (x, mask) = inputs_of(live)
    with torch.no_grad():
        (expected,) = live.generator(x, torch.ones_like(mask))
        assert torch.equal(silent.generator(x)[0], expected)
        assert not torch.equal(live.generator.live([x], 1)[0], live.generator.live([x], 1)[0])


def test_dropout_behind_zeros_is_no_noise_of_a_net_trained_on_batches_of_one(tmp_path: Path) -> None:
    """pix2pix-tensorflow's own: the beta of its 1x1 layer gets no gradient and stays zero."""
    variables = affinelayer.variables()
    for layer in ("encoder_8", "decoder_8"):
        variables[f"generator/{layer}/batch_normalization/beta"][:] = 0
    path = tmp_path / "facades.npz"
    path.write_bytes(as_npz(variables))
    loaded = read_generator(path)
    assert [noise.shape for noise in loaded.generator.contract.noise] == [(32, 4, 4), (32, 8, 8)]
    x, *masks = inputs_of(loaded, batch=1)
    with torch.no_grad():
        (ours,) = loaded.generator(x, *masks)
    for value in (0.0, 2.0):
        layers = [torch.full((1, 2, 2, 32), value), *(mask.permute(0, 2, 3, 1) for mask in masks)]
        theirs = affinelayer.forward(variables, x.permute(0, 2, 3, 1), layers).permute(0, 3, 1, 2)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    larger = read_generator(path, Choices(size=(512, 512))).generator.contract.noise
    assert [noise.shape for noise in larger] == [(32, 4, 4), (32, 8, 8), (32, 16, 16)]
    variables["generator/decoder_8/batch_normalization/beta"][3] = 0.1
    path.write_bytes(as_npz(variables))
    assert len(read_generator(path).generator.contract.noise) == 3


def test_masks_are_numbered_in_the_order_of_use(tmp_path: Path) -> None:
    unet = load(FILES["unet8-batch"](), tmp_path).generator.contract
    assert [n.shape for n in unet.noise] == [(16, 4, 4), (16, 8, 8), (16, 16, 16)]
    resnet = load(FILES["resnet9-batch-dropout"](), tmp_path).generator.contract
    assert [n.shape for n in resnet.noise] == [(16, 8, 8)] * 9
    gan = load(FILES["pytorch-gan-pix2pix"](), tmp_path).generator.contract
    assert [n.shape[1] for n in gan.noise] == [16, 8, 4, 2, 1, 2, 4, 8, 16]


def test_the_contract_carries_the_sources_way_with_images(tmp_path: Path) -> None:
    contract = load(FILES["unet6-batch"](), tmp_path).generator.contract
    for encoding in (contract.conditions[0].encoding, contract.outputs[0].encoding):
        assert isinstance(encoding, ImageEncoding)
        assert (encoding.filter, encoding.rounding, encoding.color) == ("bicubic", "truncate", "RGB")
    assert (contract.conditions[0].meaning, contract.outputs[0].meaning) == ("A", "B")
    assert contract.statistics == "per_sample"
    changed = load(FILES["unet6-batch"](), tmp_path, rounding="nearest", source="labels", direction="BtoA")
    assert changed.generator.contract.outputs[0].encoding == ImageEncoding()
    assert changed.generator.contract.conditions[0].meaning == "labels"
    assert changed.generator.contract.outputs[0].meaning == "A"


def test_imagenet_encodings_and_four_times_the_size_for_srgan(tmp_path: Path) -> None:
    contract = load(FILES["pytorch-gan-srgan"](), tmp_path, size=(16, 24)).generator.contract
    assert contract.outputs[0].shape == (3, 64, 96)
    assert isinstance(contract.conditions[0].encoding, ImageEncoding)
    assert contract.conditions[0].encoding.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("kind", ["pytorch-gan-cgan", "pytorch-gan-srgan"])
def test_eps_is_a_named_variant(kind: str, tmp_path: Path) -> None:
    """The file is the same; what the source would make of it is not."""
    made = FILES[kind]()
    plain, repaired = load(made, tmp_path), load(made, tmp_path, variant="eps-1e-5")
    assert any("eps 0.8" in words for words in plain.assumed)
    assert repaired.options["eps"] == 1e-5
    inputs = inputs_of(plain)
    net = {"pytorch-gan-cgan": pytorch_gan.Cgan, "pytorch-gan-srgan": pytorch_gan.Srgan}[kind](eps=1e-5)
    with torch.no_grad():
        theirs = trained_like(net).eval()(*inputs)
        torch.testing.assert_close(repaired.generator(*inputs)[0], theirs, rtol=0, atol=TOLERANCE)
        assert (plain.generator(*inputs)[0] - theirs).abs().max() > 1e-3


def test_one_channel_shrinks_in_the_source_and_here(tmp_path: Path) -> None:
    """PyTorch-GAN pads by the number of channels."""
    contract = load(FILES["pytorch-gan-cyclegan-grey"](), tmp_path).generator.contract
    assert contract.outputs[0].shape == (1, 24, 24)
    assert contract.conditions[0].meaning == "B", "G_BA goes from B to A"


@pytest.mark.parametrize("kind", ["affinelayer", "pytorch-gan-cgan"])
@pytest.mark.slow
def test_the_command_exports_it_and_says_what_it_assumed(kind: str, tmp_path: Path) -> None:
    made = FILES[kind]()
    path = tmp_path / made.name
    path.write_bytes(made.data)
    size = ("--size", "x".join(map(str, made.size))) if made.size else ()
    done = run_here("cgan-export", path, "-o", tmp_path / "out", "--json", *size)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["parity_max_abs"]["passed"]
    manifest = read_bundle(tmp_path / "out").manifest
    assert manifest.provenance.checkpoint_sha256 == hashlib.sha256(made.data).hexdigest()
    assert manifest.provenance.assumed
    for words in manifest.provenance.assumed:
        assert f"assumed: {words}" in done.stderr


@pytest.mark.slow
def test_the_graph_is_what_the_source_computes(tmp_path: Path) -> None:
    """From the file to ONNX Runtime, against the source's own forward pass."""
    made = FILES["unet6-batch"]()
    path = tmp_path / made.name
    path.write_bytes(made.data)
    loaded, exported = export_checkpoint(path, name="g", choices=Choices(size=made.size))
    inputs = inputs_of(loaded)
    names = [tensor.name for tensor in exported.contract.inputs]
    feed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    ours = exported.generator.runner.infer(feed)["picture"]
    np.testing.assert_allclose(ours, made.forward(*inputs).numpy(), rtol=0, atol=TOLERANCE)


def test_a_damaged_file_ends_the_command_with_3(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(FILES["unet6-batch"]().data[:-50])
    assert_one_sentence(run_here("cgan-export", path), 3, "truncated")
    path.write_bytes(FILES["unet6-batch"]().data)
    assert_one_sentence(run_here("cgan-export", path, "--size", "100"), 2, "multiples of 64")


def test_the_table_in_the_documentation_names_every_source() -> None:
    text = (REPOSITORY / "docs" / "checkpoints.md").read_text()
    for made in FILES.values():
        assert f"| {made().title} |" in text, "run python -m docs.make_checkpoints"
