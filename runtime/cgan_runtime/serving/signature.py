"""What each served model takes and gives, in the terms of the Open Inference Protocol.

config.py tells it to Triton, the gateway checks requests against it, and clients read it from the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from cgan_runtime.contract import Condition, Contract, Shape, Tensor
from cgan_runtime.serving.wire import image_outputs, png_inputs, travels_as_bytes

__all__ = ["DATATYPES", "ModelKind", "ServedTensor", "inputs_of", "model_suffix", "outputs_of"]

ModelKind = Literal["tensor", "png", "core"]
DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}


@dataclass(frozen=True, kw_only=True)
class ServedTensor:
    """An input or output of a served model.

    Attributes:
        name: on the wire.
        datatype: of the protocol: FP32, INT64, UINT64, UINT32, BOOL or BYTES.
        shape: of one row; () for a number per row, which is [N, 1] on the wire.
        optional: an input that may be left out.
        condition: of the contract, of an input that is one.
    """

    name: str
    datatype: str
    shape: Shape
    optional: bool = False
    condition: Condition | None = None

    @property
    def wire_shape(self) -> Shape:
        """Of one row on the wire."""
        return self.shape or (1,)


SEED: Final = ServedTensor(name="seed", datatype="UINT64", shape=(1,), optional=True)
DRAW: Final = ServedTensor(name="draw", datatype="UINT32", shape=(1,), optional=True)
BASE64: Final = ServedTensor(name="base64", datatype="BOOL", shape=(1,), optional=True)


def model_suffix(kind: ModelKind) -> str:
    """What follows the bundle's name in the name of a model of this kind."""
    return "" if kind == "tensor" else f"_{kind}"


def inputs_of(kind: ModelKind, contract: Contract) -> tuple[ServedTensor, ...]:
    """Every input of the model, in the order of the contract; those that every bundle has come last."""
    if kind == "core":
        return tuple(_as_it_is(tensor) for tensor in contract.inputs)
    if kind == "tensor":
        return (*(_as_it_is(condition) for condition in contract.conditions), SEED, DRAW)
    files = [
        ServedTensor(name=name, datatype="BYTES", shape=(1,), condition=condition)
        if travels_as_bytes(condition)
        else _as_it_is(condition)
        for name, condition in png_inputs(contract).items()
    ]
    return (*files, SEED, DRAW, BASE64)


def outputs_of(kind: ModelKind, contract: Contract) -> tuple[ServedTensor, ...]:
    """Every output of the model, in the order of the contract; the seed comes last."""
    files = image_outputs(contract) if kind == "png" else ()
    outputs = [
        ServedTensor(name=output.name, datatype="BYTES", shape=(1,)) if output in files else _as_it_is(output)
        for output in contract.outputs
    ]
    return tuple(outputs) if kind == "core" else (*outputs, replace(SEED, optional=False))


def _as_it_is(tensor: Tensor) -> ServedTensor:
    condition = tensor if isinstance(tensor, Condition) else None
    return ServedTensor(name=tensor.name, datatype=DATATYPES[tensor.dtype], shape=tensor.shape, condition=condition)
