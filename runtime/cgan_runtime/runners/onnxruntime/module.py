"""The onnxruntime package: which of its builds is installed, and whether it can be imported."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from cgan_runtime.errors import CganError
from cgan_runtime.limits import printable

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "CPU_BUILD",
    "GPU_BUILD",
    "absence",
    "first_line",
    "import_onnxruntime",
    "installed_builds",
    "require_one_build",
]

CPU_BUILD: Final = "onnxruntime"
# With the CUDA libraries that it is linked to, in the versions that it was built for.
GPU_BUILD: Final = '"onnxruntime-gpu[cuda,cudnn]>=1.27,<2"'
# Packages of PyPI that are ONNX Runtime: each writes the same folder, onnxruntime/.
BUILDS: Final = (
    CPU_BUILD,
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-trt-rtx",
    "onnxruntime-webgpu",
)


def absence() -> str | None:
    """Why ONNX Runtime cannot be used here and what to install; None where it can."""
    try:
        import_onnxruntime()
    except CganError as error:
        return str(error)
    return None


def import_onnxruntime() -> ModuleType:
    """onnxruntime, silent on the network and on stdout.

    Raises:
        CganError: it is not installed, or two builds of it left a part of each; the message has the pip line.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # since 1.31 it would look up hosts and write to HOME
    try:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # only fatal: our exceptions carry the text
    except (ImportError, AttributeError) as error:
        # AttributeError: of two builds one was uninstalled and took files of the other with it.
        builds = installed_builds()
        if len(builds) > 1:
            require_one_build(CPU_BUILD)
        if builds:
            raise CganError(
                f"{builds[0]} cannot be imported ({first_line(error)}); "
                f"run: pip install --force-reinstall {builds[0]}"
            ) from error
        raise CganError("onnxruntime is not installed; run: pip install onnxruntime") from error
    return onnxruntime  # type: ignore[no-any-return] # the package ships no types


def installed_builds() -> list[str]:
    """Which packages that are ONNX Runtime are installed here."""
    return [name for name in BUILDS if _is_installed(name)]


def require_one_build(wanted: str) -> None:
    """Stop where two builds are installed over each other.

    The folder holds files of both. The CPU works all the same; of a GPU it depends on which was installed last.

    Args:
        wanted: what to install in their place, as it is typed in a shell.

    Raises:
        CganError: with the two pip lines that put one build there.
    """
    builds = installed_builds()
    if len(builds) > 1:
        raise CganError(
            f"{' and '.join(builds)} are installed over each other, and each has lost files to the other; "
            f"run: pip uninstall --yes {' '.join(builds)} && pip install {wanted}"
        )


def first_line(error: Exception) -> str:
    """The first line of an error, printable and short: ONNX Runtime quotes the file in it."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0], 300)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
