"""ONNX Runtime: on the plain export with the session's defaults, and on our bundle as our runtime runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.target import Target

__all__ = ["OrtBundle", "OrtPlain"]

Device = Literal["cpu", "cuda"]
PROVIDERS: Final = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class OrtPlain(Backend):
    """What people get from torch.onnx.export and InferenceSession, nothing set."""

    @property
    def key(self) -> str:
        """Of JSON."""
        return "ort_plain"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "ONNX Runtime, plain export"

    def absence(self, subject: Target) -> str | None:
        """It needs the plain export, which is made from the checkpoint."""
        if subject.plain is None:
            return "a bundle holds no plain export; add --checkpoint best.pt"
        return missing_package("onnxruntime", extra="export")

    def open(self, subject: Target, *, threads: int) -> Opened:
        """Load the file with the session's defaults."""
        from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

        assert subject.plain is not None and subject.contract is not None  # noqa: S101 - `absence` asked
        model = subject.plain.read_bytes()
        return opened_runner(OnnxRuntimeRunner(model, subject.contract, threads=threads, plain=True))


@dataclass(frozen=True)
class OrtBundle(Backend):
    """The bundle's own graph, run by the runtime that everything of ours uses."""

    device: Device = "cpu"

    @property
    def key(self) -> str:
        """ort_bundle, or ort_bundle_cuda."""
        return "ort_bundle" if self.device == "cpu" else "ort_bundle_cuda"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "ONNX Runtime, our bundle" if self.device == "cpu" else "ONNX Runtime, our bundle, CUDA"

    def absence(self, subject: Target) -> str | None:
        """It needs the bundle; on CUDA also the other build of onnxruntime."""
        if subject.bundle is None:
            return "no bundle was given"
        if missing := missing_package("onnxruntime", extra="export"):
            return missing
        return None if self.device == "cpu" else _cuda_absence()

    def open(self, subject: Target, *, threads: int) -> Opened:
        """Load the file as cgan-translate and cgan-serve do."""
        from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

        assert subject.bundle is not None and subject.contract is not None  # noqa: S101 - `absence` asked
        model = subject.bundle.read_bytes()
        providers = (PROVIDERS[self.device],)
        return opened_runner(OnnxRuntimeRunner(model, subject.contract, threads=threads, providers=providers))


def _cuda_absence() -> str | None:
    from cgan_runtime.runners.onnxruntime import import_onnxruntime

    if PROVIDERS["cuda"] in import_onnxruntime().get_available_providers():
        return None
    return 'onnxruntime here has no CUDA; install onnxruntime-gpu: pip install "cgan-deploy[gpu]"'
