"""Backends: one file each, all behind `Backend`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cgan_bench.backends.base import Backend
from cgan_bench.backends.bundle import BundleArtifact
from cgan_bench.backends.onnx_int8 import OrtInt8
from cgan_bench.backends.onnx_plain import OrtPlain
from cgan_bench.backends.openvino_int8 import NncfInt8
from cgan_bench.backends.openvino_plain import OpenVinoPlain
from cgan_bench.backends.torch_compile import TorchCompile
from cgan_bench.backends.torch_eager import TorchEager
from cgan_bench.backends.triton import Triton
from cgan_bench.target import Precision

__all__ = [
    "Backend",
    "BundleArtifact",
    "NncfInt8",
    "OpenVinoPlain",
    "OrtInt8",
    "OrtPlain",
    "TorchCompile",
    "TorchEager",
    "Triton",
    "local_backends",
    "server_backends",
]

FP32: Final[tuple[tuple[str, Precision], ...]] = (("onnxruntime", "fp32"),)


def local_backends(artifacts: Sequence[tuple[str, Precision]] = FP32) -> list[Backend]:
    """The rows of this machine's CPU, the reference first; one for each of these artifacts of the bundle."""
    rows: list[Backend] = [TorchEager(), TorchCompile(), OrtPlain()]
    return [*rows, *(BundleArtifact(*artifact) for artifact in artifacts)]


def server_backends(artifacts: Sequence[tuple[str, Precision]] = FP32) -> list[Backend]:
    """Our bundle, then the server in turns with it, one request at a time."""
    return [*(BundleArtifact(*artifact) for artifact in artifacts), Triton()]
