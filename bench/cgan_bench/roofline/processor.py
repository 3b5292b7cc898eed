"""What this machine's processor can do at most, and so how near a row is to it.

fp32, bf16   a product of two square matrices by torch.mm; bf16 where the processor says that it has it
int8         the same by torch._int_mm and by ONNX Runtime's MatMulInteger: the better of the two
copy         of a block larger than any cache, by PyTorch; bytes read and written

Each is the best of some runs, with as many threads as the rows. FP16 is not: CPUs mostly compute it as FP32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from cgan_runtime.errors import CganError
from cgan_runtime.runners.base import Array

from cgan_bench.backends.base import missing_package
from cgan_bench.environment import usable_cores
from cgan_bench.roofline.floor import Ceiling, Work, floor_ms
from cgan_bench.roofline.work import work_of_target
from cgan_bench.target import Target
from cgan_bench.worker_client import Worker

__all__ = ["ELEMENT_BYTES", "Peaks", "Processor", "measure_peaks", "measure_processor"]

SIDE: Final = 2048  # of the matrices: 1.7e10 operations
COPIED_BYTES: Final = 1 << 28
RUNS: Final = 7
ELEMENT_BYTES: Final[Mapping[str, int]] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What was measured.

    Attributes:
        gops: 10^9 operations a second of a matrix product, by precision.
        gb_s: 10^9 bytes a second of a copy, read and written.
        how: what reached it, by precision.
    """

    gops: Mapping[str, float]
    gb_s: float
    how: Mapping[str, str] = field(default_factory=dict)

    def ceiling(self, precision: str) -> Ceiling | None:
        """In one precision; None where it was not measured."""
        return Ceiling(tflops=self.gops[precision] / 1e3, gb_s=self.gb_s) if precision in self.gops else None

    @property
    def words(self) -> str:
        """``FP32 193, BF16 431, INT8 877 GOP/s; copy 56 GB/s``."""
        rates = ", ".join(f"{name.upper()} {rate:.0f}" for name, rate in self.gops.items())
        return f"{rates} GOP/s; copy {self.gb_s:.0f} GB/s"

    def to_json(self) -> dict[str, Any]:
        """Plain values, units in the keys."""
        return {"matmul_gops": dict(self.gops), "matmul_by": dict(self.how), "copy_gb_per_s": self.gb_s}


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The processor and the work, once for a run; `problem` says why they are not known."""

    peaks: Peaks | None = None
    work: Work | None = None
    problem: str = ""

    def floor_ms(self, batch: int, precision: str) -> float | None:
        """The least time of a batch; None where it is not known."""
        ceiling = None if self.peaks is None else self.peaks.ceiling(precision)
        if self.work is None or ceiling is None:
            return None
        return floor_ms(self.work.in_elements_of(ELEMENT_BYTES[precision]), batch, ceiling)

    def notes(self) -> Iterator[str]:
        """What it can do, or why that is not known; nothing where nobody asked."""
        if self.peaks is not None:
            yield f"Measured of this machine: matrix product {self.peaks.words}."
        if self.problem:
            yield f"How near a row is to what this machine can do is not known: {self.problem}."


def measure_processor(target: Target, threads: int, say: Callable[[str], None]) -> Processor:
    """What the processor can do and what the generator needs, each in a process of its own.

    Args:
        target: with a bundle.
        threads: of each library; 0: as many as there are cores.
        say: told what is done.
    """
    if missing := missing_package("torch", "onnx", extra="export"):
        return Processor(problem=missing)
    say("measuring what the processor can do: matrix products and a copy")
    try:
        with Worker("the roofline") as worker:
            peaks = worker.run(measure_peaks, threads)
        with Worker("the work of the generator") as worker:
            work = worker.run(work_of_target, target)
    except CganError as error:
        return Processor(problem=str(error))
    return Processor(peaks=peaks, work=work)


def measure_peaks(threads: int, *, side: int = SIDE, copied_bytes: int = COPIED_BYTES) -> Peaks:
    """The best of some runs each, in this process."""
    import torch

    torch.set_num_threads(threads or usable_cores())  # OMP_NUM_THREADS is not every library's
    gops, how = {}, {}
    for name, dtype in {"fp32": torch.float32, **({"bf16": torch.bfloat16} if _has_bf16() else {})}.items():
        left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
        product = torch.empty_like(left)
        seconds = _best_seconds(partial(torch.mm, left, right, out=product))
        gops[name], how[name] = 2 * side**3 / seconds / 1e9, "torch.mm"
    whole = torch.randint(-127, 128, (side, side), dtype=torch.int8)
    found = {"torch._int_mm": _best_seconds(lambda: torch._int_mm(whole, whole))}
    found["MatMulInteger of ONNX Runtime"] = _best_seconds(_integer_product(whole.numpy(), threads))
    best = min(found, key=lambda name: found[name])
    gops["int8"], how["int8"] = 2 * side**3 / found[best] / 1e9, best
    source = torch.zeros(copied_bytes, dtype=torch.uint8)
    target = torch.empty_like(source)
    copy_seconds = _best_seconds(lambda: target.copy_(source))
    return Peaks(gops=gops, gb_s=2 * copied_bytes / copy_seconds / 1e9, how=how)


def _integer_product(weights: Array, threads: int) -> Callable[[], list[Array]]:
    """A product of unsigned values and signed weights, as a quantised layer is one."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    side = len(weights)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["values", "weights"], ["product"])],
        "product",
        [helper.make_tensor_value_info("values", TensorProto.UINT8, [side, side])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [side, side])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"values": np.full((side, side), 77, dtype=np.uint8)}
    return partial(session.run, None, feed)


def _best_seconds(call: Callable[[], object]) -> float:
    """Of the fastest of RUNS, after two that do not count."""
    found = []
    for _ in range(RUNS + 2):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return min(found[2:])


def _has_bf16() -> bool:
    """Whether the processor computes in bfloat16 itself (AVX512-BF16, AMX, Arm's BF16), as Linux tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return "bf16" in next((line for line in lines if line.startswith(("flags", "Features"))), "")
