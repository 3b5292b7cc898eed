"""What no exported graph may hold, whatever runs it. Needs onnx, not torch, for bundles are looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.onnx_file import has_external_data

__all__ = ["lint", "nodes_of"]

RANDOM_OPS: Final = {"Dropout", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
RANDOM_OPS_UNSUPPORTED: Final = {"Bernoulli", "Multinomial"}


def lint(model: onnx.ModelProto) -> None:
    """Refuse a graph that draws its own random numbers, depends on its batch or is not self-contained.

    Raises:
        CheckFailedError: names the first offending node.
    """
    for node in nodes_of(model.graph):
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        if node.op_type in RANDOM_OPS | RANDOM_OPS_UNSUPPORTED:
            raise CheckFailedError(
                f"the graph draws random numbers itself ({node.op_type} {node.name}): make what it draws a noise "
                "input of the generator (docs/extending.md)."
            )
        if node.op_type == "BatchNormalization" and training:
            raise CheckFailedError(
                f"the graph normalises over the batch ({node.op_type} {node.name}): export with --statistics "
                "per_sample or running."
            )
    if has_external_data(model.SerializeToString()):
        raise CheckFailedError("the graph keeps tensors in other files: save it as one, without external data.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CheckFailedError(f"onnx.checker refuses the graph: {str(error).splitlines()[0]}") from error


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those inside the branches of If and the bodies of Loop too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from nodes_of(inner)
