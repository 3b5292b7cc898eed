"""Where and with what a result was made: without it a latency means nothing."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any, Final

__all__ = ["environment", "package_version", "usable_cores"]

PACKAGES: Final = (
    "cgan-deploy",
    "torch",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "pillow",
    "tritonclient",
    "tensorrt",
    "tensorrt-rtx",
    "pycuda",
    "cuda-bindings",
    "openvino",
    "nncf",
    "mlcommons-loadgen",
)


def environment() -> dict[str, Any]:
    """CPU, cores, memory, system, versions and date, as plain JSON values."""
    versions = {name: package_version(name) for name in PACKAGES}
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_mb": _memory_mb(),
        "load_average": _load_average(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def package_version(name: str) -> str | None:
    """Version of an installed package; None when it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's own name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_average() -> float | None:
    """The load average of the last minute before the run: another busy process makes every figure doubtful."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _memory_mb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6)
    except (ValueError, OSError):
        return None
