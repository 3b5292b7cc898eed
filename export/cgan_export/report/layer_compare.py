"""Layer by layer: the first tensor, in the order of execution, in which an artifact differs from its reference.

Both graphs are made to show their inner tensors, both get the same inputs, and the tensors of the same name are
compared: rewrites and precisions keep the names of tensors. A tensor is bad where its PSNR, over its own range, is
below the floor that the output itself is held to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from cgan_runtime.runners.base import Array, Tensors

from cgan_export.fidelity.measures import psnr_db
from cgan_export.graph.tensor_values import tensor_values

__all__ = ["Divergence", "Layerwise", "first_divergence", "layer_divergence"]


@dataclass(frozen=True, kw_only=True)
class Layerwise:
    """One tensor in both graphs: PSNR [dB] over its range, and the largest difference.

    `operator` is what makes it in the reference. The artifact may have another one there: a rewrite's, or the Max
    that rounds an FP16 result (`fp16.with_rounding`).
    """

    tensor: str
    operator: str
    psnr_db: float
    max_abs: float


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The comparison of two graphs; `first` is None where no tensor falls below `floor_db`."""

    layers: tuple[Layerwise, ...]
    floor_db: float

    @property
    def first(self) -> Layerwise | None:
        """The first bad tensor."""
        return first_divergence(self.layers, self.floor_db)


def layer_divergence(
    reference: onnx.ModelProto, artifact: onnx.ModelProto, inputs: Tensors, *, floor_db: float
) -> Divergence:
    """Compare every tensor that both graphs compute.

    Args:
        reference: the FP32 graph that is right.
        artifact: the graph in question; FP16 inputs are cast.
        inputs: one sample for all inputs, float32.
        floor_db: PSNR below which a tensor counts as bad.
    """
    operators = {name: node.op_type for node in reference.graph.node for name in node.output}
    names = [name for node in artifact.graph.node for name in node.output if name in operators]
    pairs = zip(names, _values(reference, names, inputs), _values(artifact, names, inputs), strict=True)
    return Divergence(
        layers=tuple(_compared(name, operators[name], right, ours) for name, right, ours in pairs if _float(right)),
        floor_db=floor_db,
    )


def first_divergence(layers: Iterable[Layerwise], floor_db: float) -> Layerwise | None:
    """The first of the layers below the floor."""
    return next((layer for layer in layers if not layer.psnr_db >= floor_db), None)


def _values(model: onnx.ModelProto, names: list[str], inputs: Tensors) -> list[Array]:
    types = {v.name: onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    feed = {name: value.astype(types[name], copy=False) for name, value in inputs.items()}
    (values,) = tensor_values(model, names, [feed])
    return [values[name] for name in names]


def _compared(name: str, operator: str, right: Array, ours: Array) -> Layerwise:
    a, b = right.astype(np.float64), ours.astype(np.float64)
    span = float(a.max() - a.min()) or 1.0
    finite = a.shape == b.shape and bool(np.isfinite(b).all())
    return Layerwise(
        tensor=name,
        operator=operator,
        psnr_db=psnr_db(b, a, span) if finite else float("-inf"),
        max_abs=float(np.abs(a - b).max()) if finite else float("inf"),
    )


def _float(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating)) and array.size > 0
