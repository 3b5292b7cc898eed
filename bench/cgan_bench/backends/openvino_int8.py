"""NNCF's post-training quantisation of the plain export with its defaults, on OpenVINO with its own."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.contract import Contract
from cgan_runtime.runners.openvino import shared_core, without_telemetry

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.backends.calibration import calibration_feeds
from cgan_bench.backends.openvino_plain import DefaultOpenVino
from cgan_bench.backends.torch_eager import NO_CHECKPOINT
from cgan_bench.target import Target

__all__ = ["NncfInt8", "write_nncf_int8"]


@dataclass(frozen=True)
class NncfInt8(Backend):
    """What people get from nncf.quantize of the plain export: `file`, or the `problem` why there is none."""

    file: Path
    problem: str = ""

    @property
    def lossy(self) -> bool:
        """NNCF chooses what is quantised, and never looks at the outputs."""
        return True

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "openvino_nncf_int8"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "OpenVINO, NNCF's INT8"

    def absence(self, target: Target) -> str | None:
        """It needs both packages, the plain export, and the file that is made of it."""
        if target.plain is None:
            return NO_CHECKPOINT
        return self.problem or missing_package("openvino", "nncf", extra="openvino")

    def open(self, target: Target, *, threads: int) -> Opened:
        """Compile the file with the defaults."""
        assert target.contract is not None  # noqa: S101 - `absence` was asked first
        return opened_runner(
            DefaultOpenVino(self.file, target.contract, threads=threads), target.size, precision="int8"
        )


def write_nncf_int8(plain: Path, contract: Contract, path: Path) -> None:
    """`nncf.quantize` with its defaults, as OpenVINO's own format; calibrated on inputs of the workload.

    Args:
        plain: the plain export.
        contract: with numbers for axes.
        path: of the .xml; the weights stand beside it.
    """
    with without_telemetry():
        import nncf
        import openvino
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars have no switch
        quantized = nncf.quantize(shared_core().read_model(plain), nncf.Dataset(calibration_feeds(contract)))
    openvino.save_model(quantized, path)
