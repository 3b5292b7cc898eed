"""Calibration: the range each activation really has, measured on images, as one symmetric INT8 scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.onnxruntime import import_onnxruntime

__all__ = ["activation_scales", "tensor_values"]

LEVELS: Final = 127
# Candidates for the clipping point, as a share of the largest value seen. Rare outliers would otherwise take
# the resolution from all other values.
CLIPS: Final = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
VALUES_PER_SAMPLE: Final = 20_011  # prime: a stride that follows no row or channel

Float = npt.NDArray[np.float32]


def activation_scales(model: onnx.ModelProto, names: Sequence[str], feeds: Iterable[Tensors]) -> dict[str, float]:
    """Scale of each tensor: the clipping point with the least squared rounding error, over 127.

    Args:
        model: the FP32 graph.
        names: tensors of the graph, its inputs included.
        feeds: inputs of the graph, one sample each.
    """
    tops = dict.fromkeys(names, 0.0)
    kept: dict[str, list[Float]] = {name: [] for name in names}
    for values in tensor_values(model, names, feeds):
        for name, value in values.items():
            flat = np.abs(value.astype(np.float32).ravel())
            tops[name] = max(tops[name], float(flat.max()))
            kept[name].append(flat[:: max(1, -(-flat.size // VALUES_PER_SAMPLE))])
    return {name: _best_scale(np.concatenate(kept[name]), tops[name]) for name in names}


def tensor_values(
    model: onnx.ModelProto, names: Sequence[str], feeds: Iterable[Tensors]
) -> Iterable[dict[str, Array]]:
    """The named tensors of the graph for each feed, made visible as further outputs."""
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    inner = [name for name in names if name not in inputs]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in outputs)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        computed = dict(zip(inner, session.run(inner, dict(feed)), strict=True)) if inner else {}
        yield {name: feed[name] if name in inputs else computed[name] for name in names}


def _best_scale(values: Float, top: float) -> float:
    if top == 0.0:
        return 1.0
    scales = [top * clip / LEVELS for clip in CLIPS]
    return min(scales, key=lambda scale: _rounding_error(values, scale))


def _rounding_error(values: Float, scale: float) -> float:
    rounded = np.minimum(np.rint(values / np.float32(scale)), LEVELS) * np.float32(scale)
    return float(np.mean(np.square(values - rounded, dtype=np.float64)))
