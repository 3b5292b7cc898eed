"""TensorRT and TensorRT-RTX: which can be loaded here, in which version, and what to install where one cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast, final

from cgan_runtime.errors import UsageError
from cgan_runtime.limits import printable
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
from cgan_runtime.runners.tensorrt.flavours import Flavour as Library

from cgan_export.engines.api import TensorRT

__all__ = ["FLAVOURS", "Flavour", "flavour"]


@final
@dataclass(frozen=True, kw_only=True)
class Flavour:
    """One of the two.

    Attributes:
        library: how it is loaded.
        short: in the names of files.
        needs_gpu: whether it builds for the GPU it sits on, and so needs one. The other one is told for which.
    """

    library: Library
    short: str
    needs_gpu: bool

    @property
    def name(self) -> str:
        """As people call it."""
        return self.library.name

    @property
    def backend(self) -> str:
        """Of its artifacts in a bundle."""
        return self.library.module

    @property
    def option(self) -> str:
        """What --backend calls it."""
        return self.backend.replace("_", "-")

    def load(self) -> TensorRT:
        """The module.

        Raises:
            CganError: it is not installed, its libraries do not load, or it is too old.
        """
        return cast("TensorRT", self.library.load())


FLAVOURS: Final = {
    flavour.option: flavour
    for flavour in (
        Flavour(library=TENSORRT, short="trt", needs_gpu=True),
        Flavour(library=TENSORRT_RTX, short="rtx", needs_gpu=False),
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
