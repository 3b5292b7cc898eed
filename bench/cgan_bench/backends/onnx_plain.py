"""ONNX Runtime on the plain export, with the session's defaults."""

from __future__ import annotations

from dataclasses import dataclass

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.backends.torch_eager import NO_CHECKPOINT
from cgan_bench.target import Target

__all__ = ["OrtPlain"]


@dataclass(frozen=True)
class OrtPlain(Backend):
    """What people get from torch.onnx.export and InferenceSession, nothing set."""

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "ort_plain"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "ONNX Runtime, plain export"

    def absence(self, target: Target) -> str | None:
        """It needs the plain export, which is made from the checkpoint."""
        if target.plain is None:
            return NO_CHECKPOINT  # it is exported from the checkpoint
        return missing_package("onnxruntime", extra="export")

    def open(self, target: Target, *, threads: int) -> Opened:
        """Load the file with the session's defaults."""
        from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

        assert target.plain is not None and target.contract is not None  # noqa: S101 - `absence` checked
        model = target.plain.read_bytes()
        return opened_runner(OnnxRuntimeRunner(model, target.contract, threads=threads, plain=True), target.size)
