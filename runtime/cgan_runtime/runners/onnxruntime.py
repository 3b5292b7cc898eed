"""ONNX Runtime: the backend every bundle runs on, with no GPU and no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.limits import printable
from cgan_runtime.onnx_file import metadata, require_sound
from cgan_runtime.runners.base import Array, Runner, Tensors

if TYPE_CHECKING:
    from types import ModuleType

Provider = str | tuple[str, dict[str, str]]

__all__ = ["OnnxRuntimeRunner", "absence", "import_onnxruntime", "open_runner"]

CONTRACT_KEY: Final = "cgan.contract"  # in metadata_props
CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
FOLDED_BYTES_AT_LEAST: Final = 1 << 20


def absence() -> str | None:
    """Why ONNX Runtime cannot be used here and what to install; None where it can."""
    try:
        import_onnxruntime()
    except CganError as error:
        return str(error)
    return None


def open_runner(model: bytes, contract: Contract, *, device: str | None = None, threads: int = 0) -> Runner:
    """A runner on "cpu" (the default), "cuda" or "cuda:N".

    Raises:
        UsageError: another device.
        CganError: ONNX Runtime here has no CUDA.
        BundleError: as `OnnxRuntimeRunner`.
    """
    return OnnxRuntimeRunner(model, contract, threads=threads, providers=_providers(device or "cpu"))


def _providers(device: str) -> tuple[Provider, ...]:
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise UsageError(f"ONNX Runtime has no device {device!r}; give cpu, cuda or cuda:N.")
    if kind == "cpu":
        return (CPU,)
    if CUDA not in import_onnxruntime().get_available_providers():
        raise CganError("the ONNX Runtime installed here has no CUDA; run: pip install onnxruntime-gpu")
    return ((CUDA, {"device_id": number or "0"}), CPU)


def import_onnxruntime() -> ModuleType:
    """onnxruntime, silent on the network and on stdout."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.31 it would look up hosts and write to HOME
    try:
        import onnxruntime
    except ImportError as error:
        raise CganError("onnxruntime is not installed; run: pip install onnxruntime") from error
    onnxruntime.set_default_logger_severity(4)  # only fatal: our exceptions carry the text
    return onnxruntime  # type: ignore[no-any-return] # the package ships no types


@final
class OnnxRuntimeRunner(Runner):
    """Runs one ONNX model on the CPU (or on CUDA where onnxruntime-gpu is installed and asked for).

    Args:
        model: the bytes of a self-contained ONNX file: what is executed is exactly what was hashed.
        contract: the signature the graph must have.
        threads: intra-op threads; 0 lets ONNX Runtime choose.
        providers: execution providers in order of preference, each a name or (name, options).
        plain: keep every session default (for comparisons); else stop the worker threads' spinning between
            calls, which would slow whatever else the machine runs.

    Raises:
        BundleError: external data, not a loadable model, or another contract than the given one.
    """

    def __init__(
        self,
        model: bytes,
        contract: Contract,
        *,
        threads: int = 0,
        providers: tuple[Provider, ...] = (CPU,),
        plain: bool = False,
    ) -> None:
        super().__init__(contract)
        ort = import_onnxruntime()
        try:
            require_sound(model)
            said = metadata(model)
        except ValueError as error:
            raise BundleError(f"the ONNX model cannot be used: {error}; export it again.") from error
        _require_same_contract(said, contract)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # What is computed from constants at loading may be larger than they are: FP16 becomes FP32.
        most = str(FOLDED_BYTES_AT_LEAST + 4 * len(model))
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", most)
        if not plain:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            # Without enable_fallback=0 the package would go on with the CPU, and say so on stdout.
            self._session: Any = ort.InferenceSession(model, options, providers=list(providers), enable_fallback=0)
        except Exception as error:  # ONNX Runtime raises several unrelated types for a bad file
            raise BundleError(f"ONNX Runtime cannot load the model: {_first_line(error)}") from error
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first not in self._session.get_providers():
            raise CganError(
                f"ONNX Runtime cannot start {first} here (driver, cuDNN or device number); use --device cpu."
            )
        names = [item.name for item in self._session.get_inputs()]
        wanted = [tensor.name for tensor in contract.inputs]
        if names != wanted:
            raise BundleError(f"the ONNX model takes {names}, its contract says {wanted}.")
        self._version = ort.__version__
        # A file with FP16 inputs and outputs is fed and read through casts: the contract speaks float32.
        self._halves = {item.name for item in self._session.get_inputs() if item.type == "tensor(float16)"}

    @classmethod
    def from_file(cls, path: Path, contract: Contract, *, threads: int = 0) -> OnnxRuntimeRunner:
        """A runner for a model file outside a bundle."""
        return cls(path.read_bytes(), contract, threads=threads)

    @property
    def description(self) -> str:
        """Backend, version and device."""
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        return f"ONNX Runtime {self._version} {provider}"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        names = [output.name for output in self.contract.outputs]
        feed = {k: v.astype(np.float16) if k in self._halves else v for k, v in inputs.items()}
        try:
            results = self._session.run(names, feed)
        except Exception as error:  # as above
            raise CganError(f"ONNX Runtime failed: {_first_line(error)}") from error
        wide = (value.astype(np.float32) if value.dtype == np.float16 else value for value in results)
        return dict(zip(names, wide, strict=True))

    def close(self) -> None:
        """Drop the session and its weights."""
        self._session = None


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


def _first_line(error: Exception) -> str:
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0], 300)  # it quotes the file
