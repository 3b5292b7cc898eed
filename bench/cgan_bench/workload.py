"""The inputs of one inference, from its seeds alone: two backends given the same seeds get the same numbers.

Every round uses seeds that no earlier round used, and every run begins at other ones, so nothing can be answered
from a cache: not from that of a server either, which lives longer than a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.generator import noise_tensors
from cgan_runtime.noise import noise
from cgan_runtime.runners.base import Array

__all__ = ["check_seeds", "conditions_for", "inputs_for", "round_seeds"]

# Order index under which conditions are drawn: no contract has that many noise inputs.
FIRST_CONDITION_TENSOR: Final = 2**31
COARSE: Final = 8  # an image is a field of COARSE x COARSE flat patches, as maps and facades are
CHECK_SEED: Final = 2**63
CHECK_ROWS: Final = 3


def round_seeds(index: int, batch: int, *, first: int = 0) -> list[int]:
    """The seeds of round `index`: `batch` of them, in no other round; those of round 0 begin at `first`."""
    return [first + index * batch + row for row in range(batch)]


def check_seeds(batch: int) -> list[list[int]]:
    """Seeds of the calls whose answers are compared: at least CHECK_ROWS rows, far from every round's."""
    calls = -(-CHECK_ROWS // batch)
    return [[CHECK_SEED + call * batch + row for row in range(batch)] for call in range(calls)]


def conditions_for(contract: Contract, seeds: Sequence[int]) -> dict[str, Array]:
    """Every condition [N, ...], row i from seeds[i] alone; nothing for a contract without conditions.

    Images are 8-bit fields of flat patches in the contract's encoding, labels run through the classes; vectors and
    raw tensors are uniform over their range where they have one, else normal; raw integers run through theirs.

    Args:
        contract: with numbers for axes (`sizes.at_size`).
        seeds: one per row.
    """
    return {
        condition.name: np.stack([_condition(condition, seed, FIRST_CONDITION_TENSOR + index) for seed in seeds])
        for index, condition in enumerate(contract.conditions)
    }


def inputs_for(contract: Contract, seeds: Sequence[int]) -> dict[str, Array]:
    """Every input of the contract [N, ...]: `conditions_for` and the noise of draw 0."""
    return {**conditions_for(contract, seeds), **noise_tensors(contract.noise, seeds, [0] * len(seeds))}


def _condition(condition: Condition, seed: int, tensor: int) -> Array:
    shape = shape_of(condition.shape, {})
    match condition.encoding:
        case LabelEncoding(names=names):
            return np.asarray(seed % max(len(names), 1), dtype=np.int64)
        case ImageEncoding() as encoding:
            return _image(shape, encoding, seed, tensor)
    if condition.dtype == "int64":
        low, high = (int(limit) for limit in condition.range or (0, 0))
        return np.full(shape, low + seed % (high - low + 1), dtype=np.int64)
    if condition.range is None:
        return noise("normal", shape, seed=seed, tensor=tensor)
    low_value, high_value = (np.float32(limit) for limit in condition.range)
    share = noise("uniform01", shape, seed=seed, tensor=tensor)
    return np.asarray(low_value + share * (high_value - low_value), dtype=np.float32)


def _image(shape: tuple[int, ...], encoding: ImageEncoding, seed: int, tensor: int) -> Array:
    """[C, H, W] as float32 values of the encoding."""
    channels, height, width = shape
    coarse = noise("uniform01", (channels, COARSE, COARSE), seed=seed, tensor=tensor)
    rows, columns = (np.arange(side) * COARSE // side for side in (height, width))
    pixels = np.rint(coarse * 255)[:, rows][:, :, columns]
    mean, std = (np.asarray(v, dtype=np.float32)[:, None, None] for v in (encoding.mean, encoding.std))
    return np.asarray((pixels / np.float32(255) - mean) / std, dtype=np.float32)
