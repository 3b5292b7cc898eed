from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cgan_runtime.contract import Contract
from cgan_trainer.configs.cdcgan import CdcganConfig
from cgan_trainer.families.cdcgan import CDCGAN, CdcganRecipe, mode_seeking_loss
from cgan_trainer.nets.dcgan32 import Dcgan32Discriminator, Dcgan32Generator
from torch import Tensor, nn

from tests.trainer.classes import FACTS, NAMES, batch_of, changed, inputs_of, phase_of

SMALL = CdcganConfig(width=4, latent=6)
SHAPE = (1, 32, 32)


def recipe_of(config: CdcganConfig = SMALL) -> CdcganRecipe:
    torch.manual_seed(0)
    recipe = CdcganRecipe(config, FACTS)
    for network in recipe.networks.values():
        recipe.initialise(network)
    return recipe


def inputs(rows: int) -> tuple[Tensor, Tensor]:
    return torch.arange(rows) % len(NAMES), torch.randn(rows, 6, generator=torch.Generator().manual_seed(1))


def shapes_of_layers(net: nn.Module, *arguments: Tensor) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Every convolution in the order of use: its kind, its weight, its output."""
    found: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []

    def note(layer: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(layer.weight, Tensor)
        assert layer.bias is not None
        found.append((type(layer).__name__, tuple(layer.weight.shape), tuple(out.shape[1:])))

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(note)
    net(*arguments)
    return found


def test_layers_are_those_of_the_published_table() -> None:
    labels, z = torch.tensor([3, 9]), torch.randn(2, 100)
    generator = Dcgan32Generator(latent=100, classes=10, c_out=1)
    assert shapes_of_layers(generator, labels, z) == [
        ("ConvTranspose2d", (100, 256, 4, 4), (256, 4, 4)),
        ("ConvTranspose2d", (10, 256, 4, 4), (256, 4, 4)),
        ("ConvTranspose2d", (512, 256, 4, 4), (256, 8, 8)),
        ("ConvTranspose2d", (256, 128, 4, 4), (128, 16, 16)),
        ("ConvTranspose2d", (128, 1, 4, 4), (1, 32, 32)),
    ]
    discriminator = Dcgan32Discriminator(c_in=1, classes=10)
    assert shapes_of_layers(discriminator, torch.randn(2, *SHAPE), labels) == [
        ("Conv2d", (64, 1, 4, 4), (64, 16, 16)),
        ("Conv2d", (64, 10, 4, 4), (64, 16, 16)),
        ("Conv2d", (256, 128, 4, 4), (256, 8, 8)),
        ("Conv2d", (512, 256, 4, 4), (512, 4, 4)),
        ("Conv2d", (1, 512, 4, 4), (1, 1, 1)),
    ]
    counts = [sum(p.numel() for p in net.parameters()) for net in (generator, discriminator)]
    assert counts == [3_076_737, 2_643_329]


def test_the_generator_follows_the_table_in_use() -> None:
    net = Dcgan32Generator(latent=6, classes=3, c_out=1, width=4).double().eval()
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 2)
            assert name
    state, (labels, z) = net.state_dict(), inputs(4)

    def up(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        x = F.conv_transpose2d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride, padding)
        mean, variance, weight, bias = (
            state[f"{name}.norm.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        normalised: Tensor = (x - mean) / (variance + 1e-5).sqrt() * weight + bias
        return normalised.clamp(min=0)

    y = torch.eye(3, dtype=torch.float64)[labels]
    z = z.double()
    h = torch.cat((up(z[:, :, None, None], "from_z", 1, 0), up(y[:, :, None, None], "from_class", 1, 0)), dim=1)
    h = up(up(h, "up.0", 2, 1), "up.1", 2, 1)
    expected = torch.tanh(F.conv_transpose2d(h, state["last.weight"], state["last.bias"], 2, 1))
    torch.testing.assert_close(net(labels, z), expected)


def test_the_discriminator_follows_the_table() -> None:
    net = Dcgan32Discriminator(c_in=1, classes=3, width=4).double()
    state, (labels, _) = net.state_dict(), inputs(4)
    image = torch.randn(4, *SHAPE, dtype=torch.float64)
    planes = torch.eye(3, dtype=torch.float64)[labels][:, :, None, None].expand(-1, -1, 32, 32)

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    h = leaky(torch.cat((conv(image, "from_image"), conv(planes, "from_class")), dim=1))
    for layer in ("down.0", "down.1"):
        h = conv(h, f"{layer}.0")
        variance, mean = torch.var_mean(h, dim=(0, 2, 3), correction=0, keepdim=True)
        h = leaky((h - mean) / (variance + 1e-5).sqrt())
    expected = (h * state["last.weight"]).sum(dim=(1, 2, 3)) + state["last.bias"]
    torch.testing.assert_close(net(image, labels).flatten(), expected)


def test_the_discriminator_sees_the_class_as_a_plane_of_ones() -> None:
    net = Dcgan32Discriminator(c_in=1, classes=3, width=4)
    with inputs_of(net.from_class) as calls:
        net(torch.zeros(2, *SHAPE), torch.tensor([2, 0]))
    (planes,) = calls[0]
    expected = torch.zeros(2, 3, 32, 32)
    expected[0, 2] = expected[1, 0] = 1
    assert torch.equal(planes, expected)


def test_the_contract_says_what_comes_out() -> None:
    recipe = recipe_of()
    generator = recipe.graphs(recipe.networks)["main"].eval()
    contract = generator.contract
    assert Contract.from_json(contract.to_json()) == contract
    assert [(c.name, c.shape, c.dtype) for c in contract.conditions] == [("label", (), "int64")]
    assert [(z.name, z.distribution, z.shape) for z in contract.noise] == [("z", "normal", (6,))]
    (output,) = contract.outputs
    assert (output.shape, output.range, contract.statistics) == (SHAPE, (-1.0, 1.0), "running")
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(50)  # far out, so that the ends of the range are met
        (image,) = generator(*inputs(4))
    assert image.shape == (4, *SHAPE)
    assert (image.min(), image.max()) == (-1, 1)


def test_label_and_z_both_matter_and_rows_are_independent() -> None:
    recipe = recipe_of()
    generator = recipe.networks["generator"].train()
    labels, z = inputs(6)
    generator(labels, z)  # the averages leave what they begin with
    generator.eval()
    (together,) = generator(labels, z)
    assert not torch.allclose(generator((labels + 1) % 3, z)[0], together, atol=1e-5)
    assert not torch.allclose(generator(labels, z.flip(0))[0], together, atol=1e-5)
    for row in range(6):
        (alone,) = generator(labels[row : row + 1], z[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_a_graph_is_built_again_from_its_options(mode: Any) -> None:
    recipe = recipe_of(CdcganConfig(width=4, latent=6, mode=mode))
    generator = recipe.graphs(recipe.networks)["main"].eval()
    again = CDCGAN.rebuild("main", json.loads(json.dumps(recipe.graph_options("main")))).eval()
    again.load_state_dict(generator.state_dict())
    assert again.contract == generator.contract
    assert torch.equal(again(*inputs(3))[0], generator(*inputs(3))[0])


@pytest.mark.parametrize("wrong", [{"classes": None}, {"channels": 2}, {"latent": "many"}, {"depth": 3}])
def test_options_that_describe_no_graph_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        CDCGAN.rebuild("main", {**recipe_of().graph_options("main"), **wrong})


def test_both_networks_are_told_what_the_paper_says() -> None:
    recipe = recipe_of()
    batch = batch_of(recipe, range(3, 11), shape=SHAPE)
    judge = recipe.networks["discriminator"]
    for name in ("D", "G"):
        phase = phase_of(recipe, name)
        made = recipe.make(phase, batch)
        given = torch.sigmoid(judge(made["image"], made["label"]).double())
        true = torch.sigmoid(judge(batch["image"], batch["label"]).double())
        wanted = -given.log().mean() if name == "G" else -true.log().mean() - (1 - given).log().mean()
        found = recipe.losses(phase, batch, made)
        assert found.total.item() == pytest.approx(wanted.item(), rel=1e-5)
        network = "generator" if name == "G" else "discriminator"
        weights = list(recipe.networks[network].parameters())
        expected = torch.autograd.grad(wanted, weights, retain_graph=True)
        for a, b in zip(torch.autograd.grad(found.total, weights), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)  # biases before a batch norm have none


def test_the_generators_step_sees_neither_real_images_nor_their_classes() -> None:
    recipe = recipe_of()
    batch = batch_of(recipe, range(6), shape=SHAPE)
    other = changed(batch, {"image": batch["image"].flip(0), "label": batch["label"].roll(1)})
    totals = {}
    for name in ("D", "G"):
        phase = phase_of(recipe, name)
        made = [recipe.make(phase, rows) for rows in (batch, other)]
        assert torch.equal(made[0]["image"], made[1]["image"])
        totals[name] = [
            recipe.losses(phase, rows, mine).total for rows, mine in zip((batch, other), made, strict=True)
        ]
    assert totals["G"][0] == totals["G"][1]
    assert totals["D"][0] != totals["D"][1]


def test_an_image_is_judged_with_the_class_it_was_made_for() -> None:
    recipe = recipe_of()
    batch, phase = batch_of(recipe, range(6), shape=SHAPE), phase_of(recipe, "D")
    with inputs_of(recipe.networks["generator"]) as making:
        made = recipe.make(phase, batch)
    with inputs_of(recipe.networks["discriminator"]) as judging:
        recipe.losses(phase, batch, made)
    judged = {id(image): label for image, label in judging}
    assert torch.equal(judged[id(made["image"])], making[0][0])
    assert torch.equal(judged[id(batch["image"])], batch["label"])


def test_each_step_draws_its_own_noise_which_belongs_to_the_image() -> None:
    recipe = recipe_of()
    drawn = {}
    for name in ("D", "G"):
        for positions in (range(10), range(4, 6)):
            with inputs_of(recipe.networks["generator"]) as calls:
                recipe.make(phase_of(recipe, name), batch_of(recipe, positions, shape=SHAPE))
            drawn[name, len(positions)] = calls[0]
        for whole, part in zip(drawn[name, 10], drawn[name, 2], strict=True):
            assert torch.equal(whole[4:6], part)
    assert not torch.equal(drawn["D", 10][1], drawn["G", 10][1])
    assert not torch.equal(drawn["D", 10][0], drawn["G", 10][0])


def test_first_weights_are_normal_with_untouched_batch_norms() -> None:
    recipe = recipe_of(CdcganConfig(width=32))
    for network in recipe.networks.values():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert module.bias is not None
                assert not module.bias.any()
                if module.weight.numel() > 5000:
                    assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            elif isinstance(module, nn.BatchNorm2d):
                assert torch.equal(module.weight, torch.ones_like(module.weight))


def test_a_batch_is_one_step_of_d_and_one_of_g_at_a_constant_rate() -> None:
    recipe = recipe_of()
    (stage,) = recipe.plan(640)
    assert stage.images == 640
    assert [(phase.name, phase.batches, phase.through_make) for phase in stage.phases] == [
        ("D", 1, False),
        ("G", 0, True),
    ]
    assert not stage.phases[1].reuse
    assert {phase.optimizer.betas for phase in stage.phases} == {(0.5, 0.999)}
    config = CdcganConfig()
    assert (config.batch, config.epochs, config.epochs_decay, config.lr) == (128, 10, 0, 2e-4)


def test_the_mode_seeking_loss_is_the_published_one() -> None:
    """Mao et al. 2019, equation 3: the distance of two images over that of their noise, here turned round."""
    torch.manual_seed(0)
    images, z = torch.randn(4, *SHAPE, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    one, other = images[[0, 2]], images[[1, 3]]
    ratio = (one - other).abs().mean() / (z[[0, 2]] - z[[1, 3]]).abs().mean()
    torch.testing.assert_close(mode_seeking_loss(images, z), 1 / (ratio + 1e-5))
    whole = torch.cat((torch.randn(1, *SHAPE, dtype=torch.float64), images))
    beside = torch.cat((torch.randn(1, 6, dtype=torch.float64), z))
    torch.testing.assert_close(mode_seeking_loss(whole, beside, first=1), mode_seeking_loss(images, z))
    assert mode_seeking_loss(images[:1], z[:1]).item() == 0


def test_one_image_whatever_the_noise_is_the_worst_there_is() -> None:
    image = torch.zeros(2, *SHAPE, requires_grad=True)
    loss = mode_seeking_loss(image, torch.randn(2, 6))
    assert loss.item() == pytest.approx(1e5)
    (gradient,) = torch.autograd.grad(loss, image)
    assert gradient.isfinite().all()


def test_mode_seeking_draws_classes_in_pairs_that_belong_to_the_images() -> None:
    recipe = recipe_of(CdcganConfig(width=4, latent=6, lambda_ms=0.1))
    labels = {}
    for positions in (range(12), range(3, 8), range(6, 7)):
        made = recipe.make(phase_of(recipe, "G"), batch_of(recipe, positions, shape=SHAPE))
        labels[positions] = made["label"]
    whole = labels[range(12)]
    assert torch.equal(whole[0::2], whole[1::2])
    assert len(set(whole.tolist())) > 1
    for positions, found in labels.items():
        assert torch.equal(found, whole[positions.start : positions.stop])


def test_mode_seeking_is_a_loss_of_the_generator_and_off_by_default() -> None:
    assert recipe_of().loss_names == ("G_GAN", "D_real", "D_fake")
    recipe = recipe_of(CdcganConfig(width=4, latent=6, lambda_ms=0.5))
    assert recipe.loss_names == ("G_GAN", "D_real", "D_fake", "G_MS")
    phase, batch = phase_of(recipe, "G"), batch_of(recipe, range(4), shape=SHAPE)
    made = recipe.make(phase, batch)
    losses = recipe.losses(phase, batch, made)
    assert losses.parts["G_MS"].item() == pytest.approx(0.5 * mode_seeking_loss(made["image"], made["z"]).item())
    assert losses.total.item() == pytest.approx(sum(part.item() for part in losses.parts.values()))
    assert "G_MS" not in recipe.losses(phase_of(recipe, "D"), batch, made).parts
