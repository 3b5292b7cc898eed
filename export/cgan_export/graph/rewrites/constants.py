"""What depends on weights alone is computed at export: a kernel that a layer makes of its weight, for example.

The later rewrites, and quantisation, look for kernels among the stored tensors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

__all__ = ["fold_constants"]


def fold_constants(model: onnx.ModelProto) -> int:
    """Replace in place every node whose inputs are all stored tensors by its outputs; returns how many.

    Nodes with branches stay, and nodes that make an output of the graph. Stored tensors that nothing takes any more
    are left out.
    """
    graph = model.graph
    stored = {item.name: item for item in graph.initializer}
    known = set(stored)
    results = {value.name for value in graph.output}
    folded: list[NodeProto] = []
    kept: list[NodeProto] = []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if inputs and known.issuperset(inputs) and results.isdisjoint(node.output) and not _has_branches(node):
            folded.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    if not folded:
        return 0
    used = results.union(name for node in kept for name in _taken(node))
    wanted = [name for node in folded for name in node.output if name in used]
    for name, tensor in zip(wanted, _evaluate(model, folded, stored, wanted), strict=True):
        tensor.name = name
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)
    stays = [item for item in graph.initializer if item.name in used]
    del graph.initializer[:]
    graph.initializer.extend(stays)
    # They are stored now: a later rewrite may change their shapes.
    between = [value for value in graph.value_info if value.name not in known]
    del graph.value_info[:]
    graph.value_info.extend(between)
    return len(folded)


def _evaluate(
    model: onnx.ModelProto, nodes: list[NodeProto], stored: dict[str, TensorProto], wanted: list[str]
) -> list[TensorProto]:
    inputs = {name for node in nodes for name in node.input}
    part = helper.make_graph(
        nodes,
        "constants",
        inputs=[],
        outputs=[helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in wanted],
        initializer=[item for name, item in stored.items() if name in inputs],
    )
    whole = helper.make_model(part, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    return [numpy_helper.from_array(np.asarray(value)) for value in ReferenceEvaluator(whole).run(wanted, {})]


def _has_branches(node: NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _taken(node: NodeProto) -> Iterator[str]:
    """Names of the tensors that a node takes, and those that its branches take from around it."""
    yield from filter(None, node.input)  # an optional input that is left out has an empty name
    for attribute in node.attribute:
        for branch in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from (value.name for value in branch.output)
            for inner in branch.node:
                yield from _taken(inner)
