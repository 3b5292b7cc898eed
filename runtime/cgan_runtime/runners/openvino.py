"""OpenVINO: on a CPU often the quickest way to run an ONNX file, above all in bfloat16 and INT8.

OpenVINO would choose bfloat16 by itself where a CPU has it. Here the precision of the artifact decides: "bf16"
computes in bfloat16, any other in FP32 whatever is not quantised, so that an artifact runs as it was measured.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import queue
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.limits import printable
from cgan_runtime.onnx_file import SHARED_CONDITIONS_KEY, metadata, require_sound
from cgan_runtime.runners.base import Array, Runner, Tensors

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "OpenVinoRunner",
    "absence",
    "compile_settings",
    "lack",
    "open_runner",
    "shared_core",
    "without_telemetry",
]

DEVICE: Final = "CPU"
TELEMETRY: Final = "openvino_telemetry"
CAPABILITIES: Final = "OPTIMIZATION_CAPABILITIES"  # of a device
BFLOAT16: Final = "BF16"  # one of them: AVX512-BF16 or AMX


def absence() -> str | None:
    """Why OpenVINO cannot be used here and what to install; None where it can."""
    try:
        _import_openvino()
    except CganError as error:
        return str(error)
    return None


def lack(precision: str) -> str | None:
    """Why this CPU cannot compute in a precision; None where it can.

    Raises:
        CganError: OpenVINO is not installed.
    """
    if precision != "bf16" or BFLOAT16 in shared_core().get_property(DEVICE, CAPABILITIES):
        return None
    return "this CPU does not compute in bfloat16; use the fp32 or int8 artifact."


def open_runner(
    model: bytes, contract: Contract, *, precision: str, device: str | None, threads: int, in_flight: int
) -> Runner:
    """A runner on the CPU.

    Args:
        model: the bytes of a self-contained ONNX file.
        contract: the signature that it must have.
        precision: of the artifact; "bf16" computes in bfloat16.
        device: "cpu" or None.
        threads: CPU threads; 0 lets OpenVINO choose.
        in_flight: calls that compute at once: 1 gives one call all threads (latency), more share them (throughput).

    Raises:
        UsageError: another device.
        BundleError: as `OpenVinoRunner`.
    """
    if device not in (None, "cpu"):
        raise UsageError(f"OpenVINO runs on the CPU here, not on {device!r}; leave out the device.")
    return OpenVinoRunner(model, contract, precision=precision, threads=threads, in_flight=in_flight)


@final
class OpenVinoRunner(Runner):
    """Runs one ONNX model on the CPU; `in_flight` threads may call at once, others wait.

    Args:
        model: the bytes of a self-contained ONNX file: what is executed is exactly what was hashed.
        contract: the signature the graph must have.
        precision: of the artifact.
        threads: CPU threads; 0 lets OpenVINO choose.
        in_flight: calls that compute at once.

    Raises:
        BundleError: external data, not a loadable model, or other inputs than the contract's.
    """

    def __init__(
        self, model: bytes, contract: Contract, *, precision: str = "fp32", threads: int = 0, in_flight: int = 1
    ) -> None:
        super().__init__(contract)
        core = shared_core()
        try:
            require_sound(model)
            said = metadata(model)
        except ValueError as error:
            raise BundleError(f"the ONNX model cannot be used: {error}; export it again.") from error
        # In bfloat16 a sum that broadcasts is rounded once more than one that is part of a convolution: several
        # samples of one condition would have other images (2 levels) than each alone.
        self._shares_conditions = precision != "bf16" and said.get(SHARED_CONDITIONS_KEY) == "1"
        settings = compile_settings(precision, threads=threads, in_flight=in_flight)
        try:
            compiled = core.compile_model(core.read_model(model), DEVICE, settings)
        except Exception as error:  # RuntimeError for most, and others of its Python layer
            raise BundleError(f"OpenVINO cannot load the model: {_first_line(error)}") from error
        names = [port.any_name for port in compiled.inputs]
        wanted = [tensor.name for tensor in contract.inputs]
        if names != wanted:
            raise BundleError(f"the ONNX model takes {names}, its contract says {wanted}.")
        self._description = f"OpenVINO {importlib.metadata.version('openvino')} CPU" + (
            " bf16" if precision == "bf16" else ""
        )
        # A request has tensors of its own and serves one call at a time.
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(in_flight):
            self._requests.put(compiled.create_infer_request())

    @property
    def description(self) -> str:
        """Backend, version, device and, where it is not FP32, the precision."""
        return self._description

    @property
    def shares_conditions(self) -> bool:
        """Whether the graph says so; never in bfloat16."""
        return self._shares_conditions

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        feed = {name: np.ascontiguousarray(value) for name, value in inputs.items()}
        request = self._requests.get()
        try:
            request.infer(feed, share_inputs=True)
            return {output.name: request.get_tensor(output.name).data.copy() for output in self.contract.outputs}
        except Exception as error:  # RuntimeError for most, and others of its Python layer
            raise CganError(f"OpenVINO failed: {_first_line(error)}") from error
        finally:
            self._requests.put(request)

    def close(self) -> None:
        """Drop the requests, and with them the compiled model."""
        self._requests = queue.SimpleQueue()


def compile_settings(precision: str, *, threads: int = 0, in_flight: int = 1) -> dict[str, Any]:
    """How a model is compiled here; see `OpenVinoRunner`."""
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if in_flight == 1 else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    if in_flight > 1:
        settings["NUM_STREAMS"] = in_flight
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Inside the block OpenVINO's and NNCF's packages are imported without openvino_telemetry.

    With it `import openvino` alone writes an identifier into the home folder and reports to Google Analytics.
    """
    absent = TELEMETRY not in sys.modules
    if absent:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment] # the import system's word for "not to be found"
    try:
        yield
    finally:
        if absent:
            del sys.modules[TELEMETRY]


@functools.cache
def shared_core() -> Any:
    """The one `openvino.Core` of this process, which is never closed.

    The CPU plugin of a Core gives the thread that loads it another signal stack, and takes that away when it is
    closed, also where the plugin of a later Core has kept its address to restore it. Two of them that close in the
    order in which they were opened leave an address without memory, and then the next Ctrl-C ends the process with
    SIGSEGV: CPython's handlers run on that stack.

    Raises:
        CganError: OpenVINO is not installed.
    """
    return _import_openvino().Core()


def _import_openvino() -> ModuleType:
    """The package, silent on the network.

    Raises:
        CganError: it is not installed.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError as error:
        raise CganError('OpenVINO is not installed; run: pip install "openvino>=2026.1,<2027"') from error
    return openvino  # type: ignore[no-any-return] # the package ships no types


def _first_line(error: Exception) -> str:
    """What an error says, printable and short: OpenVINO puts the place in its sources first."""
    lines = [line for line in str(error).strip().splitlines() if line and not line.startswith("Exception from")]
    return printable((lines or [type(error).__name__])[0], 300)
