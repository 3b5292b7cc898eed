"""Graph rewrites: same function, faster graph. One file each, applied in the order of `REWRITES`.

A rewrite takes a model and returns how many places it changed. The export gates compare the rewritten graph
with PyTorch, so a rewrite that changes the function fails the export.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import onnx

from cgan_export.rewrites.crop import crop_unused_taps
from cgan_export.rewrites.subpixel import subpixel_transposed_convolutions

__all__ = ["REWRITES", "rewrite"]

REWRITES: Final[dict[str, Callable[[onnx.ModelProto], int]]] = {
    "crop": crop_unused_taps,
    "subpixel": subpixel_transposed_convolutions,
}


def rewrite(model: onnx.ModelProto) -> dict[str, int]:
    """Apply every rewrite in place; returns the number of places each one changed."""
    return {name: apply(model) for name, apply in REWRITES.items()}
