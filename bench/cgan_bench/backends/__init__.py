"""Backends: one file each, all behind `Backend`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from cgan_bench.backends.base import Backend
from cgan_bench.backends.bundle import OrtBundle
from cgan_bench.backends.onnx_plain import OrtPlain
from cgan_bench.backends.torch_compile import TorchCompile
from cgan_bench.backends.torch_eager import TorchEager
from cgan_bench.backends.triton import Triton
from cgan_bench.target import Precision, Server

__all__ = [
    "Backend",
    "OrtBundle",
    "OrtPlain",
    "TorchCompile",
    "TorchEager",
    "Triton",
    "local_backends",
    "precision_of",
    "server_backends",
]


def local_backends(device: Literal["cpu", "cuda"], precisions: Sequence[Precision] = ("fp32",)) -> list[Backend]:
    """The rows of this machine, the reference first. "cuda" adds the rows of the GPU to those of the CPU.

    Args:
        device: where to run besides the CPU.
        precisions: artifacts of the bundle, one row each. INT8 has none on CUDA: that provider of ONNX Runtime has
            no 8-bit convolution, and the file is meant for TensorRT, which has no row yet.
    """
    rows: list[Backend] = [TorchEager(), TorchCompile(), OrtPlain()]
    rows += [OrtBundle(precision=precision) for precision in precisions]
    if device == "cuda":
        rows += [TorchEager("cuda"), TorchCompile("cuda")]
        rows += [OrtBundle("cuda", precision) for precision in precisions if precision != "int8"]
    return rows


def server_backends(server: Server, precisions: Sequence[Precision] = ("fp32",)) -> list[Backend]:
    """Our bundle, then the server in turns with it; several clients at once are measured apart, not in turns."""
    rows: list[Backend] = [OrtBundle(precision=precision) for precision in precisions]
    return [*rows, Triton()] if server.concurrency == 1 else rows


def precision_of(backend: Backend) -> Precision:
    """The precision that decides how far a row's outputs may be off; FP32 for everything but other artifacts."""
    return backend.precision if isinstance(backend, OrtBundle) else "fp32"
