"""The options of each provider: those that decide what is computed, and those that save time on a GPU.

Names and defaults: https://onnxruntime.ai/docs/execution-providers/. All values are text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cgan_runtime.axes import shape_of
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.onnx_file import has_halves
from cgan_runtime.runners.onnxruntime.devices import CPU, CUDA, TENSORRT, Device

__all__ = ["MAX_BATCH", "Options", "Provider", "engine_folder", "providers_for", "require_in_range"]

Options = dict[str, str]
Provider = str | tuple[str, Options]

# The one TensorRT engine of a model takes these batches: with another engine for a larger one, an image would
# depend on how many were made before it. As the wider default profile of `cgan-export --backend tensorrt`.
MAX_BATCH: Final = 16
LARGEST_SIDE: Final = 1024  # of a free size, as there: memory is laid out for the largest


def providers_for(
    device: Device,
    model: bytes,
    contract: Contract,
    *,
    graphs: bool = True,
    folder: Path | None = None,
    own: Mapping[str, str] | None = None,
) -> tuple[Provider, ...]:
    """Providers in the order in which ONNX Runtime offers them the nodes of a graph.

    Args:
        device: the first of them; the others take what it has no kernel for, such as the arithmetic of shapes.
        model: the ONNX file.
        contract: of the model; TensorRT is told the range of every shape beforehand.
        graphs: record a CUDA graph for each shape.
        folder: where TensorRT keeps its engines; needed for "tensorrt".
        own: options of the first provider, in place of these.
    """
    if not device.is_gpu:
        return (CPU,)
    cuda = _cuda(device, model, graphs=graphs)
    if device.kind == "cuda":
        return ((CUDA, cuda | dict(own or {})), CPU)
    tensorrt = _tensorrt(device, contract, graphs=graphs) | _caches(folder) | dict(own or {})
    # The graph is recorded by the provider that is asked for.
    return ((TENSORRT, tensorrt), (CUDA, cuda | {"enable_cuda_graph": "0"}), CPU)


def engine_folder(model: bytes, *, ort: str, tensorrt: str) -> Path:
    """Where the engines of one model lie for one version of ONNX Runtime and of TensorRT; it exists afterwards.

    ONNX Runtime names an engine by the GPU. That the model, itself and TensorRT are the same it does not check.

    Raises:
        CganError: the folder cannot be made.
    """
    import platformdirs

    root = platformdirs.user_cache_path("cgan-deploy") / "onnxruntime-tensorrt"
    folder = root / f"{ort}-tensorrt-{tensorrt}" / hashlib.sha256(model).hexdigest()
    try:
        # An engine holds program code: nobody else may put one there.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CganError(f"{folder}, for TensorRT's engines, cannot be made ({error.strerror or error}).") from error
    return folder


def require_in_range(contract: Contract, sizes: Mapping[str, int]) -> None:
    """Stop at an image that is larger than what the TensorRT engine was built for.

    Raises:
        UsageError: says the size, the range and the way out.
    """
    _, high = _sizes(contract)
    if any(size > high.get(name, size) for name, size in sizes.items()):
        given = "x".join(str(sizes[name]) for name in ("w", "h") if name in sizes)
        raise UsageError(
            f"an image of {given} was given and TensorRT's engine takes sides of up to {max(high.values())}; "
            "use --device cuda."
        )


def _cuda(device: Device, model: bytes, *, graphs: bool) -> Options:
    return {
        "device_id": str(device.number),
        # FP32 stays FP32. Not for FP16: this also takes the tensor cores from a convolution of halves.
        "use_tf32": "1" if has_halves(model) else "0",
        # The default times all algorithms at the first run and takes the fastest of that day: other rounding.
        "cudnn_conv_algo_search": "HEURISTIC",
        # The default takes twice as much each time; several models share a GPU.
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "1" if graphs else "0",
    }


def _tensorrt(device: Device, contract: Contract, *, graphs: bool) -> Options:
    """No option for FP16: where none is set, the engine computes in the types of the file."""
    options = {"device_id": str(device.number), "trt_cuda_graph_enable": "1" if graphs else "0"}
    low, high = _sizes(contract)
    for name, batch, sizes in (("min", 1, low), ("opt", MAX_BATCH, high), ("max", MAX_BATCH, high)):
        shapes = (f"{t.name}:{'x'.join(map(str, (batch, *shape_of(t.shape, sizes))))}" for t in contract.inputs)
        options[f"trt_profile_{name}_shapes"] = ",".join(shapes)
    return options


def _caches(folder: Path | None) -> Options:
    if folder is None:
        return {}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder.parent),  # measurements of one model shorten the build of the next
    }


def _sizes(contract: Contract) -> tuple[dict[str, int], dict[str, int]]:
    """The smallest and the largest height and width where they are free."""
    rule = contract.sides
    if rule is None:
        return {}, {}
    high = max(rule.min, min(rule.max, LARGEST_SIDE // rule.multiple * rule.multiple))
    return dict.fromkeys("hw", rule.min), dict.fromkeys("hw", high)
