"""The least time for the work of a generator, on a machine of which it was measured what it can do at most.

    least time = max(flops / matmul rate, (weight bytes + value bytes) / copy rate)

No kernel is faster, unless it keeps values on the chip from one convolution to the next, or multiplies less
(Winograd); few come near. A share of it means something only against the same machine in the same minutes: clocks
follow temperature and power.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Ceiling", "Work", "floor_ms"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one image takes; the weights are read once for a batch.

    Attributes:
        flops: operations, 2 for each multiplication with its addition.
        weight_bytes: of the weights.
        value_bytes: of what is read and written besides.
        element_bytes: of each element of both.
    """

    flops: int
    weight_bytes: int
    value_bytes: int
    element_bytes: int = 2

    def in_elements_of(self, element_bytes: int) -> Work:
        """The same work on elements of another size."""
        return replace(
            self,
            weight_bytes=self.weight_bytes // self.element_bytes * element_bytes,
            value_bytes=self.value_bytes // self.element_bytes * element_bytes,
            element_bytes=element_bytes,
        )

    def moved_bytes(self, batch: int) -> int:
        """Read and written for a batch."""
        return self.weight_bytes + batch * self.value_bytes

    def flops_per_byte(self, batch: int) -> float:
        """Operations of a batch for each byte that it moves."""
        return batch * self.flops / self.moved_bytes(batch)

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """What a machine was measured to do at most in one precision, in the same run.

    Attributes:
        tflops: 10^12 operations a second, of a matrix product.
        gb_s: 10^9 bytes a second, read and written, of a copy in its memory.
    """

    tflops: float
    gb_s: float

    def to_json(self) -> dict[str, Any]:
        """The fields, of a GPU: its product is one of FP16."""
        return {"fp16_matmul_tflops": self.tflops, "copy_gb_per_s": self.gb_s}


def floor_ms(work: Work, batch: int, ceiling: Ceiling) -> float:
    """The least time of a batch."""
    computing = batch * work.flops / (ceiling.tflops * 1e12)
    moving = work.moved_bytes(batch) / (ceiling.gb_s * 1e9)
    return max(computing, moving) * 1e3
