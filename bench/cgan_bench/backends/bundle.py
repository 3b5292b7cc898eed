"""An artifact of the bundle, run by the runtime that everything of ours uses."""

from __future__ import annotations

from dataclasses import dataclass

from cgan_runtime.runners.base import Runner

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.target import Precision, Target

__all__ = ["OrtBundle"]


@dataclass(frozen=True)
class OrtBundle(Backend):
    """The bundle's own graph of one precision, as cgan-translate and cgan-serve run it."""

    precision: Precision = "fp32"

    @property
    def key(self) -> str:
        """ort_bundle, with the precision where it is another than FP32."""
        return "_".join(["ort_bundle", *[self.precision] * (self.precision != "fp32")])

    @property
    def title(self) -> str:
        """Name of the row."""
        return ", ".join(["ONNX Runtime", "our bundle", *[self.precision.upper()] * (self.precision != "fp32")])

    def absence(self, target: Target) -> str | None:
        """It needs the bundle with the artifact."""
        if target.bundle is None:
            return "no bundle was given"
        return missing_package("onnxruntime", extra="export")

    def open(self, target: Target, *, threads: int) -> Opened:
        """Load the artifact."""
        return opened_runner(self._runner(target, threads), target.size)

    def _runner(self, target: Target, threads: int) -> Runner:
        assert target.bundle is not None  # noqa: S101 - `absence` was asked first
        return target.bundle.runner(precision=self.precision, threads=threads)
