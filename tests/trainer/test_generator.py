from __future__ import annotations

import warnings
from dataclasses import asdict

import pytest
import torch
from cgan_runtime.contract import ImageEncoding
from cgan_trainer.families.pix2pix_networks import (
    Architecture,
    DropoutPlacement,
    Norm,
    Pix2pixGenerator,
    Pix2pixOptions,
)
from cgan_trainer.generator import as_used
from cgan_trainer.nets.dropout import DropoutSite
from cgan_trainer.nets.init import init_weights
from cgan_trainer.nets.norm import SampleNorm
from cgan_trainer.palette import Palette
from cgan_trainer.seeding import to_float
from jaxtyping import Float
from torch import Tensor


def small(dropout: DropoutPlacement = "paper", size: int = 64, net: Architecture = "unet") -> Pix2pixGenerator:
    torch.manual_seed(1)
    generator = Pix2pixGenerator(Pix2pixOptions(size=size, ngf=4, dropout=dropout, net=net))
    init_weights(generator)
    with torch.no_grad():  # weights this large make every mask matter in the image
        for parameter in generator.parameters():
            parameter.mul_(4)
    return generator


def conditions(batch: int, size: int = 64) -> Float[Tensor, "b 3 h w"]:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1


def masks_of(generator: Pix2pixGenerator, batch: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(3)
    shapes = [tuple(map(int, noise.shape)) for noise in generator.contract.noise]
    return [(torch.rand(batch, *shape, generator=draws) < 0.5).float() * 2 for shape in shapes]


def test_the_u_net_has_the_54_414_m_parameters_everybody_quotes() -> None:
    with torch.device("meta"):
        generator = Pix2pixGenerator(Pix2pixOptions(size=256, ngf=64))
    assert sum(parameter.numel() for parameter in generator.parameters()) == 54_413_955
    assert len(generator.state_dict()) == 82


def test_the_unet_128_has_41_829_m_parameters() -> None:
    with torch.device("meta"):
        generator = Pix2pixGenerator(Pix2pixOptions(size=128, ngf=64))
    assert round(sum(parameter.numel() for parameter in generator.parameters()) / 1e6, 3) == 41.829


def test_the_encoder_decoder_has_the_u_nets_layers_without_their_second_inputs() -> None:
    with torch.device("meta"):
        plain, joined = (
            Pix2pixGenerator(Pix2pixOptions(net=net)).state_dict() for net in ("encoder-decoder", "unet")
        )
    assert plain.keys() == joined.keys()
    differ = [name for name in plain if plain[name].shape != joined[name].shape]
    assert differ == [f"unet.up.{layer}.conv.weight" for layer in range(1, 8)]
    assert all(2 * plain[name].shape[0] == joined[name].shape[0] for name in differ)


def test_without_skips_everything_passes_the_innermost_layer() -> None:
    nets: tuple[tuple[Architecture, bool], ...] = (("unet", True), ("encoder-decoder", False))
    for net, reaches in nets:
        generator = small(net=net).eval()
        with torch.no_grad():
            generator.get_parameter("unet.down.5.conv.weight").zero_()
        masks = masks_of(generator, 1)
        images = [generator(values, *masks)[0] for values in (conditions(1), -conditions(1))]
        assert (not torch.equal(*images)) == reaches


@pytest.mark.parametrize(("net", "parameters"), [("resnet-9", 11_378_179), ("resnet-6", 7_837_699)])
def test_the_resnets_have_the_published_parameters(net: Architecture, parameters: int) -> None:
    with torch.device("meta"):
        generator = Pix2pixGenerator(Pix2pixOptions(net=net, norm="instance"))
    assert sum(parameter.numel() for parameter in generator.parameters()) == parameters
    assert [noise.shape for noise in generator.contract.noise] == [(256, 64, 64)] * int(net[-1])


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("net", ["unet", "encoder-decoder", "resnet-6"])
def test_every_net_and_norm_makes_images_of_any_channels(net: Architecture, norm: Norm) -> None:
    generator = Pix2pixGenerator(
        Pix2pixOptions(size=64, ngf=2, net=net, norm=norm, in_channels=1, out_channels=1)
    ).eval()
    image = generator.live([conditions(2)[:, :1]], 2)[0]
    assert image.shape == (2, 1, 64, 64)
    assert image.abs().max() <= 1
    assert generator.contract.statistics == ("none" if norm == "none" else "per_sample")


def test_a_label_map_is_one_channel_per_class_and_stays_an_image_outside() -> None:
    palette = Palette(names=("sea", "land", "ice"), colors=((0, 0, 200), (0, 120, 0), (255, 255, 255)))
    generator = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=2, palette=palette)).eval()
    assert generator.get_parameter("unet.down.0.conv.weight").shape[1] == 3  # classes
    classes = torch.randint(3, (2, 64, 64), generator=torch.Generator().manual_seed(0))
    pixels = torch.tensor(palette.colors, dtype=torch.uint8)[classes].permute(0, 3, 1, 2)
    assert generator.one_hot is not None
    expected = torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()
    assert torch.equal(generator.one_hot(to_float(pixels)), expected)
    assert torch.equal(generator.one_hot(to_float(pixels).half()).float(), expected)
    assert torch.equal(palette.classes(pixels), classes)
    encoding = generator.contract.conditions[0].encoding
    assert isinstance(encoding, ImageEncoding)
    assert (generator.contract.conditions[0].shape, encoding.filter) == ((3, 64, 64), "nearest")
    again = Pix2pixGenerator.from_options(asdict(generator.options))
    assert again.options == generator.options


