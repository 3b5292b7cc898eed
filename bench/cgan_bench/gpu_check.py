"""What of ours runs on a CUDA GPU, checked and timed: ``python -m cgan_bench.gpu_check``.

Needs torch with CUDA, numpy and the source tree; pydantic, rich, cyclopts, platformdirs, jaxtyping and beartype may
be missing (see bare_machine.py). One table for each part:

1. the modes of PyTorch on the reference U-Net-256, with the roofline of the card (gpu_inference.py);
2. the CUDA seam of the runtime, and the noise that is drawn on the GPU (gpu_seam.py);
3. where Pillow is there, the loops of training (gpu_training.py).
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from cgan_bench.bare_machine import install_stand_ins
from cgan_bench.gpu_inference import HEADS, check
from cgan_bench.gpu_seam import check_seam
from cgan_bench.gpu_training import check_training

if TYPE_CHECKING:
    from cgan_bench.roofline.floor import Ceiling

__all__ = ["main", "no_gpu_reason"]


def no_gpu_reason() -> str | None:
    """Why PyTorch has no GPU here; None when it has one."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if torch.cuda.is_available():
        return None
    build = torch.version.cuda
    return "PyTorch finds no CUDA GPU" if build else f"this PyTorch ({torch.__version__}) is built without CUDA"


def _ceiling() -> tuple[Ceiling | None, str]:
    """What the card can do, and the line about it."""
    from cgan_bench.gpu.roofline import measure_ceiling

    try:
        ceiling = measure_ceiling()
    except Exception as error:  # noqa: BLE001 - without it the rest is still worth measuring
        return None, f"roofline: not known, {' '.join(str(error).split())[:160]}"
    return (
        ceiling,
        f"roofline: FP16 matrix product {ceiling.tflops:.0f} TFLOP/s, copy {ceiling.gb_s / 1e3:.2f} TB/s",
    )


def _state() -> str:
    """Clocks, power and temperature in a line."""
    from cgan_bench.gpu.nvml import gpu_state

    try:
        return f"GPU: {gpu_state().words}"
    except Exception as error:  # noqa: BLE001 - as above
        return f"GPU: clocks not known, {error}"


def main() -> int:
    """0 when everything ran and agrees, 5 when something does not, 1 without a GPU."""
    if reason := no_gpu_reason():
        sys.stderr.write(f"gpu-check: error: {reason}; run it on a machine with an NVIDIA GPU.\n")
        return 1
    install_stand_ins()
    import torch

    sys.stdout.write(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, U-Net-256, against FP32 CPU\n")
    ceiling, told = _ceiling()
    sys.stdout.write(f"{told}\n{_state()}\n{HEADS}\n")
    passed = True
    for result in check("cuda", {}, ceiling=ceiling):
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()
        passed = passed and result.passed
    sys.stdout.write(f"{_state()}\n")
    sys.stdout.write(f"{'library':<15}{'law of the CUDA seam':<46}\n")
    for held in check_seam():
        sys.stdout.write(f"{held}\n")
        sys.stdout.flush()
        passed = passed and held.passed
    if importlib.util.find_spec("PIL") is None:
        sys.stdout.write("training: not checked, Pillow is not installed\n")
        return 0 if passed else 5
    sys.stdout.write(f"{'training loop':<34}{'batch':>6}{'ms/step':>12}{'images/s':>10}{'times':>8}\n")
    for trained in check_training("cuda", {}):
        sys.stdout.write(f"{trained}\n")
        sys.stdout.flush()
        passed = passed and trained.passed
    return 0 if passed else 5


if __name__ == "__main__":
    sys.exit(main())
