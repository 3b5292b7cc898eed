"""TensorRT and TensorRT-RTX: which can be loaded here, in which version, and what to install where one cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast, final

from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.limits import printable
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
from cgan_runtime.runners.tensorrt.flavours import Flavour as Library

from cgan_export.engines.api import TensorRT

__all__ = ["FLAVOURS", "Flavour", "flavour"]

OLDEST: Final = (10, 12)  # of TensorRT: the first whose strongly typed networks take every graph of ours


@final
@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One of the two.

    Attributes:
        library: how it is loaded.
        short: in the names of files.
        needs_gpu: whether it builds for the GPU it sits on, and so needs one. The other one is told for which.
        oldest: the lowest version that builds here, as (major, minor).
    """

    library: Library
    short: str
    needs_gpu: bool
    oldest: tuple[int, int]

    @property
    def name(self) -> str:
        """As people call it."""
        return self.library.name

    @property
    def backend(self) -> str:
        """Of its artifacts in a bundle."""
        return self.library.module

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {self.library.package}"

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
        module = self.library.load()
        version = module.__version__
        if tuple(int(part) for part in version.split(".")[:2]) < self.oldest:
            least = ".".join(map(str, self.oldest))
            raise CganError(f"{self.name} {version} is too old, {least} or newer is needed; run: {self.install}")
        return cast("TensorRT", module)


FLAVOURS: Final = {
    flavour.option: flavour
    for flavour in (
        Flavour(
            library=TENSORRT,
            short="trt",
            needs_gpu=True,
            oldest=OLDEST,
        ),
        Flavour(
            library=TENSORRT_RTX,
            short="rtx",
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
