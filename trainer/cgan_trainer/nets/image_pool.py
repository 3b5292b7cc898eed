"""Older pictures for the discriminator: it forgets less of what the generator did before.

Source: Shrivastava et al. 2017, section 2.3; used by CycleGAN with 50 pictures.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from cgan_trainer.seeding import derive_seed

__all__ = ["ImagePool"]


class ImagePool:
    """Keeps up to `size` pictures, each with what the discriminator saw beside it.

    Args:
        size: pictures kept.
        seed: of the run.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.pictures: list[Tensor] = []

    def exchange(self, seen: Float[Tensor, "b c h w"], positions: range) -> Float[Tensor, "b c h w"]:
        """Half of the time the pictures given, otherwise older ones, whose places they take.

        Args:
            seen: generated pictures, joined to their conditions where those are judged too.
            positions: the numbers of the images in the run: they decide what is drawn.
        """
        return torch.stack([self._one(row, position) for row, position in zip(seen, positions, strict=True)])

    def _one(self, seen: Tensor, position: int) -> Tensor:
        if len(self.pictures) < self.size:
            self.pictures.append(seen.clone())
            return seen
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "history", position))
        if torch.rand((), generator=generator) < 0.5:
            return seen
        place = int(torch.randint(self.size, (), generator=generator))
        older, self.pictures[place] = self.pictures[place], seen.clone()
        return older
