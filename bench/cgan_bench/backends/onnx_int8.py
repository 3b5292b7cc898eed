"""ONNX Runtime's own static quantisation of the plain export, as the library and optimum do it by default."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.runners.base import Array

from cgan_bench.backends.base import Backend, Opened, missing_package, opened_runner
from cgan_bench.backends.calibration import calibration_feeds
from cgan_bench.backends.torch_eager import NO_CHECKPOINT
from cgan_bench.target import Target

__all__ = ["OrtInt8", "write_ort_int8"]


@dataclass(frozen=True)
class OrtInt8(Backend):
    """What people get from quantize_static of the plain export: `file`, or the `problem` why there is none."""

    file: Path
    problem: str = ""

    @property
    def lossy(self) -> bool:
        """The library chooses what is quantised, and never looks at the outputs."""
        return True

    @property
    def key(self) -> str:
        """Name in JSON."""
        return "ort_static_int8"

    @property
    def title(self) -> str:
        """Name of the row."""
        return "ONNX Runtime, its INT8"

    def absence(self, target: Target) -> str | None:
        """It needs the plain export, and the file that is made of it."""
        if target.plain is None:
            return NO_CHECKPOINT
        return self.problem or missing_package("onnxruntime", "onnx", extra="export")

    def open(self, target: Target, *, threads: int) -> Opened:
        """Load the file with the session's defaults."""
        from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner

        assert target.contract is not None  # noqa: S101 - `absence` was asked first
        try:
            runner = OnnxRuntimeRunner(self.file.read_bytes(), target.contract, threads=threads, plain=True)
        except BundleError as error:  # the library's own file: the row is absent, and no bundle is damaged
            raise CganError(str(error)) from error
        return opened_runner(runner, target.size, precision="int8")


def write_ort_int8(plain: Path, contract: Contract, path: Path) -> None:
    """`quant_pre_process`, as the library asks for, and `quantize_static` with its defaults.

    Args:
        plain: the plain export.
        contract: with numbers for axes.
        path: of the ONNX file.
    """
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc] # the package ships no types
        def __init__(self) -> None:
            self.feeds: Iterator[dict[str, Array]] = iter(calibration_feeds(contract))

        def get_next(self) -> dict[str, Array] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory(prefix="cgan-bench-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, path, Reader())
