"""An artifact of the bundle, run by the runtime that everything of ours uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cgan_runtime.runners.base import Runner

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.target import Precision, Target

__all__ = ["OrtBundle"]

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class OrtBundle(Backend):
    """The bundle's own graph of one precision, as cgan-translate and cgan-serve run it."""

    device: Device = "cpu"
    precision: Precision = "fp32"

    @property
    def key(self) -> str:
        """ort_bundle, with the precision where it is another than FP32, and the device where it is CUDA."""
        parts = ["ort_bundle", *[self.precision] * (self.precision != "fp32"), *["cuda"] * (self.device == "cuda")]
        return "_".join(parts)

    @property
    def title(self) -> str:
        """Name of the row."""
        words = ["ONNX Runtime", "our bundle"]
        words += [self.precision.upper()] * (self.precision != "fp32") + ["CUDA"] * (self.device == "cuda")
        return ", ".join(words)

    def absence(self, target: Target) -> str | None:
        """It needs the bundle with the artifact; on CUDA also the other build of onnxruntime."""
        if target.bundle is None:
            return "no bundle was given"
        if missing := missing_package("onnxruntime", extra="export"):
            return missing
        return None if self.device == "cpu" else _cuda_absence()

    def open(self, target: Target, *, threads: int) -> Opened:
        """Load the artifact."""
        return opened_runner(self._runner(target, threads), target.size)

    def _runner(self, target: Target, threads: int) -> Runner:
        assert target.bundle is not None  # noqa: S101 - `absence` was asked first
        return target.bundle.runner(precision=self.precision, threads=threads, device=self.device)


def _cuda_absence() -> str | None:
    from cgan_runtime.runners.onnxruntime import gpu_absence

    return gpu_absence()
