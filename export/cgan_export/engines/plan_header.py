"""The first 64 bytes of a TensorRT-RTX plan: for which compute capabilities it was built.

NVIDIA does not document them. The mask was read off plans built for one capability after the other by TensorRT-RTX
1.7.1; a test builds such plans again and compares. Bit 6, set by default, has no public name and is passed over.
"""

from __future__ import annotations

from typing import Final

from cgan_runtime.errors import CganError

__all__ = ["HEADER_BYTES", "targets_of"]

HEADER_BYTES: Final = 64  # what Runtime.get_engine_validity asks for
MAGIC: Final = b"vtrt"
MASK_AT: Final = 0x20
BITS: Final = {"sm75": 1, "sm80": 2, "sm86": 4, "sm89": 8, "sm120": 16, "sm121": 32}


def targets_of(plan: bytes) -> tuple[str, ...]:
    """The compute capabilities, ascending: ("sm86", "sm89").

    Raises:
        CganError: no plan of TensorRT-RTX, or one that names no capability we know.
    """
    mask = int.from_bytes(plan[MASK_AT : MASK_AT + 4], "little")
    targets = tuple(name for name, bit in BITS.items() if mask & bit)
    if len(plan) < HEADER_BYTES or not plan.startswith(MAGIC) or not targets:
        raise CganError("the plan's header does not say for which GPUs it was built; use TensorRT-RTX 1.7.")
    return targets
