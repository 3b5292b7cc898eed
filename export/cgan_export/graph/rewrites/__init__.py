"""Graph rewrites: same function, faster graph. One file each, applied in the order of the tables.

A rewrite takes a model and returns how many places it changed. The export gates compare the rewritten graph
with PyTorch, so a rewrite that changes the function fails the export.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx

from cgan_export.graph.rewrites.constants import fold_constants
from cgan_export.graph.rewrites.crop import crop_unused_taps
from cgan_export.graph.rewrites.guarded_statistics import guard_statistics
from cgan_export.graph.rewrites.sample_statistics import normalise_accurately, write_out_normalisation
from cgan_export.graph.rewrites.shared_conditions import share_conditions
from cgan_export.graph.rewrites.subpixel import (
    subpixel_by_concatenation,
    subpixel_by_depth_to_space,
    subpixel_on_every_map,
)

__all__ = ["FOR_ALL", "FOR_CPUS", "FOR_INT8", "rewrite"]

Table = dict[str, Callable[[onnx.ModelProto], int]]

# Less work for every backend, and for every artifact made from the graph.
FOR_ALL: Final[Table] = {"constants": fold_constants, "crop": crop_unused_taps}
# Trade one operator for others that a CPU runtime is faster or more accurate with; TensorRT wants its own
# transposed convolution and its own normalisation.
FOR_CPUS: Final[dict[str, Table]] = {
    "onnxruntime": {
        "subpixel": subpixel_by_concatenation,
        "sample_statistics": normalise_accurately,
        "shared_conditions": share_conditions,
    },
    "openvino": {
        "subpixel": subpixel_by_depth_to_space,
        "sample_statistics": write_out_normalisation,
        "shared_conditions": share_conditions,
    },
}
# For the INT8 files. Transposed convolutions have no 8-bit kernel in ONNX Runtime, so there they become
# convolutions on small maps too. Conditions are not shared: OpenVINO 2026.4 then gives other images (18 levels) for
# several samples than for one; and 2 to 10 levels with its own instance normalisation.
FOR_INT8: Final[dict[str, Table]] = {
    "onnxruntime": {
        "subpixel": subpixel_on_every_map,
        "sample_statistics": normalise_accurately,
    },
    "openvino": {
        "subpixel": subpixel_by_depth_to_space,
        "guarded_statistics": guard_statistics,
        "sample_statistics": write_out_normalisation,
    },
}


def rewrite(model: onnx.ModelProto, table: Table) -> dict[str, int]:
    """Apply every rewrite of a table in place; returns the number of places each one changed."""
    return {name: apply(model) for name, apply in table.items()}
