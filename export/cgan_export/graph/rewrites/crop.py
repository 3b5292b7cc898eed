"""Cut the kernel taps that only ever meet padding.

At the bottleneck of a U-Net a 4x4 convolution with padding 1 sees a map of 2x2 pixels: of its sixteen taps twelve
always lie on padding, and the transposed convolution back from 1x1 writes only four of its sixteen products inside
the result. Those weights are read at every inference for nothing. Without them the result is the same up to
rounding: the same products are added, but a kernel may add them in other groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

__all__ = ["crop_unused_taps"]

SPATIAL_AXES: Final = 2


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """One spatial axis of a convolution: the taps worth keeping and the padding that goes with them."""

    first: int
    last: int
    pad_before: int
    pad_after: int


def crop_unused_taps(model: onnx.ModelProto) -> int:
    """Crop every eligible Conv and ConvTranspose in place; returns how many changed."""
    weights = {item.name: item for item in model.graph.initializer}
    uses = [name for node in model.graph.node for name in node.input]
    sizes = _spatial_sizes(model)
    changed = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in weights:
            continue
        size, result = sizes.get(node.input[0]), sizes.get(node.output[0])
        settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        if size is None or result is None or uses.count(node.input[1]) > 1 or not _plain(settings):
            continue
        weight = weights[node.input[1]]
        axes = [
            _cropped(node.op_type, settings, axis, size[axis], result[axis], weight.dims[2 + axis])
            for axis in range(SPATIAL_AXES)
        ]
        if all(axis.last - axis.first + 1 == weight.dims[2 + i] for i, axis in enumerate(axes)):
            continue
        kept = numpy_helper.to_array(weight)[
            :, :, axes[0].first : axes[0].last + 1, axes[1].first : axes[1].last + 1
        ]
        weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(kept), weight.name))
        _set(node, "kernel_shape", list(kept.shape[2:]))
        _set(node, "pads", [axis.pad_before for axis in axes] + [axis.pad_after for axis in axes])
        changed += 1
    return changed


def _plain(settings: dict[str, Any]) -> bool:
    """Explicit padding, no dilation, nothing that fixes the output size in another way."""
    ones, zeros = settings.get("dilations", [1]), settings.get("output_padding", [0])
    automatic = settings.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in settings
    return set(ones) == {1} and not any(zeros) and not automatic


def _cropped(kind: str, settings: dict[str, list[int]], axis: int, size: int, result: int, taps: int) -> _Axis:
    """Taps that reach a pixel: tap k joins o and i where o*s - p + k = i (o and i swapped when transposed)."""
    pads = settings.get("pads", [0, 0, 0, 0])
    stride = settings.get("strides", [1, 1])[axis]
    before, after = pads[axis], pads[axis + SPATIAL_AXES]
    strided, dense = (result, size) if kind == "Conv" else (size, result)
    useful = [k for k in range(taps) if any(0 <= step * stride - before + k < dense for step in range(strided))]
    first, last = useful[0], useful[-1]
    # Fewer taps need less padding before them; what padding cannot take back (a negative rest) keeps the taps.
    first = min(first, before)
    last = max(last, taps - 1 - after)
    return _Axis(first=first, last=last, pad_before=before - first, pad_after=after - (taps - 1 - last))


def _spatial_sizes(model: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """(height, width) of every tensor [N, C, H, W] whose size is fixed."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        axes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if len(axes) == 2 + SPATIAL_AXES and min(axes[2:]) > 0:
            sizes[value.name] = (axes[2], axes[3])
    return sizes


def _set(node: NodeProto, name: str, value: list[int]) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
