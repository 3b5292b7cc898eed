"""Execution with inputs and outputs bound to memory of the device, which is kept for each shape.

A CUDA graph replays the addresses that it was recorded with, so the memory of a shape must stay where it is. Where
no graph is recorded, it still saves the allocation of every tensor in each call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

from cgan_runtime.runners.base import Array, Tensors

__all__ = ["KEPT_SHAPES", "BoundSession"]

Shape = tuple[int, ...]

KEPT_SHAPES: Final = 16
# ONNX Runtime keeps every graph of a session until its end, so the number of graphs is bounded too.
MAX_GRAPHS: Final = 32
NO_GRAPH: Final = "-1"  # onnxruntime_run_options_config_keys.h: no recording and no replay in this run


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The memory of one shape, and the graph that was recorded over it."""

    binding: Any
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    options: Any


class BoundSession:
    """An InferenceSession whose tensors lie on a device. Threads wait for each other.

    Args:
        ort: the package.
        session: where it runs.
        device: ONNX Runtime's name of the memory, "cuda" or "cpu".
        number: of the device.
        graphs: whether the session records CUDA graphs. Of a shape the first run is a real one, as ONNX Runtime
            demands; it records the graph itself, and replays it from then on.
    """

    def __init__(self, ort: ModuleType, session: Any, *, device: str, number: int, graphs: bool) -> None:
        self._ort, self._session, self._place = ort, session, (device, number)
        self._types = {item.name: _dtype(item.type) for item in (*session.get_inputs(), *session.get_outputs())}
        self._kept: OrderedDict[tuple[tuple[str, Shape], ...], _Kept] = OrderedDict()
        self._graphs_left = MAX_GRAPHS if graphs else 0
        self._lock = threading.Lock()

    def run(self, inputs: Tensors, outputs: Mapping[str, Shape]) -> dict[str, Array]:
        """Every output of the given shape, as arrays of the caller's own.

        Args:
            inputs: in the types of the graph.
            outputs: the shape that each output has for these inputs.

        Raises:
            Exception: what ONNX Runtime raises. What was kept for the shape is gone then.
        """
        key = tuple((name, value.shape) for name, value in inputs.items())
        with self._lock:
            # Out while it runs: after an error nobody knows what was recorded, so it does not come back.
            kept = self._kept.pop(key, None) or self._allocated(key, outputs)
            for name, value in inputs.items():
                # ONNX Runtime 1.27 takes no other arrays.
                kept.inputs[name].update_inplace(np.ascontiguousarray(value))
            self._session.run_with_iobinding(kept.binding, kept.options)
            answer = {name: _own(value.numpy()) for name, value in kept.outputs.items()}
            self._kept[key] = kept
            while len(self._kept) > KEPT_SHAPES:
                self._kept.popitem(last=False)  # its graph is not run any more
        return answer

    def _allocated(self, inputs: Sequence[tuple[str, Shape]], outputs: Mapping[str, Shape]) -> _Kept:
        kept = _Kept(
            binding=self._session.io_binding(),
            inputs={name: self._value(name, shape) for name, shape in inputs},
            outputs={name: self._value(name, shape) for name, shape in outputs.items()},
            options=self._ort.RunOptions(),
        )
        for name, value in kept.inputs.items():
            kept.binding.bind_ortvalue_input(name, value)
        for name, value in kept.outputs.items():
            kept.binding.bind_ortvalue_output(name, value)
        # A number is never given twice: ONNX Runtime would replay the graph of other addresses, without a word.
        number = str(MAX_GRAPHS - self._graphs_left + 1) if self._graphs_left else NO_GRAPH
        self._graphs_left = max(0, self._graphs_left - 1)
        kept.options.add_run_config_entry("gpu_graph_id", number)
        return kept

    def _value(self, name: str, shape: Shape) -> Any:
        return self._ort.OrtValue.ortvalue_from_shape_and_type(list(shape), self._types[name], *self._place)


def _own(array: Array) -> Array:
    """The array, copied where it is a view: on the CPU ONNX Runtime hands out its own memory."""
    return array if array.flags.owndata else array.copy()


def _dtype(text: str) -> type[np.generic[Any]]:
    """NumPy's type of "tensor(float16)"."""
    name = text.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name)).type
