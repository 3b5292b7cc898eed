"""What each fidelity figure says, in the words of tables and model cards."""

from __future__ import annotations

from typing import Final

__all__ = ["MEANINGS"]

# The keys are the manifest's.
MEANINGS: Final = {
    "parity_psnr": "PSNR to PyTorch, worst sample",
    "parity_max_abs": "difference from PyTorch, largest",
    "parity_ssim": "SSIM to PyTorch, worst sample",
    "batch_levels": "in a batch or alone, 8-bit levels",
    "identical_rows_max_abs": "equal rows of a batch, difference",
    "other_seed_max_abs": "another seed, smallest change",
    "weakest_noise_input_max_abs": "weakest noise input, change",
    "spread_error_sigmas": "spread vs. PyTorch's, standard errors",
    "nonfinite_values": "NaN or infinity on extremes, values",
    "other_sizes_psnr": "PSNR at other sizes, worst",
    "fp32_psnr": "PSNR to the FP32 artifact, worst sample",
    "fp32_ssim": "SSIM to the FP32 artifact, worst sample",
    "golden_levels": "golden pictures, 8-bit levels",
}
