"""The pictures of a step: taken from memory, cut and mirrored, with their noise, on the device that trains."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from cgan_trainer.data.pairs import Pairs
from cgan_trainer.families.pix2pix import Pix2pixGenerator
from cgan_trainer.seeding import augment, draw_masks, row_at, to_float
from cgan_trainer.training.config import Pix2pixConfig
from cgan_trainer.training.pix2pix import Batch

__all__ = ["Feed", "directed"]

SizeRule = tuple[UInt8[Tensor, "n c h w"], UInt8[Tensor, "n c h w"]]


def directed(pairs: Pairs, config: Pix2pixConfig) -> SizeRule:
    """Conditions and targets."""
    return (pairs.a, pairs.b) if config.direction == "AtoB" else (pairs.b, pairs.a)


class Feed:
    """Image number n of a run is the same wherever and in whatever company it is asked for.

    Args:
        config: of the run.
        pairs: the training split.
        generator: says which masks it takes.
        device: where the batches go.
    """

    def __init__(self, config: Pix2pixConfig, pairs: Pairs, generator: Pix2pixGenerator, device: str) -> None:
        self.config = config
        self.device = device
        self.sides = directed(pairs, config)
        noise = generator.contract.noise
        self.shapes = [tuple(int(side) for side in mask.shape) for mask in noise]
        self.p = [mask.parameters["p"] for mask in noise]
        self.layout = torch.channels_last if config.in_channels_last else torch.contiguous_format

    def batch(self, begin: int, end: int) -> Batch:
        """The images begin..end-1."""
        positions = range(begin, end)
        rows = [self._pair(position) for position in positions]
        condition, target = (
            torch.stack(side).contiguous(memory_format=self.layout) for side in zip(*rows, strict=True)
        )
        masks = draw_masks(self.shapes, self.p, self.config.seed, positions)
        return Batch(
            positions=positions,
            condition=condition,
            target=target,
            masks=[mask.to(self.device).contiguous(memory_format=self.layout) for mask in masks],
        )

    def _pair(self, position: int) -> list[Tensor]:
        config = self.config
        row = row_at(config.seed, position, len(self.sides[0]))
        sides = [to_float(side[row].to(self.device)) for side in self.sides]
        return augment(
            sides,
            (config.condition != "labels", True),
            config.seed,
            position,
            jitter=config.jitter,
            mirror=config.mirror,
        )
