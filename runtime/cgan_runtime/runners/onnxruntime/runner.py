"""A runner of one ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, final

import numpy as np

from cgan_runtime.axes import bound_sizes, shape_of
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.onnx_file import CONTRACT_KEY, SHARED_CONDITIONS_KEY, metadata, require_sound
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.onnxruntime.bound import BoundSession
from cgan_runtime.runners.onnxruntime.devices import CPU, Device, parse_device
from cgan_runtime.runners.onnxruntime.gpu_session import open_on_gpu
from cgan_runtime.runners.onnxruntime.module import first_line, import_onnxruntime
from cgan_runtime.runners.onnxruntime.providers import MAX_BATCH, require_in_range

__all__ = ["OnnxRuntimeRunner", "open_runner", "session_options"]

FOLDED_BYTES_AT_LEAST: Final = 1 << 20


def open_runner(
    model: bytes,
    contract: Contract,
    *,
    precision: str = "fp32",
    device: str | None = None,
    threads: int = 0,
    in_flight: int = 1,
    provider_options: Mapping[str, str] | None = None,
) -> Runner:
    """A runner on "cpu" (the default), or on a GPU: "cuda", "cuda:N", "tensorrt" or "tensorrt:N".

    Args:
        model: the bytes of a self-contained ONNX file.
        contract: the signature that it must have.
        precision: not used: the file says it.
        device: where it runs; "tensorrt" is ONNX Runtime's TensorRT provider, which builds an engine and keeps it.
        threads: intra-op threads; 0 lets ONNX Runtime choose.
        in_flight: not used: on the CPU a session takes any number of calls at once, on a GPU they wait for each
            other.
        provider_options: options of the GPU's provider in place of those of `providers.py`.

    Raises:
        UsageError: another device.
        CganError: what the device needs is not installed here; the message says what to install.
        BundleError: as `OnnxRuntimeRunner`.
    """
    del precision, in_flight
    return OnnxRuntimeRunner(
        model, contract, device=parse_device(device), threads=threads, provider_options=provider_options
    )


@final
class OnnxRuntimeRunner(Runner):
    """Runs one ONNX model on the CPU, or on a GPU where the build of ONNX Runtime for it is installed.

    Args:
        model: the bytes of a self-contained ONNX file: what is executed is exactly what was hashed.
        contract: the signature the graph must have.
        device: where it runs.
        threads: intra-op threads; 0 lets ONNX Runtime choose.
        provider_options: options of the GPU's provider in place of those of `providers.py`.
        plain: keep every session default (for comparisons); else stop the worker threads' spinning between
            calls, which would slow whatever else the machine runs.

    Raises:
        BundleError: external data, not a loadable model, or another contract than the given one.
        CganError: the device cannot be used here.
    """

    def __init__(
        self,
        model: bytes,
        contract: Contract,
        *,
        device: Device | None = None,
        threads: int = 0,
        provider_options: Mapping[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(contract)
        self._device = device or Device()
        ort = import_onnxruntime()
        try:
            require_sound(model)
            said = metadata(model)
        except ValueError as error:
            raise BundleError(f"the ONNX model cannot be used: {error}; export it again.") from error
        _require_same_contract(said, contract)
        options = session_options(ort, model, threads=threads, plain=plain)
        self._bound: BoundSession | None = None
        graphs = False
        if self._device.is_gpu:
            self._session, graphs = open_on_gpu(ort, model, contract, self._device, options, provider_options)
            self._bound = BoundSession(ort, self._session, device="cuda", number=self._device.number, graphs=graphs)
        else:
            self._session = _open_on_cpu(ort, model, options)
        names = [item.name for item in self._session.get_inputs()]
        wanted = [tensor.name for tensor in contract.inputs]
        if names != wanted:
            raise BundleError(f"the ONNX model takes {names}, its contract says {wanted}.")
        self._description = f"ONNX Runtime {ort.__version__} {self._device.name}{' with CUDA graphs' * graphs}"
        self._shares_conditions = said.get(SHARED_CONDITIONS_KEY) == "1"
        # A file with FP16 inputs and outputs is fed and read through casts: the contract speaks float32.
        self._halves = {item.name for item in self._session.get_inputs() if item.type == "tensor(float16)"}

    @classmethod
    def from_file(cls, path: Path, contract: Contract, *, threads: int = 0) -> OnnxRuntimeRunner:
        """A runner for a model file outside a bundle."""
        return cls(path.read_bytes(), contract, threads=threads)

    @property
    def description(self) -> str:
        """Backend, version and device."""
        return self._description

    @property
    def shares_conditions(self) -> bool:
        """Whether the graph says so."""
        return self._shares_conditions

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        feed = {k: v.astype(np.float16) if k in self._halves else v for k, v in inputs.items()}
        try:
            results = self._run(feed)
        except CganError:
            raise
        except Exception as error:  # ONNX Runtime raises several unrelated types
            raise CganError(f"ONNX Runtime failed: {first_line(error)}") from error
        return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in results.items()}

    def _run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """The outputs in the types of the graph."""
        names = [output.name for output in self.contract.outputs]
        if self._bound is None:
            return dict(zip(names, self._session.run(names, inputs), strict=True))
        sizes = bound_sizes((c.shape, inputs[c.name].shape[1:]) for c in self.contract.conditions)
        shapes = {output.name: shape_of(output.shape, sizes) for output in self.contract.outputs}
        batch = max(value.shape[0] for value in inputs.values())
        most = batch
        if self._device.kind == "tensorrt":
            require_in_range(self.contract, sizes)
            most = MAX_BATCH
        parts = []
        for first in range(0, batch, most):
            # A condition of one row is there for every part.
            part = {k: v[first : first + most] if len(v) == batch else v for k, v in inputs.items()}
            rows = min(most, batch - first)
            parts.append(self._bound.run(part, {name: (rows, *shape) for name, shape in shapes.items()}))
        return parts[0] if len(parts) == 1 else {k: np.concatenate([part[k] for part in parts]) for k in names}

    def close(self) -> None:
        """Drop the session, its weights and what it keeps on a GPU."""
        self._bound = self._session = None


def session_options(ort: ModuleType, model: bytes, *, threads: int = 0, plain: bool = False) -> Any:
    """How a session runs a file here; see `OnnxRuntimeRunner`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # What is computed from constants at loading may be larger than they are: FP16 becomes FP32.
    most = str(FOLDED_BYTES_AT_LEAST + 4 * len(model))
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", most)
    if not plain:
        # On x86 without VNNI 8-bit sums of unsigned by signed overflow: another kernel there, nothing elsewhere.
        # ONNX Runtime 1.32 does not load files of its quantiser's defaults with it.
        options.add_session_config_entry("session.x64quantprecision", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _open_on_cpu(ort: ModuleType, model: bytes, options: Any) -> Any:
    try:
        # Without enable_fallback=0 the package would try again by itself, and say so on stdout.
        return ort.InferenceSession(model, options, providers=[CPU], enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises several unrelated types for a bad file
        raise BundleError(f"ONNX Runtime cannot load the model: {first_line(error)}") from error


def _require_same_contract(said: Mapping[str, str], contract: Contract) -> None:
    """Hold the contract that the exporter mirrored in the file, if there is one, to that of the manifest."""
    if CONTRACT_KEY not in said:
        return  # a file that another program made
    try:
        own = Contract.from_json(json.loads(said[CONTRACT_KEY]))
    except (ValueError, RecursionError, TypeError) as error:
        raise BundleError("the contract in the ONNX model's metadata is damaged; export it again.") from error
    if own != contract:
        raise BundleError("the ONNX model says in its metadata that it has another contract; export it again.")
