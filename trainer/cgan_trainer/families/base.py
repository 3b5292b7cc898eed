"""The two things every family provides: a generator that is a pure function, and the rules that train it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cgan_runtime.contract import Contract
from torch import Tensor, nn

__all__ = ["Generator"]


class Generator(nn.Module, ABC):
    """``outputs = G(*conditions, *noise)``, tensors batch first, in the order of the contract.

    Called with the conditions alone, a generator draws its noise itself from torch's global random state
    (live dropout included, in `train()` and `eval()` alike): that is how it is trained, and the reference for
    the spread over seeds. Called with every noise input of its contract it draws nothing and depends on its
    arguments only: that is what is exported.
    """

    @property
    @abstractmethod
    def contract(self) -> Contract:
        """What this generator takes and gives."""

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor:
        """Conditions, then either no noise at all or every noise input; returns the output, batch first."""
