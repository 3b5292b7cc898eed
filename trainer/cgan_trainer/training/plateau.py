"""When validation has stalled: what the plateau policy lowers the learning rate by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Plateau"]

PATIENCE: Final = 5  # validations
MARGIN: Final = 0.01  # an improvement by less than this share is none


@dataclass(kw_only=True)
class Plateau:
    """How validation went: part of what a resumed run takes up."""

    best: float = math.inf
    waited: int = 0
    reductions: int = 0

    def see(self, value: float, better: Literal["lower", "higher"] = "lower") -> None:
        """Take note of one validation."""
        value = value if better == "lower" else -value
        if math.isinf(self.best) or value < self.best - MARGIN * abs(self.best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > PATIENCE:
            self.waited, self.reductions = 0, self.reductions + 1
