"""TensorRT and TensorRT-RTX: which can be loaded here, in which version, and what to install where one cannot."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, final

from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.limits import printable

from cgan_export.engines.api import TensorRT

__all__ = ["FLAVOURS", "Flavour", "flavour"]

OLDEST: Final = (10, 12)  # of TensorRT: the first whose strongly typed networks take every graph of ours
RTX_LIBRARIES: Final = ("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")


@final
@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One of the two.

    Attributes:
        backend: of its artifacts in a bundle, and the name of its Python module.
        name: as people call it.
        short: in the names of files.
        install: the command that installs it.
        needs_gpu: whether it builds for the GPU it sits on, and so needs one. The other one is told for which.
        oldest: the lowest version that builds here, as (major, minor).
    """

    backend: str
    name: str
    short: str
    install: str
    needs_gpu: bool
    oldest: tuple[int, int]

    @property
    def option(self) -> str:
        """What --backend calls it."""
        return self.backend.replace("_", "-")

    def absence(self) -> str | None:
        """Why it cannot build here and what to do, in one sentence; None where it can."""
        try:
            self.load()
        except CganError as error:
            return str(error)
        return None

    def load(self) -> TensorRT:
        """The module.

        Raises:
            CganError: it is not installed, its libraries do not load, or it is too old.
        """
        try:
            if self.backend == "tensorrt_rtx":
                _load_rtx_libraries()
            module = importlib.import_module(self.backend)
        except (ImportError, OSError) as error:
            reason = f"does not load ({printable(error)})" if self._is_there() else "is not installed"
            raise CganError(f"{self.name} {reason}; run: {self.install}") from error
        # A folder with nothing but type stubs in it can be imported too.
        if not hasattr(module, "Builder"):
            raise CganError(f"{self.name} is not installed; run: {self.install}")
        version = module.__version__
        if tuple(int(part) for part in version.split(".")[:2]) < self.oldest:
            least = ".".join(map(str, self.oldest))
            raise CganError(f"{self.name} {version} is too old, {least} or newer is needed; run: {self.install}")
        return cast("TensorRT", module)

    def _is_there(self) -> bool:
        return importlib.util.find_spec(self.backend) is not None


FLAVOURS: Final = {
    flavour.option: flavour
    for flavour in (
        Flavour(
            backend="tensorrt",
            name="TensorRT",
            short="trt",
            install='pip install "tensorrt>=10.12,<12"',
            needs_gpu=True,
            oldest=OLDEST,
        ),
        Flavour(
            backend="tensorrt_rtx",
            name="TensorRT-RTX",
            short="rtx",
            install='pip install "cgan-deploy[tensorrt-rtx]"',
            needs_gpu=False,
            oldest=(1, 7),
        ),
    )
}


def flavour(name: str) -> Flavour:
    """The flavour of a name that --backend takes, or of an artifact's backend.

    Raises:
        UsageError: neither.
    """
    found = FLAVOURS.get(name.replace("_", "-"))
    if found is None:
        raise UsageError(f"--backend {printable(name)} is not known; choose from {', '.join(FLAVOURS)}.")
    return found


def _load_rtx_libraries() -> None:
    """The wheel of the bindings does not know where the wheel of the libraries is: load them first."""
    spec = importlib.util.find_spec("tensorrt_rtx_libs")
    for folder in [] if spec is None else spec.submodule_search_locations or []:
        for library in RTX_LIBRARIES:
            ctypes.CDLL(str(Path(folder) / library), mode=ctypes.RTLD_GLOBAL)
