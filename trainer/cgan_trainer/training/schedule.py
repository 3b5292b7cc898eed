"""The learning rate: a function of the images seen, and for one policy of how validation went."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cgan_trainer.training.config import Pix2pixConfig

__all__ = ["PLATEAU_FACTOR", "PLATEAU_PATIENCE", "Plateau", "learning_rate"]

STEP_FACTOR = 0.1
PLATEAU_FACTOR = 0.2
PLATEAU_PATIENCE = 5  # validations
PLATEAU_MARGIN = 0.01  # an improvement by less than this share is none


@dataclass(kw_only=True)
class Plateau:
    """How validation L1 went: part of what a resumed run takes up."""

    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def see(self, value: float) -> None:
        """Take note of one validation."""
        if value < self.best * (1 - PLATEAU_MARGIN):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > PLATEAU_PATIENCE:
            self.waited, self.reductions = 0, self.reductions + 1


def learning_rate(config: Pix2pixConfig, images: int, total: int, plateau: Plateau) -> float:
    """The rate after `images` of `total` images.

    linear    constant over --epochs, then in a straight line to 0 over --epochs-decay (the papers')
    step      a tenth every --step-epochs
    plateau   a fifth when validation L1 has not improved by 1 % for more than 5 validations
    cosine    half a cosine from the whole rate to 0
    """
    epochs = config.epochs + config.epochs_decay
    match config.lr_policy:
        case "step":
            return config.lr * STEP_FACTOR ** math.floor(images / total * epochs / config.step_epochs)
        case "plateau":
            return config.lr * PLATEAU_FACTOR**plateau.reductions
        case "cosine":
            return config.lr * (1 + math.cos(math.pi * images / total)) / 2
        case _:
            begin = total * config.epochs / epochs
            return config.lr if images < begin else config.lr * (total - images) / (total - begin)
