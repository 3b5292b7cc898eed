"""config.pbtxt: what Triton is told of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from cgan_runtime.contract import Contract, Tensor
from cgan_runtime.serving.signature import DATATYPES, ModelKind, ServedTensor, inputs_of, outputs_of

__all__ = ["Io", "core_config", "dims_of", "png_config", "tensor_config", "triton_type"]

Io = Literal["fp32", "fp16"]  # of the float tensors of `<name>_core`

FRONT_INSTANCES: Final = 2  # one prepares the next batch while the other waits for the engine
# No queue policy: any of them makes Triton stall for about half a second under bursts.
FRONT_ENGINE: Final = f"""backend: "python"
instance_group [ {{ kind: KIND_CPU count: {FRONT_INSTANCES} }} ]
dynamic_batching {{ }}"""


def core_config(
    name: str, contract: Contract, *, engine: str, io: Io, max_batch: int, settings: Mapping[str, str]
) -> str:
    """Of the engine: every input of the contract, noise included, to every output.

    Args:
        name: of the model.
        contract: of the generator.
        engine: the lines about what executes it.
        io: type of the float tensors.
        max_batch: rows that one execution may hold.
        settings: parameters.
    """
    inputs, outputs = ([_line(t, io) for t in tensors] for tensors in _signature("core", contract))
    return _config(name, engine, max_batch, inputs, outputs, settings)


def tensor_config(name: str, contract: Contract, *, max_batch: int, settings: Mapping[str, str]) -> str:
    """Of the model that takes conditions and a seed as tensors."""
    inputs, outputs = ([_line(t) for t in tensors] for tensors in _signature("tensor", contract))
    return _config(name, FRONT_ENGINE, max_batch, inputs, outputs, settings)


def png_config(name: str, contract: Contract, *, max_batch: int, settings: Mapping[str, str]) -> str:
    """Of the model that takes files and text, and gives PNG files."""
    inputs, outputs = ([_line(t) for t in tensors] for tensors in _signature("png", contract))
    return _config(name, FRONT_ENGINE, max_batch, inputs, outputs, settings)


def triton_type(tensor: Tensor, io: Io) -> str:
    """The type of a tensor of the core."""
    return _type(DATATYPES[tensor.dtype], io)


def dims_of(shape: Sequence[int | str]) -> str:
    """Axes as a list of the text format; free ones are -1."""
    return f"[ {', '.join(str(axis) if isinstance(axis, int) else '-1' for axis in shape)} ]"


def _config(
    name: str,
    engine: str,
    max_batch: int,
    inputs: Sequence[str],
    outputs: Sequence[str],
    settings: Mapping[str, str],
) -> str:
    parameters = "\n".join(
        f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}"
        for key, value in settings.items()
    )
    between = ",\n  "
    return f"""name: "{name}"
{engine}
max_batch_size: {max_batch}
input [
  {between.join(inputs)}
]
output [
  {between.join(outputs)}
]
version_policy {{ latest {{ num_versions: 1 }} }}
{parameters}
"""


def _signature(kind: ModelKind, contract: Contract) -> tuple[tuple[ServedTensor, ...], tuple[ServedTensor, ...]]:
    return inputs_of(kind, contract), outputs_of(kind, contract)


def _line(tensor: ServedTensor, io: Io = "fp32") -> str:
    """A tensor as Triton declares it; a scalar per row is [1] on the wire and [] inside."""
    kind, dims = _type(tensor.datatype, io), dims_of(tensor.wire_shape)
    more = ("" if tensor.shape else " reshape: { shape: [ ] }") + (" optional: true" if tensor.optional else "")
    return f'{{ name: "{tensor.name}" data_type: {kind} dims: {dims}{more} }}'


def _type(datatype: str, io: Io) -> str:
    """Triton's word for a type; labels stay as they are in a core of FP16."""
    if datatype == "FP32" and io == "fp16":
        return "TYPE_FP16"
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
