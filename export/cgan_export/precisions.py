"""The precisions that a user asks for, as a word on the command line. Needs neither torch nor onnx."""

from __future__ import annotations

from typing import Final, Literal

from cgan_runtime.errors import UsageError

__all__ = ["PRECISIONS", "Precision", "parse_precisions"]

Precision = Literal["fp32", "fp16", "int8"]
# By precision, the name of its file in a bundle.
PRECISIONS: Final[dict[Precision, str]] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
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
