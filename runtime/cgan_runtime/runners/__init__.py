"""Runners: one file or folder per backend, one interface, one line in the table.

A backend's module is imported when its runner is asked for, so a package that is not installed costs nothing. Each
module has `absence` and `open_runner`; one whose artifacts have a plan has `misfit` too, and one that has
a precision on some machines only has `lack` (`Backend` and what follows it). A module with two backends names an
object with these methods for each.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, Protocol, cast, final, runtime_checkable

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array, Runner, Tensors

if TYPE_CHECKING:
    from cgan_runtime.manifest import Plan

__all__ = ["RUNNERS", "Array", "Backend", "Runner", "RunnerKind", "Tensors", "runner_kind"]


class Backend(Protocol):
    """What the module of a backend offers."""

    def absence(self) -> str | None:
        """Why it cannot be used here and what to install, in one sentence; None where it can."""

    def open_runner(
        self,
        model: bytes,
        contract: Contract,
        *,
        precision: str,
        device: str | None,
        threads: int,
        in_flight: int,
    ) -> Runner:
        """A runner of the artifact's bytes; see `RunnerKind.open`."""


class PlannedBackend(Backend, Protocol):
    """What the module of a backend offers whose artifacts are built for certain devices."""

    def misfit(self, plan: Plan, device: str | None) -> str | None:
        """Why a plan cannot run on the device here, as the beginning of a sentence; None where it can."""


@runtime_checkable
class PrecisionBackend(Protocol):
    """What the module of a backend offers that has a precision on some machines only."""

    def lack(self, precision: str) -> str | None:
        """Why it cannot compute in this precision here, in one sentence; None where it can."""


@final
@dataclass(frozen=True, kw_only=True)
class RunnerKind:
    """One backend.

    Attributes:
        name: as people call it: "ONNX Runtime".
        module: the module that executes, imported on first use; "module:name" for an object of it.
        packages: what executes it, as pip installs it into the server's own environment.
        runs_code: an artifact of it may hold program code, as a TensorRT plan does; it is then opened only where it
            was built here, or from a bundle whose signature was required.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
    runs_code: bool = False

    def absence(self) -> str | None:
        """Why it cannot be used here and what to install, in one sentence; None where it can."""
        return self._backend().absence()

    def misfit(self, plan: Plan, device: str | None = None) -> str | None:
        """Why a plan cannot run here: "this plan was built for ...; here are ..."; None where it can."""
        return cast("PlannedBackend", self._backend()).misfit(plan, device)

    def version(self) -> str:
        """Of the package that executes, without importing it; empty where it is not installed."""
        for package in self.packages:
            name = re.split(r"[^A-Za-z0-9_.-]", package)[0]
            with contextlib.suppress(PackageNotFoundError):
                return version(name)
        return ""

    def lack(self, precision: str) -> str | None:
        """Why it cannot compute in this precision here, in one sentence; None where it can.

        Raises:
            CganError: the backend is not installed.
        """
        backend = self._backend()
        return backend.lack(precision) if isinstance(backend, PrecisionBackend) else None

    def open(
        self,
        model: bytes,
        contract: Contract,
        *,
        precision: str = "fp32",
        device: str | None = None,
        threads: int = 0,
        in_flight: int = 1,
    ) -> Runner:
        """A runner of one artifact.

        Args:
            model: the bytes of the artifact: what is executed is exactly what was hashed.
            contract: the signature the artifact must have.
            precision: of the artifact; one file may be executed in several.
            device: where it runs, "cpu", "cuda" or "cuda:1", with ONNX Runtime also "tensorrt"; the backend's own
                choice by default.
            threads: CPU threads; 0 lets the backend choose.
            in_flight: calls of several threads that compute at once, where the backend keeps memory for each; a
                backend without such memory leaves it to itself.

        Raises:
            CganError: the backend or the device is not available here.
            UsageError: a device that the backend does not know.
            BundleError: the artifact cannot be loaded, or has another signature.
        """
        if (reason := self.absence() or self.lack(precision)) is not None:
            raise CganError(reason)
        return self._backend().open_runner(
            model, contract, precision=precision, device=device, threads=threads, in_flight=in_flight
        )

    def _backend(self) -> Backend:
        module, _, name = self.module.partition(":")
        found = import_module(module)
        return cast("Backend", getattr(found, name) if name else found)


GPU_PACKAGES: Final = ("cuda-bindings>=13,<14",)

# By the `backend` of an artifact.
RUNNERS: Final[dict[str, RunnerKind]] = {
    "onnxruntime": RunnerKind(
        name="ONNX Runtime", module="cgan_runtime.runners.onnxruntime", packages=("onnxruntime>=1.27,<2",)
    ),
    "openvino": RunnerKind(
        name="OpenVINO", module="cgan_runtime.runners.openvino", packages=("openvino>=2026.1,<2027",)
    ),
    "tensorrt": RunnerKind(
        name="TensorRT",
        module="cgan_runtime.runners.tensorrt.backend:TENSORRT_BACKEND",
        packages=("tensorrt>=10.12,<12", *GPU_PACKAGES),
        runs_code=True,
    ),
    "tensorrt_rtx": RunnerKind(
        name="TensorRT-RTX",
        module="cgan_runtime.runners.tensorrt.backend:TENSORRT_RTX_BACKEND",
        packages=("tensorrt-rtx>=1.7,<2", *GPU_PACKAGES),
        runs_code=True,
    ),
}


def runner_kind(backend: str) -> RunnerKind:
    """The entry of a backend.

    Raises:
        CganError: this release has no runner for it; the message lists those it has.
    """
    if backend not in RUNNERS:
        have = ", ".join(RUNNERS)
        raise CganError(f"this release cannot run {backend} artifacts, only: {have}; upgrade cgan-deploy.")
    return RUNNERS[backend]
