"""A session on a GPU: on the provider that was asked for, with CUDA graphs where the graph allows them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.onnx_file import has_halves
from cgan_runtime.runners.onnxruntime.devices import Device, gpu_absence
from cgan_runtime.runners.onnxruntime.libraries import require_libraries, tensorrt_version
from cgan_runtime.runners.onnxruntime.module import first_line
from cgan_runtime.runners.onnxruntime.providers import engine_folder, providers_for

__all__ = ["open_on_gpu"]

NO_GRAPHS: Final = "cannot use the graph capture feature"  # part of ONNX Runtime's refusal
TF32_OVERRIDE: Final = "NVIDIA_TF32_OVERRIDE"  # read by TensorRT, cuBLAS and cuDNN
RECORD: Final = "session.record_ep_graph_assignment_info"


def open_on_gpu(
    ort: ModuleType,
    model: bytes,
    contract: Contract,
    device: Device,
    options: Any,
    own: Mapping[str, str] | None = None,
) -> tuple[Any, bool]:
    """An InferenceSession, and whether it records CUDA graphs.

    Args:
        ort: the package.
        model: the ONNX file.
        contract: of the model.
        device: "cuda" or "tensorrt".
        options: SessionOptions.
        own: options of the provider in place of those of `providers.py`.

    Raises:
        CganError: the device cannot be used here; the message says why, and what to install.
    """
    if (reason := gpu_absence(device.provider)) is not None:
        raise CganError(reason)
    require_libraries(ort, device)
    options.add_session_config_entry(RECORD, "1")
    options.use_deterministic_compute = True  # of kernels that ONNX Runtime has twice, the one that repeats itself
    folder = None
    if device.kind == "tensorrt":
        folder = engine_folder(model, ort=ort.__version__, tensorrt=tensorrt_version(ort))
    with _alone(folder), _tf32(allowed=has_halves(model)):
        session, graphs = _opened(ort, model, contract, device, options, own, folder)
    _require_used(session, device)
    return session, graphs


def _opened(
    ort: ModuleType,
    model: bytes,
    contract: Contract,
    device: Device,
    options: Any,
    own: Mapping[str, str] | None,
    folder: Path | None,
) -> tuple[Any, bool]:
    """With CUDA graphs, or without where a node of the graph must run on the CPU."""
    for graphs in (True, False):
        providers = providers_for(device, model, contract, graphs=graphs, folder=folder, own=own)
        try:
            # Without enable_fallback=0 the package would go on with the CPU, and say so on stdout.
            return ort.InferenceSession(model, options, providers=list(providers), enable_fallback=0), graphs
        except Exception as error:  # ONNX Runtime raises several unrelated types
            if graphs and NO_GRAPHS in str(error):
                continue
            kept = "" if folder is None else f"; its engines are kept in {folder}, which can be deleted"
            raise CganError(
                f"ONNX Runtime cannot load the model on {device.provider}: {first_line(error)}{kept}"
            ) from error
    raise AssertionError("the second try returns or raises")


def _require_used(session: Any, device: Device) -> None:
    """Stop where ONNX Runtime started without the provider, or found nothing for it to do."""
    if device.provider not in session.get_providers():
        raise CganError(
            f"ONNX Runtime cannot start {device.provider} here (driver, cuDNN or device number); use --device cpu."
        )
    if device.provider not in {part.ep_name for part in session.get_provider_graph_assignment_info()}:
        raise CganError(
            f"ONNX Runtime gave no node of the model to {device.provider}, so another one would run it; "
            "use --device cpu."
        )


@contextlib.contextmanager
def _tf32(*, allowed: bool) -> Iterator[None]:
    """Keep TensorRT from computing FP32 in TF32 while it builds: its provider has no option for that."""
    if allowed or TF32_OVERRIDE in os.environ:
        yield
        return
    os.environ[TF32_OVERRIDE] = "0"
    try:
        yield
    finally:
        del os.environ[TF32_OVERRIDE]


def _alone(folder: Path | None) -> contextlib.AbstractContextManager[object]:
    """One process at a time builds the engine of a model; the next one reads it."""
    if folder is None:
        return contextlib.nullcontext()
    from filelock import FileLock

    return FileLock(folder / "lock")
