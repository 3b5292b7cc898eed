from __future__ import annotations

import pytest
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.schedule import Plateau, learning_rate


def rates(config: Pix2pixConfig, images: tuple[int, ...], total: int) -> list[float]:
    return [learning_rate(config, seen, total, Plateau()) for seen in images]


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
        seen.append(learning_rate(config, 0, 100, plateau))
    assert seen == pytest.approx([1] * 7 + [0.2] * 3)
