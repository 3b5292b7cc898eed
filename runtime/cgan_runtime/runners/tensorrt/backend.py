"""The two entries of the table of runners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.cuda import driver as cuda
from cgan_runtime.errors import UsageError
from cgan_runtime.manifest import Plan
from cgan_runtime.runners.base import Runner
from cgan_runtime.runners.tensorrt.fit import misfit_of
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX, Flavour, version_of
from cgan_runtime.runners.tensorrt.runner import TensorRtRunner

__all__ = ["TENSORRT_BACKEND", "TENSORRT_RTX_BACKEND", "TensorRtBackend"]


@dataclass(frozen=True)
class TensorRtBackend:
    """What `RunnerKind` asks of a backend, for one flavour."""

    flavour: Flavour

    def absence(self) -> str | None:
        """Why it cannot be used here and what to install; None where it can."""
        return self.flavour.absence() or cuda.absence()

    def misfit(self, plan: Plan, device: str | None) -> str | None:
        """Why a plan cannot run on the device, as the beginning of a sentence; None where it can.

        Raises:
            UsageError: no device of TensorRT.
            DriverError: there is no such GPU.
        """
        target = cuda.find_device(self._number(device)).target
        version = version_of(self.flavour.load())
        return misfit_of(plan, name=self.flavour.name, version=version, target=target)

    def open_runner(
        self,
        model: bytes,
        contract: Contract,
        *,
        precision: str = "fp16",
        device: str | None = None,
        threads: int = 0,
        in_flight: int = 1,
    ) -> Runner:
        """A runner of a plan on "cuda" (the default) or "cuda:N".

        Args:
            model: the plan.
            contract: the signature it must have.
            precision: not used: the plan says it.
            device: the GPU.
            threads: of the CPU; nothing is computed there.
            in_flight: batches that are on the GPU at once, for as many threads of the caller.

        Raises:
            UsageError: another device.
            BundleError: the plan cannot be loaded, or has another signature.
            CganError: the library or the GPU is not here, or has no memory left.
        """
        del precision, threads
        number = self._number(device)
        module = self.flavour.load()
        return TensorRtRunner(
            model,
            contract,
            driver=cuda.open_driver(number),
            flavour=self.flavour,
            module=module,
            contexts=in_flight,
        )

    def _number(self, device: str | None) -> int:
        kind, _, number = (device or "cuda").partition(":")
        if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
            raise UsageError(f"{self.flavour.name} has no device {device!r}; give cuda or cuda:N.")
        return int(number or 0)


TENSORRT_BACKEND: Final = TensorRtBackend(TENSORRT)
TENSORRT_RTX_BACKEND: Final = TensorRtBackend(TENSORRT_RTX)
