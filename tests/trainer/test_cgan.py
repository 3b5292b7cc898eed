from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cgan_runtime.contract import Contract
from cgan_runtime.errors import UsageError
from cgan_trainer.configs.cgan import CganConfig
from cgan_trainer.families.base import Batch, Progress
from cgan_trainer.families.cgan import CGAN, PaperRecipe, build_cgan
from cgan_trainer.families.class_conditional import ClassRecipe
from cgan_trainer.nets.maxout import Maxout, MaxoutDiscriminator
from cgan_trainer.nets.mlp import EmbeddingDiscriminator, TwoBranchMlp
from cgan_trainer.nets.one_hot_labels import one_hot_labels
from torch import Tensor, nn

from tests.trainer.classes import FACTS, NAMES, batch_of, changed, inputs_of, phase_of

PAPER = CganConfig(size=8)
PORT = replace(PAPER, variant="port")
BOTH = pytest.mark.parametrize("config", [PAPER, PORT], ids=["paper", "port"])
SHAPE = (1, 8, 8)


def recipe_of(config: CganConfig) -> ClassRecipe[CganConfig]:
    torch.manual_seed(0)
    recipe = CGAN.recipe(config, FACTS)
    assert isinstance(recipe, ClassRecipe)
    for network in recipe.networks.values():
        recipe.initialise(network)
    return recipe


