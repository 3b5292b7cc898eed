"""The inputs that other people's quantisers are given of the workload."""

from __future__ import annotations

from typing import Final

from cgan_runtime.contract import Contract
from cgan_runtime.runners.base import Array

from cgan_bench.workload import inputs_for

__all__ = ["calibration_feeds"]

CALIBRATION_IMAGES: Final = 16
CALIBRATION_SEED: Final = 2**62  # above all that rounds have, below the fresh ones of the audit


def calibration_feeds(contract: Contract) -> list[dict[str, Array]]:
    """Inputs [1, ...] that no round and no audit uses."""
    return [inputs_for(contract, [CALIBRATION_SEED + number]) for number in range(CALIBRATION_IMAGES)]
