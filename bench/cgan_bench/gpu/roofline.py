"""The roofline of a card: what it can do at most, measured, and so the least time for the work of a generator.

    least time = max(flops / matmul rate, (weight bytes + value bytes) / copy rate)

No kernel is faster, unless it keeps values on the chip from one convolution to the next, or multiplies less
(Winograd); few come near. The rates are of an FP16 matrix product and of a copy, by PyTorch, as fast as they go. A
share of it means something only against the same card in the same minutes: clocks follow temperature and power.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from cgan_runtime.errors import CganError

__all__ = ["Ceiling", "Work", "floor_ms", "measure_ceiling"]

SIDE: Final = 8192  # of the matrices: 128 MB each, 1.1e12 operations
COPIED_BYTES: Final = 1 << 30
RUNS: Final = 20


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one image takes; the weights are read once for a batch."""

    flops: int
    weight_bytes: int
    value_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What a card was measured to do at most, in the same run.

    Attributes:
        tflops: 10^12 floating-point operations a second, of an FP16 matrix product.
        gb_s: 10^9 bytes a second, read and written, of a copy on the card.
    """

    tflops: float
    gb_s: float

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {"fp16_matmul_tflops": self.tflops, "copy_gb_per_s": self.gb_s}


def floor_ms(work: Work, batch: int, ceiling: Ceiling) -> float:
    """The least time of a batch."""
    computing = batch * work.flops / (ceiling.tflops * 1e12)
    moving = (work.weight_bytes + batch * work.value_bytes) / (ceiling.gb_s * 1e9)
    return max(computing, moving) * 1e3


def measure_ceiling(device: str = "cuda", *, side: int = SIDE, copied_bytes: int = COPIED_BYTES) -> Ceiling:
    """The best of some runs each, by events.

    Raises:
        CganError: no PyTorch here that has this GPU, or not enough memory on it.
    """
    if importlib.util.find_spec("torch") is None:
        raise CganError("torch is not installed")
    import torch

    try:
        left, right = (torch.randn(side, side, device=device).half() for _ in range(2))
        product = torch.empty_like(left)
        matmul_ms = _best_ms(lambda: torch.mm(left, right, out=product))
        source = torch.zeros(copied_bytes, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy_ms = _best_ms(lambda: target.copy_(source))
    except (RuntimeError, AssertionError) as error:  # of CUDA; AssertionError where this build has none
        text = " ".join(str(error).split())[:200]
        raise CganError(f"PyTorch cannot measure it ({text})") from error
    return Ceiling(tflops=2 * side**3 / matmul_ms / 1e9, gb_s=2 * copied_bytes / copy_ms / 1e6)


def _best_ms(call: Callable[[], object]) -> float:
    """GPU time of the fastest of the runs; all are put on the stream at once, so the card never waits."""
    import torch

    for _ in range(3):
        call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(RUNS + 1)]  # type: ignore[no-untyped-call]  # torch's
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return float(min(first.elapsed_time(second) for first, second in itertools.pairwise(events)))
