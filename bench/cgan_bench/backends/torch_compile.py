"""torch.compile with its default settings. Compiling happens in the warm-up and is not timed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Final

from cgan_bench.backends.base import Backend, Opened, opened_runner
from cgan_bench.backends.torch_eager import torch_absence
from cgan_bench.checkpoint import generator_of
from cgan_bench.target import Target

__all__ = ["TorchCompile", "no_compiler_reason"]

COMPILERS: Final = ("g++", "c++", "clang++", "clang")


@dataclass(frozen=True)
class TorchCompile(Backend):
    """The same generator through torch.compile."""

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "torch_compile"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "torch.compile"

    def absence(self, target: Target) -> str | None:
        """It needs a C++ compiler besides torch."""
        return no_compiler_reason() or torch_absence(target)

    def open(self, target: Target, *, threads: int) -> Opened:
        """Wrap the network; the first inference compiles it."""
        # One compiling process instead of a pool: a pool would idle beside the measurement.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        from cgan_export.pytorch.mode import TorchMode
        from cgan_export.pytorch.runner import TorchRunner

        generator, contract = generator_of(target, threads=threads)
        return opened_runner(TorchRunner(generator, contract, mode=TorchMode(compiled="default")), target.size)


def no_compiler_reason() -> str | None:
    """Why torch.compile cannot work here; None when there is a C++ compiler."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None or shutil.which(compiler) is None:
        return "no C++ compiler found; install g++ or set CXX"
    return None