@pytest.mark.parametrize(
    ("dropout", "size", "expected"),
    [
        ("paper", 256, [(512, 2, 2), (512, 4, 4), (512, 8, 8)]),
        ("port", 256, [(512, 4, 4), (512, 8, 8), (512, 16, 16)]),
        ("port", 128, [(512, 4, 4), (512, 8, 8)]),
        ("port", 64, [(512, 4, 4)]),
        ("paper", 64, [(512, 2, 2), (512, 4, 4), (256, 8, 8)]),
        ("off", 256, []),
    ],
)
def test_the_contract_lists_the_dropout_sites_innermost_first(
    dropout: DropoutPlacement, size: int, expected: list[tuple[int, int, int]]
) -> None:
    with torch.device("meta"):
        contract = Pix2pixGenerator(Pix2pixOptions(size=size, dropout=dropout)).contract
    assert [noise.shape for noise in contract.noise] == expected
    assert [noise.name for noise in contract.noise] == [f"mask_{index}" for index in range(len(expected))]


@pytest.mark.parametrize("dropout", ["paper", "port"])
def test_every_site_named_in_the_contract_is_a_dropout_site_with_that_shape(dropout: DropoutPlacement) -> None:
    generator = small(dropout)
    shapes: dict[str, torch.Size] = {}
    for name, module in generator.named_modules():
        if isinstance(module, DropoutSite):
            module.register_forward_hook(lambda _m, _i, out, name=name: shapes.update({name: out.shape[1:]}))
    generator.live([conditions(1)], 1)
    assert {noise.site: tuple(noise.shape) for noise in generator.contract.noise} == {
        name: tuple(shape) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("dropout", ["paper", "port"])
@pytest.mark.parametrize("training", [True, False])
def test_captured_masks_give_the_image_of_the_live_dropout_they_came_from(
    dropout: DropoutPlacement, training: bool
) -> None:
    generator = small(dropout).train(training)
    captured: list[Tensor] = []

    def capture(site: torch.nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(site, DropoutSite)
        state = torch.get_rng_state()
        torch.set_rng_state(states.pop(0))
        captured.append(torch.nn.functional.dropout(torch.ones_like(inputs[0]), site.p, training=True))
        torch.set_rng_state(state)

    states: list[Tensor] = []
    for module in generator.modules():
        if isinstance(module, DropoutSite):
            module.register_forward_pre_hook(lambda _m, _i: states.append(torch.get_rng_state()))
            module.register_forward_hook(capture)
    live = generator.live([conditions(2)], 2)[0]
    replay = small(dropout).train(training)
    assert len(captured) == len(generator.contract.noise)
    assert set(torch.cat([mask.flatten() for mask in captured]).tolist()) == {0.0, 2.0}
    torch.testing.assert_close(replay(conditions(2), *captured)[0], live, rtol=0, atol=0)


def test_dropout_is_live_in_eval_and_every_mask_matters() -> None:
    generator = small().eval()
    assert not torch.equal(generator.live([conditions(1)], 1)[0], generator.live([conditions(1)], 1)[0])
    masks = masks_of(generator, 1)
    reference = generator(conditions(1), *masks)[0]
    torch.testing.assert_close(generator(conditions(1), *masks)[0], reference, rtol=0, atol=0)
    for index in range(len(masks)):
        other = [*masks]
        other[index] = 2 - masks[index]
        assert not torch.allclose(generator(conditions(1), *other)[0], reference, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_wrong_number_of_masks_is_refused(count: int) -> None:
    generator = small()
    with pytest.raises(ValueError, match=f"{count} masks were given, but this generator takes 3"):
        generator(conditions(1), *([torch.ones(1, 1, 1, 1)] * count))


def test_a_sample_does_not_depend_on_its_batch_in_eval() -> None:
    generator = small().eval()
    masks = masks_of(generator, 3)
    together = generator(conditions(3), *masks)[0]
    for row in range(3):
        (alone,) = generator(conditions(3)[row : row + 1], *(mask[row : row + 1] for mask in masks))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


def test_eval_statistics_are_those_of_batch_norm_on_a_batch_of_one() -> None:
    norm = SampleNorm(5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = torch.randn(1, 5, 6, 7) * 3 + 1
    in_training = norm.train()(x)
    torch.testing.assert_close(norm.eval()(x), in_training)
    reference = torch.nn.BatchNorm2d(5)
    reference.load_state_dict({**norm.state_dict(), "running_mean": torch.zeros(5), "running_var": torch.ones(5)})
    torch.testing.assert_close(reference.train()(x), in_training, rtol=0, atol=0)


def test_evaluation_leaves_running_averages_and_mode_untouched() -> None:
    generator = small().train()
    generator.live([conditions(1)], 1)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    with as_used(generator) as used:
        used.live([conditions(2)], 2)
    assert generator.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    generator.live([conditions(1)], 1)  # while a training pass does move them
    assert any(not torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


@pytest.mark.slow
def test_torch_export_keeps_the_batch_open_and_draws_nothing() -> None:
    generator = small().eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, raised inside torch.export
        program = torch.export.export(
            generator,
            (conditions(2), *masks_of(generator, 2)),
            dynamic_shapes={"condition": {0: batch}, "masks": tuple({0: batch} for _ in range(3))},
        )
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("dropout" in name or "rand" in name or "bernoulli" in name for name in operators)
    masks = masks_of(generator, 5)
    (exported,) = program.module()(conditions(5), *masks)
    torch.testing.assert_close(exported, generator(conditions(5), *masks)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"size": 96}, {"ngf": 0}, {"dropout": "some"}, {"in_channels": 2}, {"net": "vgg"}]
)
def test_options_that_describe_no_network_are_refused(wrong: dict[str, object]) -> None:
    # TypeError: with run-time type checks on, a wrong word is refused before our own sentence
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        Pix2pixGenerator.from_options(wrong)
