"""What depends on weights alone is computed at export: a kernel that a layer makes of its weight, for example.

The later rewrites, and quantisation, look for kernels among the stored tensors.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

__all__ = ["fold_constants"]


def fold_constants(model: onnx.ModelProto) -> int:
    """Replace in place every node whose inputs are all stored tensors by its outputs; returns how many."""
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
    used = {name for node in kept for name in node.input}
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
