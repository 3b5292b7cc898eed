"""The rows of other people's tools, with the files that those tools make of the plain export.

A file is made once for a run, before the timing, and in a process of its own: in the process of its row the tool
would count as memory of the row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError

from cgan_bench.backends import Backend, NncfInt8, OpenVinoPlain, OrtInt8, TorchEager
from cgan_bench.backends.onnx_int8 import write_ort_int8
from cgan_bench.backends.openvino_int8 import write_nncf_int8
from cgan_bench.sizes import at_size
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker

__all__ = ["peer_backends"]

# Writes the quantised file: plain export, contract with numbers for axes, where to.
Quantize = Callable[[Path, Contract, Path], None]
QUANTIZED: Final[tuple[tuple[type[NncfInt8 | OrtInt8], Quantize, str], ...]] = (
    (NncfInt8, write_nncf_int8, "nncf_int8.xml"),
    (OrtInt8, write_ort_int8, "ort_int8.onnx"),
)


def peer_backends(target: Target, folder: Path, say: Callable[[str], None]) -> list[Backend]:
    """What else people would run on this CPU; files are made in the folder. A tool that fails is an absent row."""
    rows: list[Backend] = [TorchEager(channels_last=True), OpenVinoPlain()]
    for kind, quantize, name in QUANTIZED:
        row = kind(folder / name)
        if row.absence(target) is None:
            say(f"making the file of {row.title}")
            row = kind(folder / name, problem=_problem(target, row, quantize))
        rows.append(row)
    return rows


def _problem(target: Target, row: NncfInt8 | OrtInt8, quantize: Quantize) -> str:
    """Why the tool made no file; empty where it did."""
    assert target.plain is not None and target.contract is not None  # noqa: S101 - `absence` was asked first
    try:
        with Worker(row.title) as worker:
            worker.run(quantize, target.plain, at_size(target.contract, target.size), row.file)
    except CganError as error:
        return f"its file was not made ({error})"
    return "" if row.file.exists() else "its file was not made"
