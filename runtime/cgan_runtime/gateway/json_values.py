"""Values in JSON as a tensor's raw form: numbers, whole numbers that keep every digit, true and false, text."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.request import DTYPES, pack_strings

__all__ = ["PACK", "SAFE_INTEGERS", "is_integer"]

SAFE_INTEGERS: Final = 2**53  # from here on many JSON libraries round
BOUNDS: Final = {"INT64": (-(2**63), 2**63 - 1), "UINT64": (0, 2**64 - 1), "UINT32": (0, 2**32 - 1)}


def is_integer(value: Any) -> bool:
    """Whether it is a whole number; true and false are not, in JSON."""
    return isinstance(value, int) and not isinstance(value, bool)


def _floats(data: list[Any], name: str, shape: tuple[int, ...]) -> bytes:
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as error:
        raise Refusal(f"the data of {name} is nested unevenly.") from error
    if array.dtype.kind not in "fiu":
        raise Refusal(f"the data of {name} is not only numbers.")
    if array.size != _count(shape) or (array.ndim > 1 and array.shape != shape):
        raise Refusal(f"{name} has {array.size} values, {_count(shape)} are needed for its shape {list(shape)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too large for float32: infinite, which is refused with the other values
        return array.astype("<f4").tobytes()


def _integers(datatype: str) -> Callable[[list[Any], str, tuple[int, ...]], bytes]:
    low, high = BOUNDS[datatype]

    def pack(data: list[Any], name: str, shape: tuple[int, ...]) -> bytes:
        values = [_integer(value, name, low, high) for value in _flat(data, name, shape)]
        return np.array(values, dtype=DTYPES[datatype]).tobytes()

    return pack


def _integer(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        if value != "0" and value.startswith("0"):
            raise Refusal(f"{name} {value!r} begins with 0; give the digits of a whole number alone.")
        value = int(value)
    elif not is_integer(value):
        raise Refusal(f"{name} {str(value)[:40]!r} is not a whole number from {low} to {high}.")
    elif abs(value) >= SAFE_INTEGERS:
        raise Refusal(
            f"{name} {str(value)[:40]} is 2^53 or more, which many JSON libraries round: give it as a string of "
            f'digits, "{str(value)[:40]}", if it is what you mean.'
        )
    if not low <= value <= high:
        raise Refusal(f"{name} {value} is out of range; give {low} to {high}.")
    return int(value)


def _bools(data: list[Any], name: str, shape: tuple[int, ...]) -> bytes:
    values = _flat(data, name, shape)
    if not all(isinstance(value, bool) for value in values):
        raise Refusal(f"the data of {name} must be true or false.")
    return np.array(values, dtype=bool).tobytes()


def _strings(data: list[Any], name: str, shape: tuple[int, ...]) -> bytes:
    values = _flat(data, name, shape)
    if not all(isinstance(value, str) for value in values):
        raise Refusal(f"the data of {name} must be text: a file as base64, a class by its name or number.")
    return pack_strings([value.encode() for value in values])


def _flat(data: list[Any], name: str, shape: tuple[int, ...]) -> list[Any]:
    """The elements of nested lists, in order."""
    while any(isinstance(item, list) for item in data):
        if not all(isinstance(item, list) for item in data):
            raise Refusal(f"the data of {name} is nested unevenly.")
        data = [inner for item in data for inner in item]
    if len(data) != _count(shape):
        raise Refusal(f"{name} has {len(data)} values, {_count(shape)} are needed for its shape {list(shape)}.")
    return data


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for axis in shape:
        count *= axis
    return count


# By datatype: (the values, nested or flat; the input's name; its shape) -> raw.
PACK: Final[dict[str, Callable[[list[Any], str, tuple[int, ...]], bytes]]] = {
    "FP32": _floats,
    "INT64": _integers("INT64"),
    "UINT64": _integers("UINT64"),
    "UINT32": _integers("UINT32"),
    "BOOL": _bools,
    "BYTES": _strings,
}
