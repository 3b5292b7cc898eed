"""The noise inputs of a contract for the rows of a batch, drawn on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cgan_runtime.axes import shape_of
from cgan_runtime.contract import NoiseInput
from cgan_runtime.errors import UsageError
from cgan_runtime.noise import noise

__all__ = ["noise_tensors"]


def noise_tensors(
    inputs: Sequence[NoiseInput], seeds: Sequence[int], draws: Sequence[int], sizes: Mapping[str, int] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Every noise input, float32 [N, ...], row i from (seeds[i], index, draws[i]) and its shape alone.

    `sizes` gives the free axes, as the conditions bind them.

    Raises:
        UsageError: seeds and draws of different length, a value out of range, or a free axis without a size.
    """
    if len(seeds) != len(draws):
        raise UsageError(f"{len(seeds)} seeds but {len(draws)} draws.")
    filled: dict[str, npt.NDArray[Any]] = {}
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
