"""INT8 for OpenVINO, by NNCF's post-training quantisation: explicit Q/DQ in the places its CPU kernels want them.

Every layer is quantised or none: OpenVINO 2026.4 computes some graphs wrongly in which only a part is (a first
convolution alone: 12.8 dB, where ONNX Runtime has 37.9 dB of the same file), and NNCF's accuracy control, which
ranks every quantiser anew after each that it takes out, took four minutes and a half for a net of 64 x 64 pixels.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx
from cgan_runtime.errors import CganError, CheckFailedError
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.openvino import without_telemetry

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["quantized"]


def quantized(model: onnx.ModelProto, feeds: Sequence[dict[str, Array]]) -> onnx.ModelProto:
    """A copy of the graph with Q/DQ around every layer.

    Args:
        model: the FP32 graph.
        feeds: its inputs [1, ...], to calibrate on.

    Raises:
        CganError: NNCF is not installed.
        CheckFailedError: NNCF cannot quantise the graph.
    """
    nncf = _import_nncf()
    try:
        # Its progress bars have no switch: rich writes them to the terminal.
        with contextlib.redirect_stdout(io.StringIO()):
            result = nncf.quantize(
                model,
                nncf.Dataset(list(feeds)),
                preset=nncf.QuantizationPreset.MIXED,
                fast_bias_correction=True,  # NNCF 3.4's other one cuts some graphs into parts that are not valid
            )
    except Exception as error:  # whatever NNCF, ONNX and ONNX Runtime raise inside it: several unrelated types
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckFailedError(f"NNCF cannot quantise the graph ({said}); leave out int8.") from error
    assert isinstance(result, onnx.ModelProto)  # noqa: S101 - as it was given; the package has no types for it
    return result


def _import_nncf() -> ModuleType:
    """nncf, silent on the network and on the terminal."""
    try:
        with without_telemetry():
            import nncf
    except ImportError as error:
        raise CganError('NNCF is not installed; run: pip install "cgan-deploy[openvino]"') from error
    nncf.set_log_level(logging.ERROR)
    return nncf  # type: ignore[no-any-return] # the package ships no types
