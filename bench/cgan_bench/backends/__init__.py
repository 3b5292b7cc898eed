"""Backends: one file each, all behind `Backend`."""

from __future__ import annotations

from collections.abc import Sequence

from cgan_bench.backends.base import Backend
from cgan_bench.backends.bundle import OrtBundle
from cgan_bench.backends.onnx_plain import OrtPlain
from cgan_bench.backends.torch_compile import TorchCompile
from cgan_bench.backends.torch_eager import TorchEager
from cgan_bench.backends.triton import Triton
from cgan_bench.target import Precision

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


def local_backends(precisions: Sequence[Precision] = ("fp32",)) -> list[Backend]:
    """The rows of this machine's CPU, the reference first; one for each of these artifacts of the bundle."""
    rows: list[Backend] = [TorchEager(), TorchCompile(), OrtPlain()]
    return [*rows, *(OrtBundle(precision=precision) for precision in precisions)]


def server_backends(precisions: Sequence[Precision] = ("fp32",)) -> list[Backend]:
    """Our bundle, then the server in turns with it, one request at a time."""
    return [*(OrtBundle(precision=precision) for precision in precisions), Triton()]


def precision_of(backend: Backend) -> Precision:
    """The precision that decides how far a row's outputs may be off; FP32 for everything but other artifacts."""
    return backend.precision if isinstance(backend, OrtBundle) else "fp32"
