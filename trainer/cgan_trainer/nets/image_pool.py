"""Older generated images for the discriminator: it forgets less of what the generator did before.

Source: Shrivastava et al. 2017, section 2.3; used by CycleGAN with 50 images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from cgan_trainer.seeding import derive_seed

__all__ = ["ImagePool"]


class ImagePool:
    """Keeps up to `size` images, each with what the discriminator saw beside it.

    Trained by several ranks, every rank sees the images of all of them, in the order of their positions: its pool
    is then that of one process with the larger batch.

    Args:
        size: images kept; 0 keeps none, and gives back what it is given.
        seed: of the run.
        purpose: of the draws; different pools of a run have different ones.
    """

    def __init__(self, size: int, seed: int, purpose: str = "history") -> None:
        self.size = size
        self.seed = seed
        self.purpose = purpose
        self.images: list[Tensor] = []
        self.gather: Callable[[Tensor], Tensor] | None = None
        """Joins the batches of all ranks along the first axis, in the order of ranks; None: there is one."""
        self.rank = 0

    def exchange(self, seen: Float[Tensor, "b c h w"], positions: range) -> Float[Tensor, "b c h w"]:
        """Half of the time the images given, otherwise older ones, whose places they take.

        Args:
            seen: generated images, without gradient, joined to their conditions where those are judged too.
            positions: the numbers of the images in the run, of this rank: they decide what is drawn.
        """
        if self.size == 0:
            return seen
        begin, count = positions.start, len(positions)
        if self.gather is not None:
            seen = self.gather(seen)
            begin -= self.rank * count
        exchanged = [self._one(row, begin + at) for at, row in enumerate(seen)]
        mine = self.rank * count if self.gather is not None else 0
        return torch.stack(exchanged[mine : mine + count])

    def _one(self, seen: Tensor, position: int) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(seen.clone())
            return seen
        generator = torch.Generator().manual_seed(derive_seed(self.seed, self.purpose, position))
        if torch.rand((), generator=generator) < 0.5:
            return seen
        place = int(torch.randint(self.size, (), generator=generator))
        older, self.images[place] = self.images[place], seen.clone()
        return older
