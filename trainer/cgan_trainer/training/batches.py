"""The batches of a run: rows of the source by position, with the noise that the phases share."""

from __future__ import annotations

from typing import Any

import torch

from cgan_trainer.data.kinds import Source
from cgan_trainer.families.base import Batch, Recipe

__all__ = ["Batches"]


class Batches:
    """Image number n of a run is the same wherever and in whatever company it is asked for.

    Args:
        source: the images.
        recipe: draws the noise, and says where tensors go.
    """

    def __init__(self, source: Source, recipe: Recipe[Any, Any]) -> None:
        self.source, self.recipe = source, recipe

    def batch(self, begin: int, end: int) -> Batch:
        """The images begin..end-1."""
        positions = range(begin, end)
        rows = [self.source.row(position) for position in positions]
        tensors = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        tensors |= self.recipe.noise(positions)
        return Batch(
            positions=positions, tensors={name: self.recipe.place(value) for name, value in tensors.items()}
        )