def inputs(config: CganConfig, rows: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.arange(rows) % len(NAMES), torch.rand(rows, config.latent, generator=draws)


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_networks_have_the_sizes_of_the_paper_and_of_the_port() -> None:
    assert numbers(TwoBranchMlp(latent=100, classes=10, values=784)) == 20_200 + 11_000 + 1_441_200 + 941_584
    assert numbers(MaxoutDiscriminator(values=784, classes=10)) == 942_000 + 2_750 + 279_360 + 241
    port = build_cgan({"variant": "port", "classes": list("0123456789"), "latent": 100, "shape": [1, 32, 32]})
    assert numbers(port) == 1_757_412
    # 10x10 embedding; 1034 -> 512 -> 512 -> 512 -> 1
    assert numbers(EmbeddingDiscriminator(values=1024, classes=10)) == 100 + 529_920 + 2 * 262_656 + 513


def test_a_maxout_unit_is_the_largest_of_its_linear_functions() -> None:
    layer = Maxout(5, 3, 4).double()
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    weight, bias = layer.linear.weight.reshape(3, 4, 5), layer.linear.bias.reshape(3, 4)
    values = torch.einsum("upi,bi->bup", weight, x) + bias
    torch.testing.assert_close(layer(x), values.amax(dim=2))
    chosen = weight[torch.arange(3), values.argmax(dim=2)]  # [b, u, i]
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    torch.testing.assert_close(slope, chosen.sum(dim=1))


def test_the_papers_generator_follows_its_formula() -> None:
    net = TwoBranchMlp(latent=6, classes=3, values=4).double()
    labels, z = torch.tensor([2, 0]), torch.rand(2, 6, dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64)[labels]
    masks = (torch.rand(2, 2400) < 0.5).double() * 2
    for mask in (None, masks):
        whole = torch.ones(2, 2400) if mask is None else mask
        of_z, of_y, of_both = whole[:, :200], whole[:, 200:1200], whole[:, 1200:]
        h_z = (z @ net.from_z.weight.T + net.from_z.bias).clamp(min=0) * of_z
        h_y = (y @ net.from_y.weight.T + net.from_y.bias).clamp(min=0) * of_y
        h = (torch.cat((h_z, h_y), 1) @ net.both.weight.T + net.both.bias).clamp(min=0) * of_both
        expected = 1 / (1 + torch.exp(-(h @ net.last.weight.T + net.last.bias)))
        torch.testing.assert_close(net(labels, z, mask), expected, rtol=1e-6, atol=1e-7)


@BOTH
def test_the_contract_says_what_comes_out(config: CganConfig) -> None:
    generator = recipe_of(config).graphs(recipe_of(config).networks)["main"].eval()
    contract = generator.contract
    assert Contract.from_json(contract.to_json()) == contract
    (z,), (output,) = contract.noise, contract.outputs
    assert (z.distribution, z.shape) == ("uniform01" if config.variant == "paper" else "normal", (100,))
    assert contract.statistics == ("none" if config.variant == "paper" else "running")
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(30)  # far out, so that the ends of the range are met
        (image,) = generator(*inputs(config, 50))
    assert image.shape == (50, *SHAPE)
    assert output.range is not None
    low, high = output.range
    assert low <= image.min() < low + 0.01
    assert high - 0.01 < image.max() <= high


@pytest.mark.parametrize("variant", ["paper", "port"])
@pytest.mark.parametrize(("mode", "color"), [("grey", "L"), ("rgb", "RGB")])
def test_black_and_white_are_the_ends_of_the_range(variant: Any, mode: Any, color: str) -> None:
    output = (
        recipe_of(replace(PAPER, variant=variant, mode=mode))
        .graphs(recipe_of(replace(PAPER, variant=variant, mode=mode)).networks)["main"]
        .contract.outputs[0]
    )
    encoding, ends = output.encoding, output.range
    assert encoding is not None
    assert encoding.kind == "image"
    assert encoding.color == color
    assert ends == tuple((pixel / 255 - encoding.mean[0]) / encoding.std[0] for pixel in (0, 255))


@BOTH
def test_label_and_z_both_matter_and_rows_are_independent(config: CganConfig) -> None:
    generator = recipe_of(config).networks["generator"].eval()
    labels, z = inputs(config, 6)
    (together,) = generator(labels, z)
    assert not torch.allclose(generator((labels + 1) % 3, z)[0], together, atol=1e-3)
    assert not torch.allclose(generator(labels, z.flip(0))[0], together, atol=1e-3)
    for row in range(6):
        (alone,) = generator(labels[row : row + 1], z[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=0, atol=1e-5)


@BOTH
def test_a_graph_is_built_again_from_its_options(config: CganConfig) -> None:
    recipe = recipe_of(config)
    generator = recipe.graphs(recipe.networks)["main"].eval()
    options = json.loads(json.dumps(recipe.graph_options("main")))
    again = CGAN.rebuild("main", options).eval()
    again.load_state_dict(generator.state_dict())
    assert again.contract == generator.contract
    assert torch.equal(again(*inputs(config, 3))[0], generator(*inputs(config, 3))[0])


@pytest.mark.parametrize(
    "wrong",
    [{"variant": "other"}, {"classes": []}, {"shape": [2, 8, 8]}, {"shape": [1, 8]}, {"latent": "many"}],
)
def test_options_that_describe_no_graph_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        CGAN.rebuild("main", {**recipe_of(PAPER).graph_options("main"), **wrong})


def steps(config: CganConfig) -> tuple[ClassRecipe[CganConfig], Batch, dict[str, Tensor]]:
    recipe = recipe_of(config)
    for network in recipe.networks.values():
        network.double().train()
    batch = batch_of(recipe, range(3, 8), shape=SHAPE)
    batch = changed(batch, {name: value.double() for name, value in batch.tensors.items() if name != "label"})
    return recipe, batch, recipe.make(phase_of(recipe, "G"), batch)


def masks_of(config: CganConfig, phase: str, batch: Batch) -> tuple[Tensor, Tensor]:
    """The discriminator's, read off a call of it."""
    recipe = recipe_of(config)
    made = {"image": torch.zeros(len(batch), *SHAPE), "label": batch["label"]}
    single = changed(batch, {"image": batch["image"].float()})
    with inputs_of(recipe.networks["discriminator"]) as calls:
        recipe.losses(phase_of(recipe, phase), single, made)
    return calls[0][2], calls[-1][2]


@BOTH
def test_d_and_g_minimise_the_papers_terms(config: CganConfig) -> None:
    recipe, batch, made = steps(config)
    judge = recipe.networks["discriminator"]
    of_fake, of_real = masks_of(config, "D", batch)
    fake = judge(made["image"], made["label"], of_fake.double())
    real = judge(batch["image"], batch["label"], of_real.double())
    (of_g, _) = masks_of(config, "G", batch)
    passing = judge(made["image"], made["label"], of_g.double())
    if config.variant == "paper":
        d = (-torch.log(torch.sigmoid(real)).mean() - torch.log(1 - torch.sigmoid(fake)).mean()) / 2
        g = -torch.log(torch.sigmoid(passing)).mean()
    else:
        d = ((real - 1).square().mean() + fake.square().mean()) / 2
        g = (passing - 1).square().mean()
    for name, wanted, network in (("D", d, "discriminator"), ("G", g, "generator")):
        found = recipe.losses(phase_of(recipe, name), batch, made)
        assert found.total.item() == pytest.approx(wanted.item(), rel=1e-5)
        weights = list(recipe.networks[network].parameters())
        expected = torch.autograd.grad(wanted, weights, retain_graph=True)
        given = torch.autograd.grad(found.total, weights, retain_graph=True)
        for a, b in zip(given, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6 * (1 + b.abs().max().item()))
    parts = recipe.losses(phase_of(recipe, "D"), batch, made).parts
    assert (parts["D_real"] + parts["D_fake"]).item() == pytest.approx(2 * d.item(), rel=1e-5)


@BOTH
def test_the_generators_step_sees_no_real_image(config: CganConfig) -> None:
    recipe, batch, made = steps(config)
    other = changed(batch, {"image": batch["image"].flip(0)})
    losses = [recipe.losses(phase_of(recipe, "G"), rows, made).total for rows in (batch, other)]
    assert losses[0] == losses[1]
    of_d = [recipe.losses(phase_of(recipe, "D"), rows, made).total for rows in (batch, other)]
    assert of_d[0] != of_d[1]


@BOTH
def test_an_image_is_judged_with_the_class_it_was_made_for(config: CganConfig) -> None:
    recipe, batch, _ = steps(config)
    phase = phase_of(recipe, "D")
    with inputs_of(recipe.networks["generator"]) as making:
        made = recipe.make(phase, batch)
    with inputs_of(recipe.networks["discriminator"]) as judging:
        recipe.losses(phase, batch, made)
    assert torch.equal(judging[0][1], making[0][0])
    assert torch.equal(judging[1][1], batch["label"])
    if config.variant == "paper":
        assert torch.equal(making[0][0], batch["label"])


def test_the_ports_classes_are_uniform_and_not_those_of_the_batch() -> None:
    recipe = recipe_of(PORT)
    batch = batch_of(recipe, range(3000), shape=SHAPE)
    labels = recipe.make(phase_of(recipe, "G"), batch)["label"]
    shares = torch.bincount(labels, minlength=3) / 3000
    assert shares.sub(1 / 3).abs().max() < 0.04  # 4.6 standard deviations
    assert (labels == batch["label"]).float().mean().sub(1 / 3).abs() < 0.04


@BOTH
def test_noise_belongs_to_the_image_and_not_to_its_batch(config: CganConfig) -> None:
    recipe = recipe_of(config)
    recipe.networks["generator"].eval()  # statistics over the batch apart
    whole, part = (batch_of(recipe, positions, shape=SHAPE) for positions in (range(10), range(4, 6)))
    for name, value in part.tensors.items():
        assert torch.equal(value, whole[name][4:6])
    for name in ("D", "G"):
        phase = phase_of(recipe, name)
        a, b = recipe.make(phase, whole), recipe.make(phase, part)
        torch.testing.assert_close(a["image"][4:6], b["image"], rtol=0, atol=1e-5)
        assert torch.equal(a["label"][4:6], b["label"])
        for mine, wholes in zip(masks_of(config, name, part), masks_of(config, name, whole), strict=True):
            assert torch.equal(mine, wholes[4:6])


@BOTH
def test_dropout_has_the_share_of_its_variant_and_differs_from_pass_to_pass(config: CganConfig) -> None:
    batch = batch_of(recipe_of(config), range(20), shape=SHAPE)
    p = 0.5 if config.variant == "paper" else 0.4
    drawn = [*masks_of(config, "D", batch), masks_of(config, "G", batch)[0]]
    for mask in drawn:
        assert sorted(set(mask.flatten().tolist())) == pytest.approx([0.0, 1 / (1 - p)])
        assert (mask == 0).float().mean().item() == pytest.approx(p, abs=0.02)
    assert not any(torch.equal(drawn[a], drawn[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_papers_generator_has_dropout_in_training_alone() -> None:
    recipe = recipe_of(PAPER)
    generator = recipe.networks["generator"]
    batch = batch_of(recipe, range(4), shape=SHAPE)
    assert batch["mask"].eq(0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    (used,) = generator(batch["label"], batch["z"])
    torch.testing.assert_close(used, generator(batch["label"], batch["z"], torch.ones(4, 2400))[0])
    made = recipe.make(phase_of(recipe, "D"), batch)["image"]
    assert not torch.allclose(made, used, atol=1e-3)


def test_first_weights_are_those_of_the_code_that_was_built_on() -> None:
    recipe = recipe_of(PAPER)
    for name, bound in (("generator", 0.05), ("discriminator", 0.005)):
        for parameter_name, parameter in recipe.networks[name].named_parameters():
            if parameter_name.endswith("bias"):
                assert not parameter.any()
            else:
                assert 0.9 * bound < parameter.abs().max() <= bound
    port = recipe_of(PORT)
    before = {key: value.clone() for key, value in port.networks["generator"].state_dict().items()}
    port.initialise(port.networks["generator"])
    assert all(torch.equal(value, before[key]) for key, value in port.networks["generator"].state_dict().items())


def at(**changes: Any) -> Progress:
    return replace(Progress(images=0, total=1000, epochs=10, steps=0), **changes)


def test_the_papers_rate_falls_by_step_and_its_momentum_rises() -> None:
    recipe = recipe_of(PAPER)
    assert isinstance(recipe, PaperRecipe)
    phase = phase_of(recipe, "G")
    assert phase.optimizer.kind == "sgd"
    assert recipe.learning_rate(phase, at()) == 0.1
    assert recipe.learning_rate(phase, at(steps=1)) == 0.1 / 1.00004
    # 0.1 / 1.00004^n reaches 1e-6 after ln(1e5) / ln(1.00004) = 287,829 steps.
    assert recipe.learning_rate(phase, at(steps=287_000)) == pytest.approx(1.0337e-6, rel=1e-3)
    assert recipe.learning_rate(phase, at(steps=290_000)) == 1e-6
    momenta = [recipe.momentum(phase, at(images=images)) for images in (0, 500, 1000)]
    assert momenta == pytest.approx([0.5, 0.6, 0.7])


def test_the_variants_step_in_their_order_and_on_the_same_images() -> None:
    for config, order in ((PAPER, "DG"), (PORT, "GD")):
        (stage,) = recipe_of(config).plan(77)
        assert stage.images == 77
        assert "".join(phase.name for phase in stage.phases) == order
        assert [phase.batches for phase in stage.phases] == [1, 0]
        assert stage.phases[1].reuse
        through = {phase.name: (phase.through_make, phase.trains) for phase in stage.phases}
        assert through == {"D": (False, ("discriminator",)), "G": (True, ("generator",))}


def test_options_of_the_other_variant_are_refused() -> None:
    PAPER.check()
    replace(PAPER, sgd_lr=0.01).check()
    replace(PORT, lr=1e-3, beta1=0.9, lr_policy="cosine").check()
    for config, option in (
        (replace(PAPER, lr=1e-3), "--lr"),
        (replace(PAPER, epochs_decay=5), "--epochs-decay"),
        (replace(PORT, sgd_lr=0.2), "--sgd-lr"),
    ):
        with pytest.raises(UsageError, match=f"^{option} cannot be used with --variant {config.variant}: "):
            config.check()


def test_one_hot_agrees_with_torch() -> None:
    labels = torch.tensor([2, 0, 4])
    assert torch.equal(one_hot_labels(labels, 5), F.one_hot(labels, 5).float())


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


@pytest.mark.parametrize("dropped", [False, True])
def test_both_discriminators_follow_their_formulas(dropped: bool) -> None:
    labels, image = torch.tensor([2, 0]), torch.rand(2, 1, 2, 3, dtype=torch.float64)
    masks = {width: (torch.rand(2, width) < 0.5).double() * 2 for width in (530, 1024)}
    ones = {width: torch.ones(2, width, dtype=torch.float64) for width in masks}
    used = masks if dropped else ones

    paper = MaxoutDiscriminator(values=6, classes=3).double()
    y = torch.eye(3, dtype=torch.float64)[labels]
    h = torch.cat((paper.from_image(image.flatten(1)), paper.from_class(y)), dim=1) * used[530][:, :290]
    expected = F.linear(paper.both(h) * used[530][:, 290:], paper.last.weight, paper.last.bias)
    torch.testing.assert_close(paper(image, labels, masks[530] if dropped else None), expected)

    port = EmbeddingDiscriminator(values=6, classes=3).double()
    h = torch.cat((image.flatten(1), port.embedding.weight[labels]), dim=1)
    h = leaky(h @ port.first.weight.T + port.first.bias)
    h = leaky((h @ port.second.weight.T + port.second.bias) * used[1024][:, :512])
    h = leaky((h @ port.third.weight.T + port.third.bias) * used[1024][:, 512:])
    expected = h @ port.last.weight.T + port.last.bias
    torch.testing.assert_close(port(image, labels, masks[1024] if dropped else None), expected)
