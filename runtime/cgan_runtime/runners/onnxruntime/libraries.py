"""What the library of a GPU's provider needs, found before ONNX Runtime loads it.

ONNX Runtime says of a provider that did not start only that it is not there. The reason is nearly always a shared
library: none at all, or another major version than the provider was linked to. Its file says which ones it needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import struct
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Final

from cgan_runtime.errors import CganError
from cgan_runtime.runners.onnxruntime.devices import CUDA, TENSORRT, Device
from cgan_runtime.runners.onnxruntime.module import GPU_BUILD

__all__ = ["needed_libraries", "require_libraries", "tensorrt_version"]

PROVIDER_FILES: Final = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
DRIVER: Final = "libcuda.so.1"
CUDNN: Final = "libcudnn.so.9"  # the CUDA provider opens it when a convolution comes, so its file does not name it
# Where pip puts libraries, below the folder of packages.
PIP_FOLDERS: Final = ("tensorrt_libs", "nvidia/*/lib")
TENSORRT_SONAME: Final = re.compile(r"libnv(?:infer|onnxparser)\S*\.so\.(\d+)")
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB, DT_STRSZ = 1, 5, 10


def require_libraries(ort: ModuleType, device: Device) -> None:
    """Load the libraries that the providers of a device need, from where pip puts them too.

    Raises:
        CganError: one is not here; the message says which, and what to install.
    """
    if sys.platform != "linux":
        return
    providers = [CUDA] if device.kind == "cuda" else [CUDA, TENSORRT]
    files = [_folder(ort) / PROVIDER_FILES[provider] for provider in providers]
    needed = dict.fromkeys(name for file in files for name in needed_libraries(file))
    if not needed:
        return  # another build of ONNX Runtime, of which only itself can tell
    needed[CUDNN] = None
    if DRIVER in needed and not _is_loaded(DRIVER):
        # Before all else: gigabytes of other libraries would not help.
        raise CganError(
            f"no NVIDIA driver ({DRIVER}) is here; a machine with an NVIDIA GPU and its driver is needed, or "
            "--device cpu."
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find, and stdout carries data
        ort.preload_dlls()  # CUDA and cuDNN, as they depend on each other; the provider loads cuDNN itself, later
    packages = _folder(ort).parent.parent
    missing = [name for name in needed if not (_is_loaded(name) or _is_loaded_from(packages, name))]
    if missing:
        raise CganError(_explained(missing, device, cuda=str(ort.cuda_version).partition(".")[0]))


def tensorrt_version(ort: ModuleType) -> str:
    """Of the TensorRT library that ONNX Runtime uses, as "10.16.1"; it must be loaded."""
    for name in needed_libraries(_folder(ort) / PROVIDER_FILES[TENSORRT]):
        if name.startswith("libnvinfer.so."):
            number = int(ctypes.CDLL(name).getInferLibVersion())
            return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return "unknown"


def needed_libraries(path: Path) -> list[str]:
    """The names of the shared libraries that an ELF file says it needs, in its order; nothing is loaded.

    Returns nothing where the file cannot be read or is no 64-bit little-endian ELF.
    """
    try:
        with path.open("rb") as stream:
            return _needed(stream)
    except (OSError, ValueError, struct.error):
        return []


def _needed(stream: BinaryIO) -> list[str]:
    header = stream.read(64)
    if header[:6] != b"\x7fELF\x02\x01":
        return []
    (offset,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
    loads, dynamic = [], b""
    for number in range(count):
        stream.seek(offset + number * size)
        kind, _, at, address, _, length, _, _ = struct.unpack("<IIQQQQQQ", stream.read(56))
        if kind == PT_LOAD:
            loads.append((address, at, length))
        elif kind == PT_DYNAMIC:
            stream.seek(at)
            dynamic = stream.read(length)
    entries = list(struct.iter_unpack("<QQ", dynamic))
    values = dict(reversed(entries))  # of the tags that occur once
    table = values.get(DT_STRTAB, 0)
    for address, at, length in loads:
        if address <= table < address + length:
            stream.seek(at + table - address)
    names = stream.read(values.get(DT_STRSZ, 0))
    return [names[value : names.index(b"\0", value)].decode() for tag, value in entries if tag == DT_NEEDED]


def _folder(ort: ModuleType) -> Path:
    return Path(str(ort.__file__)).parent / "capi"


def _is_loaded(name: str) -> bool:
    """Whether the loader finds a library by its name, or has it already."""
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _is_loaded_from(packages: Path, name: str) -> bool:
    """Whether it is where pip puts libraries, and loads; whoever needs it by its name then has it."""
    return any(_is_loaded(str(path)) for folder in PIP_FOLDERS for path in packages.glob(f"{folder}/{name}"))


def _explained(missing: list[str], device: Device, *, cuda: str) -> str:
    """The sentence about libraries that are missing; `cuda` is the major version that ONNX Runtime is built for."""
    tensorrt = {name: int(match[1]) for name in missing if (match := TENSORRT_SONAME.fullmatch(name))}
    if others := [name for name in missing if name not in tensorrt]:
        return (
            f"ONNX Runtime's CUDA provider needs {', '.join(others)}, not found here; run: pip install {GPU_BUILD}"
        )
    major, package = next(iter(tensorrt.values())), f"tensorrt-cu{cuda}"
    beside = next((found for name in (package, "tensorrt") if (found := _version(name))), None)
    seen = "not found here" if beside is None else f"and TensorRT {beside} is installed"
    return (
        f"ONNX Runtime's TensorRT provider needs TensorRT {major} ({', '.join(tensorrt)}), {seen}; "
        f'run: pip install "{package}>={major},<{major + 1}" (or give --device cuda:{device.number})'
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
