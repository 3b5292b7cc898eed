"""OpenVINO on the plain export, nothing set: it chooses threads and precision, bfloat16 where the CPU has it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.openvino import shared_core

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.backends.torch_eager import NO_CHECKPOINT
from cgan_bench.target import Precision, Target

__all__ = ["DefaultOpenVino", "OpenVinoPlain"]

# What OpenVINO says it computes in, as we call it.
PRECISIONS: Final[dict[str, Precision]] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


@dataclass(frozen=True)
class OpenVinoPlain(Backend):
    """What people get from torch.onnx.export and compile_model, nothing set."""

    @property
    def lossy(self) -> bool:
        """OpenVINO chooses the precision."""
        return True

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "openvino_plain"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "OpenVINO, plain export"

    def absence(self, target: Target) -> str | None:
        """It needs OpenVINO and the plain export, which is made from the checkpoint."""
        return NO_CHECKPOINT if target.plain is None else missing_package("openvino", extra="openvino")

    def open(self, target: Target, *, threads: int) -> Opened:
        """Compile the file with the defaults."""
        assert target.plain is not None and target.contract is not None  # noqa: S101 - `absence` checked
        runner = DefaultOpenVino(target.plain, target.contract, threads=threads)
        return opened_runner(runner, target.size, precision=runner.precision)


@final
class DefaultOpenVino(Runner):
    """A file that OpenVINO reads, compiled for the CPU with its own settings.

    Args:
        file: an ONNX file or an OpenVINO IR.
        contract: the signature the graph has.
        threads: CPU threads; 0 lets OpenVINO choose.
    """

    def __init__(self, file: Path, contract: Contract, *, threads: int) -> None:
        super().__init__(contract)
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads} if threads else {}
        self._compiled = shared_core().compile_model(file, "CPU", settings)
        self._chosen = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    @property
    def precision(self) -> Precision:
        """What OpenVINO chose for everything that is not quantised."""
        return PRECISIONS.get(self._chosen, "fp32")

    @property
    def description(self) -> str:
        """Version, device, and the precision that it chose."""
        return f"OpenVINO {importlib.metadata.version('openvino')} CPU, its own choice: {self._chosen}"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        found = self._compiled(dict(inputs))
        return {output.name: found[output.name] for output in self.contract.outputs}

    def close(self) -> None:
        """Drop the compiled model."""
        self._compiled = None
