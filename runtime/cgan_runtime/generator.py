"""Conditions and seeds to outputs: the one place where a seed becomes noise, on the host or on the runner's device.

`SeededGenerator` wraps any runner. The command line, the Triton front end, the fidelity gates and the
benchmark all go through it, so they cannot disagree about what a seed means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

from cgan_runtime.axes import bound_sizes, require_bearable, require_legal
from cgan_runtime.contract import Contract
from cgan_runtime.errors import UsageError
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.runners.base import Array, Runner, Tensors, sample_shape

__all__ = ["SeededGenerator", "SeededModel", "noise_tensors", "sizes_of"]


class SeededModel(Protocol):
    """Anything that turns conditions and seeds into outputs: a bundle here, or a server elsewhere."""

    @property
    def contract(self) -> Contract:
        """What goes in and what comes out."""

    def generate(self, conditions: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        """Row i of every output [N, ...] from row i of every condition, seeds[i] and draws[i]; N = len(seeds)."""

    def close(self) -> None:
        """Release what it holds."""


@final
class SeededGenerator:
    """A runner whose noise inputs are filled from seeds.

    >>> generator = SeededGenerator(OnnxRuntimeRunner(model, contract))       # doctest: +SKIP
    >>> generator.generate({"condition": x}, seeds=[7], draws=[0])["picture"]  # doctest: +SKIP
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @property
    def contract(self) -> Contract:
        """The signature of the runner."""
        return self.runner.contract

    def generate(
        self, conditions: Tensors, seeds: Sequence[int], draws: Sequence[int], *, as_bytes: bool = False
    ) -> dict[str, Array]:
        """Row i of every output [N, ...] from row i of every condition, seeds[i] and draws[i].

        The number of rows N is the number of seeds: a generator without conditions has no other.

        Args:
            conditions: in the contract's types and shapes; images may be uint8 [N, H, W, C] instead.
            seeds: 0 to 2**64 - 1, one per row.
            draws: 0 to 2**32 - 1, one per row.
            as_bytes: give images as uint8 [N, H, W, C] instead of the contract's float32 [N, C, H, W].

        Raises:
            UsageError: a seed or draw out of range, or conditions that do not fit the contract or the seeds.
            CganError: the backend failed; with `as_bytes`, an image has values that are NaN or infinite.
        """
        for name, value in conditions.items():
            if value.ndim == 0 or len(value) != len(seeds):
                rows = len(value) if value.ndim else "no"
                raise UsageError(f"{len(seeds)} seeds but {rows} rows of {name}; one seed a row is needed.")
        sizes = sizes_of(self.contract, conditions)
        require_bearable((tensor.shape for tensor in (*self.contract.inputs, *self.contract.outputs)), sizes)
        drawn = self.runner.drawn_inputs
        inputs = [item for item in self.contract.noise if item.name not in drawn]
        given = {**conditions, **noise_tensors(inputs, seeds, draws, sizes)}
        if drawn:
            return self.runner.infer_seeded(given, seeds, draws, as_bytes=as_bytes)
        return self.runner.infer(given, as_bytes=as_bytes)

    def close(self) -> None:
        """Release the runner."""
        self.runner.close()


def sizes_of(contract: Contract, conditions: Tensors) -> dict[str, int]:
    """The free sizes that conditions [N, ...] bind, images as tensors or as bytes; nothing where the size is fixed.

    Raises:
        UsageError: a size that the contract does not allow.
    """
    given = (c for c in contract.conditions if c.name in conditions)
    sizes = bound_sizes((c.shape, sample_shape(conditions[c.name], c)) for c in given)
    require_legal(sizes, contract.sides)
    return sizes
