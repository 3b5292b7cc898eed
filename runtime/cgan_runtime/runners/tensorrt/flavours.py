"""The two TensorRTs: which package each is, and how it is loaded."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.errors import CganError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["TENSORRT", "TENSORRT_RTX", "Flavour", "version_of"]


@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One of them.

    Attributes:
        name: as people call it.
        module: the Python module.
        package: what pip installs, as it is typed in a shell.
        oldest: the lowest version that is supported, as (major, minor).
        libraries: (package, files) of libraries that the module needs and does not find by itself.
        is_rtx: it compiles kernels and makes CUDA graphs on the GPU that it runs on.
    """

    name: str
    module: str
    package: str
    oldest: tuple[int, int]
    libraries: tuple[str, tuple[str, ...]] | None = None
    is_rtx: bool = False

    def absence(self) -> str | None:
        """Why it cannot be used here and what to install; None where it can."""
        try:
            self.load()
        except CganError as error:
            return str(error)
        return None

    def load(self) -> ModuleType:
        """The module.

        Raises:
            CganError: it is not installed, cannot be loaded, or is too old; the message says what to install.
        """
        spec = find_spec(self.module)
        if spec is None or spec.origin is None:  # a folder with nothing but type stubs has no origin
            raise CganError(f"{self.name} is not installed; run: pip install {self.package}")
        try:
            for path in self._library_paths():
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            module = import_module(self.module)
        except (ImportError, OSError) as error:
            raise CganError(
                f"{self.name} cannot be loaded ({error}); run: pip install --force-reinstall {self.package}"
            ) from error
        version = version_of(module)
        if tuple(int(part) for part in version.split(".")[:2]) < self.oldest:
            least = ".".join(map(str, self.oldest))
            raise CganError(
                f"{self.name} {version} is too old, {least} or newer is needed; run: pip install {self.package}"
            )
        return module

    def _library_paths(self) -> list[Path]:
        if self.libraries is None:
            return []
        package, files = self.libraries
        spec = find_spec(package)
        folders = (spec.submodule_search_locations if spec else None) or ()
        # Where the package is not there, the module may find the libraries by itself (LD_LIBRARY_PATH).
        paths = [Path(folder) / name for name in files for folder in folders]
        return [path for path in paths if path.is_file()]


TENSORRT: Final = Flavour(
    name="TensorRT",
    module="tensorrt",
    package='"tensorrt>=10.12,<12"',
    oldest=(10, 12),  # the first whose strongly typed networks take every graph of ours
)
TENSORRT_RTX: Final = Flavour(
    name="TensorRT-RTX",
    module="tensorrt_rtx",
    package='"cgan-deploy[tensorrt-rtx]"',
    oldest=(1, 7),
    libraries=("tensorrt_rtx_libs", ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")),
    is_rtx=True,
)


def version_of(module: ModuleType) -> str:
    """The numbers of a module's version: "10.13.3.9" of "10.13.3.9.post1"."""
    match = re.match(r"\d+(\.\d+){1,3}", str(module.__version__))
    return match.group() if match else str(module.__version__)
