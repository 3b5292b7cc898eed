"""The message of one request of `AsyncClient`: rows of inputs by name, their seeds and draws."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cgan_runtime.errors import UsageError
from cgan_runtime.noise import MAX_JSON_NUMBER, MAX_SEED
from cgan_runtime.runners.base import Array

__all__ = ["Inputs", "fill", "rows_of"]

Inputs = Mapping[str, Array | Sequence[Any]]


def fill(
    request: Any, described: Any, inputs: Inputs, seeds: Sequence[int] | None, draws: Sequence[int] | None
) -> tuple[int, ...]:
    """Write the tensors into a ModelInferRequest, and return the seed of each row.

    Args:
        request: an empty message.
        described: the model's metadata: names and datatypes.
        inputs: rows by name: an array [N, ...], or a list of N files (bytes) or class names (text).
        seeds: one per row; drawn below 2**53 where there are none.
        draws: one per row; left out where there are none.

    Raises:
        UsageError: names, types or numbers of rows that do not fit, or a seed out of range.
    """
    count = rows_of(inputs) if inputs or seeds is None else len(seeds)
    chosen = (
        tuple(seeds) if seeds is not None else tuple(secrets.randbelow(MAX_JSON_NUMBER + 1) for _ in range(count))
    )
    if len(chosen) != count or (draws is not None and len(draws) != count):
        raise UsageError(f"{count} rows need {count} seeds, and as many draws if there are any.")
    for name, values, top in (("seed", chosen, MAX_SEED), ("draw", draws or (), 2**32 - 1)):
        if not all(0 <= value <= top for value in values):
            raise UsageError(f"a {name} is a whole number from 0 to {top}.")
    columns = {"seed": np.array(chosen, dtype=np.uint64)}
    if draws is not None:
        columns["draw"] = np.array(draws, dtype=np.uint32)
    request.model_name = described.name
    datatypes = {tensor.name: tensor.datatype for tensor in described.inputs}
    for name, rows in {**inputs, **columns}.items():
        if name not in datatypes:
            raise UsageError(f"model {described.name} has no input {name}; it has {', '.join(datatypes)}.")
        shape, data = _on_the_wire(name, rows, datatypes[name])
        request.inputs.add(name=name, datatype=datatypes[name], shape=shape)
        request.raw_input_contents.append(data)
    return chosen


def rows_of(inputs: Inputs) -> int:
    """How many rows the inputs have; 1 where there are none.

    Raises:
        UsageError: they differ.
    """
    counts = {len(rows) for rows in inputs.values()}
    if len(counts) > 1:
        raise UsageError(f"the inputs have different numbers of rows: {', '.join(map(str, sorted(counts)))}.")
    return counts.pop() if counts else 1


def _on_the_wire(name: str, rows: Array | Sequence[Any], datatype: str) -> tuple[tuple[int, ...], bytes]:
    """Shape and bytes of a tensor; one value per row is [N, 1]."""
    from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

    if datatype == "BYTES":
        column = np.empty((len(rows), 1), dtype=object)  # one by one: np.array(rows) would cut files at a NUL
        for index, row in enumerate(rows):
            value = row.item() if isinstance(row, np.ndarray) else row
            column[index, 0] = value.encode() if isinstance(value, str) else value
        return column.shape, serialize_byte_tensor(column).item()
    values = np.asarray(rows)
    try:
        values = values.astype(triton_to_np_dtype(datatype), casting="same_kind", order="C")
    except TypeError as error:
        raise UsageError(f"{name} is {values.dtype}; {datatype} is needed.") from error
    return (values[:, None] if values.ndim == 1 else values).shape, values.tobytes()
