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
from cgan_export.graph.rewrites.sample_statistics import write_out_instance_normalisation
from cgan_export.graph.rewrites.subpixel import subpixel_on_every_map, subpixel_transposed_convolutions

__all__ = ["FOR_ALL", "FOR_CPUS", "FOR_INT8", "rewrite"]

Table = dict[str, Callable[[onnx.ModelProto], int]]

# Less work for every backend, and for every artifact made from the graph.
FOR_ALL: Final[Table] = {"constants": fold_constants, "crop": crop_unused_taps}
# Trade one operator for others that CPU runtimes are faster or more accurate with; TensorRT wants its own
# transposed convolution and its own normalisation.
FOR_CPUS: Final[Table] = {
    "subpixel": subpixel_transposed_convolutions,
    "sample_statistics": write_out_instance_normalisation,
}
# For the INT8 file: transposed convolutions have no 8-bit kernel, so they become convolutions on small maps too.
FOR_INT8: Final[Table] = {**FOR_CPUS, "subpixel": subpixel_on_every_map}


def rewrite(model: onnx.ModelProto, table: Table) -> dict[str, int]:
    """Apply every rewrite of a table in place; returns the number of places each one changed."""
    return {name: apply(model) for name, apply in table.items()}
