"""Vectors: numbers as they are, from a list or a file; also every tensor without an encoding."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from cgan_runtime.contract import Condition, Output, SizeRule
from cgan_runtime.encodings.base import Array, Decoder, Encoder, Given, JsonObject, as_given, shape_text
from cgan_runtime.errors import BadInputError, UsageError
from cgan_runtime.npy import load_npy

__all__ = ["VectorDecoder", "VectorEncoder"]

SUFFIXES: Final = (".npy", ".json")


class VectorEncoder(Encoder):
    """Takes numbers: a list or array, text such as "0.5, -1, 2", or the path of a .npy or .json file."""

    def encode(
        self,
        given: Given,
        condition: Condition,
        *,
        sides: SizeRule | None = None,  # noqa: ARG002 - the contract's own check follows
        name: str | None = None,
    ) -> Array:
        """The condition's dtype and shape.

        Raises:
            UsageError: another number of values or shape, a value that is no finite number, or not a whole one
                where the dtype is int64.
            BadInputError: the same in a file, or a file that cannot be read.
        """
        called = name or condition.name
        if isinstance(given, Path) or (isinstance(given, str) and Path(given.strip()).suffix.lower() in SUFFIXES):
            path = Path(given)
            return _fitted(_from_file(path), condition, str(path), BadInputError)
        if isinstance(given, str):
            given = _from_text(given, called, self.choices(condition))
        return _fitted(given, condition, called, UsageError)

    def choices(self, condition: Condition) -> str:
        """How many numbers, and in which form."""
        wanted = f"{condition.shape[0]} numbers" if len(condition.shape) == 1 else shape_text(condition.shape)
        listed = "with commas between, or in " if len(condition.shape) == 1 else "or "
        return f"{wanted} {listed}a .npy or .json file"


class VectorDecoder(Decoder):
    """Gives a .npy file."""

    suffix: ClassVar[str] = ".npy"

    def decode(
        self,
        array: Array,
        output: Output,  # noqa: ARG002 - the array says all
        *,
        text: Mapping[str, str] | None = None,  # noqa: ARG002 - numpy's format has no place for it
        size: tuple[int, int] | None = None,  # noqa: ARG002 - not an image
    ) -> bytes | JsonObject:
        """The bytes of a .npy file with the array as it is."""
        stream = io.BytesIO()
        np.save(stream, np.asarray(array, order="C"), allow_pickle=False)
        return stream.getvalue()


def _from_text(text: str, called: str, choices: str) -> list[float]:
    try:
        return [float(item) for item in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{called} {as_given(text)!r} is not a list of numbers; give {choices}.") from error


def _from_file(path: Path) -> Any:
    if path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"{path} is neither a .npy nor a .json file; numbers are read from these two.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        if path.suffix.lower() == ".json":
            return json.loads(data)
        return load_npy(data)
    except (ValueError, EOFError, OSError, RecursionError) as error:
        raise BadInputError(
            f"{path} is not a {path.suffix.lower()} file with numbers in it (or it is damaged): replace it."
        ) from error


def _fitted(values: Any, condition: Condition, called: str, error_type: type[UsageError | BadInputError]) -> Array:
    try:
        wide = np.asarray(values)
        if wide.dtype.kind not in "fiu":
            raise ValueError("no numbers")
    except ValueError as error:  # also rows of different length
        raise error_type(f"{called} holds something that is not a number; numbers are needed.") from error
    if condition.shape == () and wide.shape == (1,):
        wide = wide.reshape(())
    if not _same_shape(wide.shape, condition.shape):
        if len(condition.shape) == wide.ndim == 1:
            raise error_type(f"{called} has {wide.size} numbers, {condition.shape[0]} are needed.")
        needed = shape_text(condition.shape)
        raise error_type(f"{called} has the shape {shape_text(wide.shape)}, {needed} is needed.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinity, and is refused below
        finite = np.isfinite(wide.astype(np.float32)).all()
    if not finite:
        raise error_type(f"{called} holds NaN, infinity or a number too large; finite numbers are needed.")
    if condition.dtype == "int64" and not np.array_equal(wide, np.trunc(wide)):
        raise error_type(f"{called} holds a fraction; whole numbers are needed.")
    return np.ascontiguousarray(wide, dtype=condition.dtype).reshape(wide.shape)


def _same_shape(given: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """A free axis takes any size here; the contract's own check follows where the sizes are bound."""
    return len(given) == len(wanted) and all(
        isinstance(axis, str) or axis == size for size, axis in zip(given, wanted, strict=True)
    )
