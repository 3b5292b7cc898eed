"""The artifacts that a user asks for, as words on the command line. Needs neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from cgan_runtime.errors import UsageError

__all__ = ["ARTIFACT_FILES", "PRECISIONS", "CpuBackend", "Precision", "artifacts_for", "parse_precisions"]

Precision = Literal["fp32", "fp16", "bf16", "int8"]
CpuBackend = Literal["onnxruntime", "openvino"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16", "bf16", "int8")
# By backend and precision, the name of the file in a bundle. One file may serve several; FP32 is made first.
ARTIFACT_FILES: Final[dict[tuple[CpuBackend, Precision], str]] = {
    ("onnxruntime", "fp32"): "model.onnx",
    ("onnxruntime", "fp16"): "model.fp16.onnx",
    ("onnxruntime", "int8"): "model.int8.onnx",
    ("openvino", "fp32"): "model.openvino.onnx",
    ("openvino", "bf16"): "model.openvino.onnx",
    ("openvino", "int8"): "model.int8.openvino.onnx",
}


def parse_precisions(text: str) -> tuple[Precision, ...]:
    """``fp32,fp16`` in the order of `PRECISIONS`; FP32 is always there, the others are made from it.

    Raises:
        UsageError: an unknown word.
    """
    words = {word.strip() for word in text.lower().split(",") if word.strip()}
    unknown = sorted(words - set(PRECISIONS))
    if unknown:
        raise UsageError(f"--precision {unknown[0]} is not known; choose from {', '.join(PRECISIONS)}.")
    return tuple(name for name in PRECISIONS if name in words | {"fp32"})


def artifacts_for(
    precisions: Sequence[Precision], backends: Sequence[CpuBackend]
) -> tuple[tuple[CpuBackend, Precision], ...]:
    """What is made for these precisions on these backends, FP32 on ONNX Runtime first.

    Raises:
        UsageError: a precision that none of the backends has.
    """
    wanted = tuple((b, p) for b, p in ARTIFACT_FILES if b in backends and p in precisions)
    for precision in precisions:
        if precision not in {p for _, p in wanted}:
            raise UsageError(f"--precision {precision} is for OpenVINO: add --backend openvino.")
    return wanted
