"""Seeded noise, version 1: three integers in, the same tensor out on every machine and in every language.

A sample's noise depends on ``(seed, tensor, draw)`` only, never on a batch, a thread or the time:

* ``seed``    0 .. 2**64-1, chosen by the caller;
* ``tensor``  0 .. 2**32-1, the order index of the noise input in the bundle's contract;
* ``draw``    0 .. 2**32-1, the number of the sample within one request (0 is *the* image of a seed).

The words come from Philox4x64-10 with key (seed, 0) and counter (block, tensor, draw, 1); block counts from 1
and the last counter word is the version of these rules. Each 64-bit word gives two 32-bit words ``r``, low
half first, and ``u = (r + 0.5) / 2**32``. Distributions are computed in float64 and rounded once to float32.

This file needs numpy and nothing else, so it can be copied into a client as it is.

>>> noise("mask", (4,), seed=7, tensor=0, parameters={"p": 0.5}).tolist()
[0.0, 2.0, 2.0, 0.0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["DISTRIBUTIONS", "MAX_SEED", "NOISE_VERSION", "keep", "noise", "parse_seed", "raw_words"]

NOISE_VERSION: Final = 1
MAX_SEED: Final = 2**64 - 1
MAX_JSON_NUMBER: Final = 2**53 - 1

_MAX_U32: Final = 2**32 - 1
_TWO_PI: Final = 6.283185307179586  # the double nearest to 2*pi, as the rules fix it

Words = npt.NDArray[np.uint32]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Parameters = Mapping[str, float]


def parse_seed(value: object) -> int:
    """A seed from JSON or a command line: an integer 0 .. 2**53-1, or a string of decimal digits.

    Raises:
        ValueError: not an integer, negative, beyond 2**64-1, a JSON number from 2**53 upwards (another
            reader would round it to another image), or a string with anything but digits.
    """
    if isinstance(value, str):
        digits = value.isascii() and value.isdigit() and (value == "0" or value[0] != "0")
        if not digits or int(value) > MAX_SEED:
            raise ValueError(f"seed {value!r} is not a whole number from 0 to {MAX_SEED}")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"seed {value!r} is not a whole number from 0 to {MAX_SEED}")
    if not 0 <= value <= MAX_JSON_NUMBER:
        raise ValueError(f"seed {value} as a number must be 0 to 2**53-1; write a larger one as a string of digits")
    return value


def raw_words(count: int, *, seed: int, tensor: int, draw: int = 0) -> Words:
    """The first `count` 32-bit words r[0], r[1], ... of (seed, tensor, draw), shape [count].

    Raises:
        ValueError: an argument outside its range.
    """
    # Checked before numpy sees them: numpy 1.26 turns -1 into 2**64-1 with a mere warning.
    for name, value, top in (
        ("seed", seed, MAX_SEED),
        ("tensor", tensor, _MAX_U32),
        ("draw", draw, _MAX_U32),
    ):
        if not 0 <= value <= top:
            raise ValueError(f"{name} must be 0 to {top}, got {value}")
    # Arrays, never lists: a list holding a word >= 2**63 becomes float64 and silently another key.
    key = np.array([seed, 0], dtype=np.uint64)
    counter = np.array([0, tensor, draw, NOISE_VERSION], dtype=np.uint64)  # numpy counts up before block 1
    # Only random_raw is covered by numpy's stream-compatibility promise.
    raw = np.random.Philox(key=key, counter=counter).random_raw((count + 1) // 2)
    return np.asarray(raw, dtype="<u8").view("<u4")[:count]


def keep(count: int, p: float, *, seed: int, tensor: int, draw: int = 0) -> npt.NDArray[np.uint8]:
    """1 where an element is kept, 0 where it is dropped with probability `p` in [0, 1); uint8 [count]."""
    if not 0 <= p < 1:
        raise ValueError(f"the probability of dropping must be at least 0 and below 1, got {p}")
    threshold = np.uint32(math.floor(p * 2**32))  # exact in float64
    return (raw_words(count, seed=seed, tensor=tensor, draw=draw) >= threshold).astype(np.uint8)


def noise(
    distribution: str,
    shape: tuple[int, ...],
    *,
    seed: int,
    tensor: int,
    draw: int = 0,
    parameters: Parameters | None = None,
) -> Float32:
    """One noise tensor of one sample, float32 of `shape` (no batch axis), in C order.

    Args:
        distribution: a name of `DISTRIBUTIONS`.
        shape: per sample; an empty shape is a scalar.
        seed: 0 .. 2**64-1.
        tensor: order index of the noise input in the contract.
        draw: number of the sample within one request.
        parameters: ``{"p": ...}`` for mask, ``{"c": ...}`` for truncated_normal.

    Raises:
        ValueError: an unknown distribution, or an argument or parameter outside its range.
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"unknown distribution {distribution!r}; known: {', '.join(DISTRIBUTIONS)}")
    source = _Source(seed, tensor, draw)
    values = DISTRIBUTIONS[distribution](source, math.prod(shape), parameters or {})
    return values.astype(np.float32, copy=False).reshape(shape)


