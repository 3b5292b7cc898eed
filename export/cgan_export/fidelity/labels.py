"""Every fidelity figure carries a label: what it says, in the words of tables and model cards."""

from __future__ import annotations

from typing import Final, Literal

from cgan_runtime.contract import Contract, Output
from cgan_runtime.manifest import Figure

__all__ = ["MEANINGS", "Figures", "figure", "label_of", "limit_of", "of_output", "shortfalls", "value_of"]

# By key, in the order of a table.
Figures = dict[str, Figure]

MEANINGS: Final = {
    "parity_psnr": "PSNR to PyTorch, worst sample",
    "parity_max_abs": "difference from PyTorch, largest",
    "parity_ssim": "SSIM to PyTorch, worst sample",
    "parity_relative": "difference from PyTorch, largest, share of the scale",
    "probes_psnr": "PSNR on flat, drawn and noise images",
    "probes_max_abs": "difference on them, largest",
    "probes_ssim": "SSIM on them, worst image",
    "probes_relative": "difference on flat, drawn and noise images, share of the scale",
    "batch_levels": "in a batch or alone, 8-bit levels",
    "batch_relative": "in a batch or alone, share of the scale",
    "identical_rows_max_abs": "equal rows of a batch, difference",
    "other_seed_max_abs": "another seed, smallest change",
    "weakest_noise_input_max_abs": "weakest noise input, change",
    "spread_error_sigmas": "spread vs. PyTorch's, standard errors",
    "nonfinite_values": "NaN or infinity on extremes, values",
    "other_sizes_psnr": "PSNR at other sizes, worst",
    "other_sizes_relative": "difference at other sizes, share of the scale",
    "fp32_psnr": "PSNR to the FP32 artifact, worst sample",
    "fp32_max_abs": "difference from the FP32 artifact, largest",
    "fp32_ssim": "SSIM to the FP32 artifact, worst sample",
    "fp32_relative": "difference from the FP32 artifact, largest, share of the scale",
    "golden_levels": "golden images, 8-bit levels",
    "golden_changed": "golden images, share of values changed",
    "golden_relative": "golden values, share of the scale",
}


def figure(key: str, value: float, limit: float, rule: Literal["<=", ">="], unit: str = "") -> Figures:
    """One figure under its key, with the label of that key."""
    return {key: Figure(value=value, limit=limit, rule=rule, unit=unit, label=MEANINGS[key])}


def of_output(figures: Figures, contract: Contract, output: Output) -> Figures:
    """The figures of one output: those of the first keep their keys, those of others begin with its name.

    A second output `score` has `score.parity_relative`, labelled "score: difference from PyTorch, ...".
    """
    if output.name == contract.outputs[0].name:
        return figures
    return {
        f"{output.name}.{key}": value.model_copy(update={"label": f"{output.name}: {value.label}"})
        for key, value in figures.items()
    }


def label_of(key: str, measured: Figure) -> str:
    """The label of a figure; bundles of earlier releases have none in the file."""
    return measured.label or MEANINGS.get(key, key)


def value_of(measured: Figure) -> str:
    """What was measured, with its unit: "41.25 dB"."""
    return f"{measured.value:.4g} {measured.unit}".strip()


def limit_of(measured: Figure) -> str:
    """What it is held to: "at least 60 dB"."""
    bound = "at most" if measured.rule == "<=" else "at least"
    return f"{bound} {measured.limit:.4g} {measured.unit}".strip()


def shortfalls(figures: Figures) -> list[str]:
    """What is beyond its limit, in words: "PSNR to PyTorch, worst sample: 41.25 dB, needed at least 60 dB"."""
    return [
        f"{label_of(key, measured)}: {value_of(measured)}, needed {limit_of(measured)}"
        for key, measured in figures.items()
        if not measured.passed
    ]
