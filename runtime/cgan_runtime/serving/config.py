"""config.pbtxt: what Triton is told of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from cgan_runtime.contract import Condition, Contract, Tensor
from cgan_runtime.serving.wire import image_outputs, png_inputs, travels_as_bytes

__all__ = ["Io", "core_config", "dims_of", "png_config", "tensor_config", "triton_type"]

Io = Literal["fp32", "fp16"]  # of the float tensors of `<name>_core`

FRONT_INSTANCES: Final = 2  # one prepares the next batch while the other waits for the engine
# No queue policy: any of them makes Triton stall for about half a second under bursts.
FRONT_ENGINE: Final = f"""backend: "python"
instance_group [ {{ kind: KIND_CPU count: {FRONT_INSTANCES} }} ]
dynamic_batching {{ }}"""
SEED: Final = '{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] }'
OPTIONAL: Final = (
    '{ name: "seed" data_type: TYPE_UINT64 dims: [ 1 ] optional: true }',
    '{ name: "draw" data_type: TYPE_UINT32 dims: [ 1 ] optional: true }',
)
BASE64: Final = '{ name: "base64" data_type: TYPE_BOOL dims: [ 1 ] optional: true }'
TYPES: Final = {
    ("float32", "fp32"): "TYPE_FP32",
    ("float32", "fp16"): "TYPE_FP16",
    ("int64", "fp32"): "TYPE_INT64",
    ("int64", "fp16"): "TYPE_INT64",  # labels stay as they are
}


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
    inputs, outputs = ([_tensor(t, io) for t in tensors] for tensors in (contract.inputs, contract.outputs))
    return _config(name, engine, max_batch, inputs, outputs, settings)


def tensor_config(name: str, contract: Contract, *, max_batch: int, settings: Mapping[str, str]) -> str:
    """Of the model that takes conditions and a seed as tensors."""
    inputs = [*(_tensor(c) for c in contract.conditions), *OPTIONAL]
    outputs = [*(_tensor(o) for o in contract.outputs), SEED]
    return _config(name, FRONT_ENGINE, max_batch, inputs, outputs, settings)


def png_config(name: str, contract: Contract, *, max_batch: int, settings: Mapping[str, str]) -> str:
    """Of the model that takes files and text, and gives PNG files."""
    files = image_outputs(contract)
    inputs = [*(_wire(key, c) for key, c in png_inputs(contract).items()), *OPTIONAL, BASE64]
    outputs = [*(_bytes(o.name) if o in files else _tensor(o) for o in contract.outputs), SEED]
    return _config(name, FRONT_ENGINE, max_batch, inputs, outputs, settings)


def triton_type(tensor: Tensor, io: Io) -> str:
    """The type of a tensor of the core."""
    return TYPES[tensor.dtype, io]


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


def _wire(name: str, condition: Condition) -> str:
    return _bytes(name) if travels_as_bytes(condition) else _tensor(condition)


def _bytes(name: str) -> str:
    return f'{{ name: "{name}" data_type: TYPE_STRING dims: [ 1 ] }}'


def _tensor(tensor: Tensor, io: Io = "fp32") -> str:
    """A tensor as Triton declares it; a scalar per row is [1] on the wire and [] inside."""
    scalar = "" if tensor.shape else " reshape: { shape: [ ] }"
    kind, dims = triton_type(tensor, io), dims_of(tensor.shape or (1,))
    return f'{{ name: "{tensor.name}" data_type: {kind} dims: {dims}{scalar} }}'
