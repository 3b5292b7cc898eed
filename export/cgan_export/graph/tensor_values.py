"""The inner tensors of a graph: what each of them holds for given inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from cgan_runtime.runners.base import Array, Tensors
from cgan_runtime.runners.onnxruntime import import_onnxruntime

__all__ = ["tensor_values"]


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
