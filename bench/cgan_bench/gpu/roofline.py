"""What a card can do at most, measured by PyTorch: an FP16 matrix product and a copy, as fast as they go."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from typing import Final

from cgan_runtime.errors import CganError

from cgan_bench.roofline.floor import Ceiling

__all__ = ["measure_ceiling"]

SIDE: Final = 8192  # of the matrices: 128 MB each, 1.1e12 operations
COPIED_BYTES: Final = 1 << 30
RUNS: Final = 20


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
