"""An artifact of the bundle, run as everything of ours runs it."""

from __future__ import annotations

from dataclasses import dataclass

from cgan_runtime.runners import runner_kind

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.target import Precision, Target

__all__ = ["BundleArtifact"]


@dataclass(frozen=True)
class BundleArtifact(Backend):
    """One artifact for CPUs, as cgan-translate and cgan-serve run it."""

    runtime: str = "onnxruntime"
    precision: Precision = "fp32"

    @property
    def key(self) -> str:
        """ort_bundle or openvino_bundle, with the precision where it is another than FP32."""
        first = "ort_bundle" if self.runtime == "onnxruntime" else f"{self.runtime}_bundle"
        return "_".join([first, *[self.precision] * (self.precision != "fp32")])

    @property
    def title(self) -> str:
        """Name of the row."""
        name = runner_kind(self.runtime).name
        return ", ".join([name, "our bundle", *[self.precision.upper()] * (self.precision != "fp32")])

    def absence(self, target: Target) -> str | None:
        """It needs the bundle with the artifact."""
        if target.bundle is None:
            return "no bundle was given"
        return missing_package(self.runtime, extra="export" if self.runtime == "onnxruntime" else self.runtime)

    def open(self, target: Target, *, threads: int) -> Opened:
        """Load the artifact."""
        assert target.bundle is not None  # noqa: S101 - `absence` was asked first
        runner = target.bundle.runner(backend=self.runtime, precision=self.precision, threads=threads)
        return opened_runner(runner, target.size, precision=self.precision)