class _Source:
    """The words of one (seed, tensor, draw), from the first."""

    def __init__(self, seed: int, tensor: int, draw: int) -> None:
        self.seed, self.tensor, self.draw = seed, tensor, draw

    def words(self, count: int) -> Words:
        return raw_words(count, seed=self.seed, tensor=self.tensor, draw=self.draw)

    def uniform(self, count: int) -> Float64:
        """U in (0, 1), exact in float64."""
        return np.asarray((self.words(count).astype(np.float64) + 0.5) / 2.0**32, dtype=np.float64)

    def normal(self, count: int) -> Float64:
        """Box-Muller on consecutive pairs; an odd count drops the last sine."""
        u = self.uniform(count + count % 2)
        radius = np.sqrt(-2.0 * np.log(u[0::2]))
        angle = _TWO_PI * u[1::2]
        z = np.empty_like(u)
        z[0::2] = radius * np.cos(angle)
        z[1::2] = radius * np.sin(angle)
        return z[:count]


def _mask(source: _Source, count: int, parameters: Parameters) -> Float32:
    p = parameters.get("p", 0.5)
    kept = keep(count, p, seed=source.seed, tensor=source.tensor, draw=source.draw)
    return np.multiply(kept, np.float32(1.0 / (1.0 - p)), dtype=np.float32)


def _uniform01(source: _Source, count: int, _: Parameters) -> Float64:
    return source.uniform(count)


def _uniform11(source: _Source, count: int, _: Parameters) -> Float64:
    return 2.0 * source.uniform(count) - 1.0


def _normal(source: _Source, count: int, _: Parameters) -> Float64:
    return source.normal(count)


def _truncated_normal(source: _Source, count: int, parameters: Parameters) -> Float64:
    cut = parameters.get("c", 2.0)
    if not cut >= 0.1:  # the rules' own bound; also refuses NaN
        raise ValueError(f"truncated_normal needs c of at least 0.1, got {cut}")
    length = 2 * count + 64
    while True:  # the prefix law makes a longer draw begin with the shorter one
        z = source.normal(length)
        inside = z[np.abs(z) <= cut]
        if len(inside) >= count:
            return inside[:count]
        length *= 2


def _hypersphere(source: _Source, count: int, _: Parameters) -> Float64:
    z = source.normal(count)
    return np.asarray(z / np.sqrt(np.sum(z * z)), dtype=np.float64)


def _hypersphere_sqrt_n(source: _Source, count: int, _: Parameters) -> Float64:
    z = source.normal(count)
    return np.asarray(z * (math.sqrt(count) / np.sqrt(np.sum(z * z))), dtype=np.float64)


DISTRIBUTIONS: Final[dict[str, Callable[[_Source, int, Parameters], Float32 | Float64]]] = {
    "mask": _mask,
    "uniform01": _uniform01,
    "uniform11": _uniform11,
    "normal": _normal,
    "truncated_normal": _truncated_normal,
    "hypersphere": _hypersphere,
    "hypersphere_sqrt_n": _hypersphere_sqrt_n,
}
