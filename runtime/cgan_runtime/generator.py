"""Conditions and seeds to outputs: the one place where a seed becomes noise.

`SeededGenerator` wraps any runner. The command line, the Triton front end, the fidelity gates and the
benchmark all go through it, so they cannot disagree about what a seed means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, final

import numpy as np

from cgan_runtime.axes import bound_sizes, require_bearable, require_legal, shape_of
from cgan_runtime.contract import Contract, NoiseInput
from cgan_runtime.errors import UsageError
from cgan_runtime.noise import noise
from cgan_runtime.runners.base import Array, Runner, Tensors

__all__ = ["SeededGenerator", "SeededModel", "noise_tensors", "require_rows", "sizes_of"]


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

    def generate(self, conditions: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        """Row i of every output [N, ...] from row i of every condition, seeds[i] and draws[i].

        The number of rows N is the number of seeds: a generator without conditions has no other.

        Raises:
            UsageError: a seed or draw out of range, or conditions that do not fit the contract or the seeds.
            CganError: the backend failed.
        """
        sizes = require_rows(self.contract, conditions, seeds)
        return self.runner.infer({**conditions, **noise_tensors(self.contract.noise, seeds, draws, sizes)})

    def close(self) -> None:
        """Release the runner."""
        self.runner.close()


def require_rows(contract: Contract, conditions: Tensors, seeds: Sequence[int]) -> dict[str, int]:
    """The free sizes of a call whose conditions have a row for each seed and a size that can be had.

    Raises:
        UsageError: another number of rows, a size that the contract does not allow, or tensors too large for any
            machine.
    """
    for name, value in conditions.items():
        if value.ndim == 0 or len(value) != len(seeds):
            rows = len(value) if value.ndim else "no"
            raise UsageError(f"{len(seeds)} seeds but {rows} rows of {name}; one seed a row is needed.")
    sizes = sizes_of(contract, conditions)
    require_bearable((tensor.shape for tensor in (*contract.inputs, *contract.outputs)), sizes)
    return sizes


def sizes_of(contract: Contract, conditions: Tensors) -> dict[str, int]:
    """The free sizes that conditions [N, ...] bind; nothing where the image size is fixed.

    Raises:
        UsageError: a size that the contract does not allow.
    """
    given = (c for c in contract.conditions if c.name in conditions)
    sizes = bound_sizes((c.shape, conditions[c.name].shape[1:]) for c in given)
    require_legal(sizes, contract.sides)
    return sizes


def noise_tensors(
    inputs: Sequence[NoiseInput], seeds: Sequence[int], draws: Sequence[int], sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Every noise input, float32 [N, ...], row i from (seeds[i], index, draws[i]) and its shape alone.

    `sizes` gives the free axes, as the conditions bind them.

    Raises:
        UsageError: seeds and draws of different length, a value out of range, or a free axis without a size.
    """
    if len(seeds) != len(draws):
        raise UsageError(f"{len(seeds)} seeds but {len(draws)} draws.")
    filled: dict[str, Array] = {}
    for item in inputs:
        shape = shape_of(item.shape, sizes or {})
        batch = np.empty((len(seeds), *shape), dtype=np.float32)
        for row, (seed, draw) in enumerate(zip(seeds, draws, strict=True)):
            try:
                batch[row] = noise(
                    item.distribution,
                    shape,
                    seed=seed,
                    tensor=item.index,
                    draw=draw,
                    parameters=item.parameters,
                )
            except ValueError as error:
                raise UsageError(f"{error}.") from error
        filled[item.name] = batch
    return filled
