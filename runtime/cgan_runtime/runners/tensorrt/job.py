"""What one call asks for: inputs from the host, and seeds for those that are drawn on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cgan_runtime.runners.base import Tensors
from cgan_runtime.runners.tensorrt.profiles import Part, Shapes

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Rows for an engine.

    Attributes:
        shapes: [N, ...] of every input, those that are drawn included.
        inputs: those that are copied to the device.
        seeds: a seed for each row where the other inputs are drawn on the device; else empty.
        draws: with each seed.
    """

    shapes: Shapes
    inputs: Tensors
    seeds: tuple[int, ...] = ()
    draws: tuple[int, ...] = ()

    @property
    def is_seeded(self) -> bool:
        """Whether inputs are drawn."""
        return bool(self.seeds)

    def part(self, part: Part) -> Job:
        """The rows of a part, its last row repeated up to the size that it is run as."""
        index = np.minimum(np.arange(part.first, part.first + part.size), part.first + part.rows - 1)
        whole = part.size == part.rows
        rows = slice(part.first, part.first + part.rows)
        return Job(
            shapes={name: (part.size, *shape[1:]) for name, shape in self.shapes.items()},
            inputs={name: value[rows] if whole else value[index] for name, value in self.inputs.items()},
            seeds=tuple(self.seeds[at] for at in index) if self.seeds else (),
            draws=tuple(self.draws[at] for at in index) if self.draws else (),
        )
