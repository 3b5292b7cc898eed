"""The words for where ONNX Runtime runs a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.runners.onnxruntime.module import (
    CPU_BUILD,
    GPU_BUILD,
    import_onnxruntime,
    installed_builds,
    require_one_build,
)

__all__ = ["CPU", "CUDA", "TENSORRT", "Device", "gpu_absence", "parse_device"]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
WORD: Final = re.compile(r"(cpu)|(?P<gpu>cuda|tensorrt)(?::(?P<number>[0-9]{1,4}))?")


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where a model runs.

    Attributes:
        kind: "cuda" and "tensorrt" are two ways to use a GPU, the providers of those names.
        number: of the GPU, as CUDA counts the visible ones.
    """

    kind: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    number: int = 0

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what executes."""
        return {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}[self.kind]

    @property
    def name(self) -> str:
        """As people call it."""
        return {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "TensorRT"}[self.kind]

    @property
    def is_gpu(self) -> bool:
        """Whether tensors lie in the memory of a GPU."""
        return self.kind != "cpu"


def parse_device(text: str | None) -> Device:
    """The device of a word: "cpu" (the default), "cuda", "cuda:1", "tensorrt" or "tensorrt:1".

    Raises:
        UsageError: another word.
    """
    match = WORD.fullmatch("cpu" if text is None else text)
    if match is None:
        raise UsageError(f"ONNX Runtime has no device {text!r}; give cpu, cuda, cuda:N, tensorrt or tensorrt:N.")
    if match["gpu"] is None:
        return Device()
    return Device(kind="cuda" if match["gpu"] == "cuda" else "tensorrt", number=int(match["number"] or 0))


def gpu_absence(provider: str = CUDA) -> str | None:
    """Why the ONNX Runtime that is installed here has no such provider, in one sentence; None where it has.

    Whether the provider then starts depends on the driver and on libraries: see `require_libraries`.
    """
    ort = import_onnxruntime()
    try:
        require_one_build(GPU_BUILD)
    except CganError as error:
        return str(error)
    if provider in ort.get_available_providers():
        return None
    name = provider.removesuffix("ExecutionProvider").replace("Tensorrt", "TensorRT")
    # The two builds are the same folder, so the one for the CPU has to go first.
    builds = " ".join(installed_builds()) or CPU_BUILD
    return (
        f"the ONNX Runtime installed here has no {name}; "
        f"run: pip uninstall --yes {builds} && pip install {GPU_BUILD}"
    )
