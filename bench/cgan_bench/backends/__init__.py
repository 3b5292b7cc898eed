"""Backends: one file each, all behind `Backend`."""

from __future__ import annotations

from typing import Literal

from cgan_bench.backends.base import Backend
from cgan_bench.backends.onnxruntime import OrtBundle, OrtPlain
from cgan_bench.backends.torch_compile import TorchCompile
from cgan_bench.backends.torch_eager import TorchEager
from cgan_bench.backends.triton import Triton
from cgan_bench.target import Server

__all__ = [
    "Backend",
    "OrtBundle",
    "OrtPlain",
    "TorchCompile",
    "TorchEager",
    "Triton",
    "local_backends",
    "server_backends",
]


def local_backends(device: Literal["cpu", "cuda"]) -> list[Backend]:
    """The rows of this machine, the reference first. "cuda" adds the rows of the GPU to those of the CPU."""
    rows: list[Backend] = [TorchEager(), TorchCompile(), OrtPlain(), OrtBundle()]
    if device == "cuda":
        rows += [TorchEager("cuda"), TorchCompile("cuda"), OrtBundle("cuda")]
    return rows


def server_backends(server: Server) -> list[Backend]:
    """Our bundle, then the server in turns with it; several clients at once are measured apart, not in turns."""
    return [OrtBundle(), Triton()] if server.concurrency == 1 else [OrtBundle()]
