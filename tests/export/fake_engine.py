"""A runner for engines on a machine without a GPU: it runs the ONNX file that a plan was built from, `GRAPH`.

A test registers it under the name of a TensorRT backend, and says which plans run where, and by how much an engine
errs.
"""

from __future__ import annotations

from typing import final

from cgan_runtime.contract import Contract
from cgan_runtime.manifest import Plan
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

GRAPH = b""
HERE = "sm86"
ERRORS: dict[bytes, float] = {}  # by plan; any other errs by DEFAULT_ERROR
DEFAULT_ERROR = 0.0
OPENED: list[bytes] = []


def absence() -> str | None:
    return None


def misfit(plan: Plan, device: str | None) -> str | None:
    assert device is None
    return None if HERE in plan.targets else f"this plan was built for {', '.join(plan.targets)}; here is {HERE}"


def open_runner(
    model: bytes, contract: Contract, *, precision: str, device: str | None, threads: int, in_flight: int
) -> Runner:
    assert (precision, device, threads, in_flight) == ("fp32", None, 0, 1)
    OPENED.append(model)
    return Engine(contract, ERRORS.get(model, DEFAULT_ERROR))


@final
class Engine(Runner):
    """ONNX Runtime on `GRAPH`, and every output too large by `error`."""

    def __init__(self, contract: Contract, error: float) -> None:
        super().__init__(contract)
        self._inner = OnnxRuntimeRunner(GRAPH, contract)
        self._error = error

    @property
    def description(self) -> str:
        return "an engine"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        return {
            name: (value + self._error).astype(value.dtype) for name, value in self._inner.infer(inputs).items()
        }
