from __future__ import annotations

from dataclasses import replace

import pytest
from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.data.kinds.paired import PairedFacts
from cgan_trainer.families.base import Phase, Progress
from cgan_trainer.families.pix2pix import Pix2pixRecipe
from cgan_trainer.training.plateau import Plateau


def rates(config: Pix2pixConfig, images: tuple[int, ...], total: int) -> list[float]:
    return [rate(config, seen, total) for seen in images]


def rate(config: Pix2pixConfig, images: int, total: int, plateau: Plateau | None = None) -> float:
    """Of the generator's optimiser."""
    facts = PairedFacts(
        name="x", source="A", target="B", palette=None, source_palette=None, target_palette=None, direction="AtoB"
    )
    recipe = Pix2pixRecipe(replace(config, size=64, ngf=1, ndf=1), facts)
    phase: Phase = recipe.plan(total)[0].phases[-1]
    progress = Progress(
        images=images,
        total=total,
        epochs=config.epochs + config.epochs_decay,
        steps=0,
        reductions=0 if plateau is None else plateau.reductions,
    )
    return recipe.learning_rate(phase, progress)


def test_linear_is_constant_then_falls_to_zero() -> None:
    config = Pix2pixConfig(epochs=3, epochs_decay=1, lr=1.0)
    total = config.total_images(10)
    assert total == 40
    assert rates(config, (0, 29, 30, 35, 39), total) == pytest.approx([1, 1, 1, 0.5, 0.1])
    assert rates(Pix2pixConfig(images=7, epochs_decay=0), (6,), 7) == [2e-4]
    assert rates(Pix2pixConfig(epochs=0, epochs_decay=1), (0,), 10) == [2e-4]


def test_step_is_a_tenth_every_so_many_epochs() -> None:
    config = Pix2pixConfig(epochs=4, epochs_decay=2, lr=1.0, lr_policy="step", step_epochs=2)
    assert rates(config, (0, 19, 20, 39, 40, 59), config.total_images(10)) == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_cosine_falls_from_the_whole_rate_to_zero() -> None:
    config = Pix2pixConfig(lr=1.0, lr_policy="cosine")
    assert rates(config, (0, 25, 50, 75, 100), 100) == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_plateau_reduces_after_more_than_five_validations_without_progress() -> None:
    config, plateau, seen = Pix2pixConfig(lr=1.0, lr_policy="plateau"), Plateau(), []
    # progress, then six without any (a gain below 1 % is none), then progress again
    for value in (0.5, 0.4, 0.399, 0.4, 0.41, 0.4, 0.4, 0.4, 0.3, 0.3):
        plateau.see(value)
        seen.append(rate(config, 0, 100, plateau))
    assert seen == pytest.approx([1] * 7 + [0.2] * 3)
