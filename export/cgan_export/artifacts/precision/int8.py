"""The FP32 graph with explicit INT8, made by ONNX Runtime's own quantiser: the form its 8-bit kernels take.

Activations are unsigned with a zero point, weights signed with a scale per output channel, and both the inputs and
the results of a layer stand between QuantizeLinear and DequantizeLinear: only then does ONNX Runtime make one 8-bit
convolution of them. TensorRT takes no unsigned activations: `engines/symmetric.py` makes its graph of this one.

The tensors' ranges are measured once and serve every set of layers that the search tries. The library's own
calibrators would measure the same, but through files of several times the model's size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from cgan_runtime.runners.base import Tensors

from cgan_export.artifacts.precision.layers import Layer, layers_with_weights
from cgan_export.graph.tensor_values import tensor_values

if TYPE_CHECKING:
    from onnxruntime.quantization.calibrate import TensorsData

__all__ = ["activation_ranges", "quantizable_layers", "quantized"]

# A transposed convolution has no 8-bit kernel; `FOR_INT8` of graph/rewrites makes convolutions of most.
OPERATORS: Final = ("Conv", "Gemm", "MatMul")
INFERRED: Final = ("onnx.infer", "onnxruntime.quant")  # the quantiser's mark: it need not infer shapes again


def quantizable_layers(model: onnx.ModelProto) -> list[Layer]:
    """Convolutions and matrix products with constant weights and biases, in the order of the graph."""
    return layers_with_weights(model, OPERATORS)


def activation_ranges(model: onnx.ModelProto, layers: Sequence[Layer], feeds: Iterable[Tensors]) -> TensorsData:
    """The smallest and largest value of every input and result of the layers.

    Clipping rare values, by percentile or by entropy, was tried on trained nets and gave a lower PSNR.

    Args:
        model: the FP32 graph.
        layers: from `quantizable_layers`.
        feeds: inputs of the graph, one sample each; at least one.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    names = sorted({tensor for layer in layers for tensor in layer.tensors})
    ends: dict[str, list[np.float32]] = {name: [] for name in names}
    for values in tensor_values(model, names, feeds):
        for name, value in values.items():
            ends[name] += [value.min(), value.max()]
    ranges = {name: (np.array(min(seen)), np.array(max(seen))) for name, seen in ends.items()}
    return TensorsData(CalibrationMethod.MinMax, ranges)


def quantized(model: onnx.ModelProto, layers: Collection[Layer], ranges: TensorsData) -> onnx.ModelProto:
    """A copy of the graph in which these layers, and no others, compute in INT8.

    Args:
        model: the FP32 graph.
        layers: those to quantise, from `quantizable_layers`; at least one.
        ranges: of their tensors, from `activation_ranges`.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    inferred = onnx.shape_inference.infer_shapes(model)
    mark = inferred.metadata_props.add()
    mark.key, mark.value = INFERRED
    quantizer = QDQQuantizer(
        inferred,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[node for layer in layers for node in layer.nodes],
        nodes_to_exclude=[],
        op_types_to_quantize=OPERATORS,
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    del result.graph.value_info[:]
    # The quantiser signs the file and marks it: neither says anything of the model.
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    return result
