"""Stored tensors that no node takes any more, after a rewrite has made others of them."""

from __future__ import annotations

import onnx

__all__ = ["drop_unused"]


def drop_unused(model: onnx.ModelProto) -> None:
    """Leave them out, in place. The graph must have no branches, whose nodes are not looked at."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
