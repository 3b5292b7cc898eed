"""What is compared, and what the paper found on Cityscapes.

Source of every figure: Isola et al. 2017. FCN-scores: tables 1 (losses), 2 (generator) and 3 (patch) for labels ->
photo, table 6 for photo -> labels. Another data set, size and segmenter give other figures: it is the order of the
rows that can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cgan_trainer.training.config import Pix2pixConfig

__all__ = ["Variant", "What", "variants"]

What = Literal["losses", "patch", "generator", "dropout"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a comparison.

    Attributes:
        name: of the row and of its run folder.
        changes: of the options, against the command's.
        paper: FCN-scores on Cityscapes (per-pixel accuracy, per-class accuracy, class IoU), where it has them.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    paper: tuple[float, float, float] | None = None

    def folder(self, config: Pix2pixConfig) -> str:
        """Of its run: named by what differs, so that a variant of several comparisons is trained once."""
        differing = {name: value for name, value in self.changes.items() if getattr(config, name) != value}
        return "-".join(f"{name}-{value}" for name, value in sorted(differing.items())) or "as-given"

    def of(self, config: Pix2pixConfig) -> Pix2pixConfig:
        """The command's options with this variant's changes."""
        return replace(config, **self.changes)


_LOSSES = ("L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN")
_TO_PHOTO = {
    "L1": (0.42, 0.15, 0.11),
    "GAN": (0.22, 0.05, 0.01),
    "cGAN": (0.57, 0.22, 0.16),
    "L1+GAN": (0.64, 0.20, 0.15),
    "L1+cGAN": (0.66, 0.23, 0.17),
}
_TO_LABELS = {"L1": (0.86, 0.42, 0.35), "cGAN": (0.74, 0.28, 0.22), "L1+cGAN": (0.83, 0.36, 0.29)}
_PATCH = {1: (0.39, 0.15, 0.10), 16: (0.65, 0.21, 0.17), 70: (0.66, 0.23, 0.17), 286: (0.42, 0.16, 0.11)}
_GENERATOR = {
    ("encoder-decoder", "L1"): (0.35, 0.12, 0.08),
    ("encoder-decoder", "L1+cGAN"): (0.29, 0.09, 0.05),
    ("unet", "L1"): (0.48, 0.18, 0.13),
    ("unet", "L1+cGAN"): (0.55, 0.20, 0.14),
}


def variants(what: What, config: Pix2pixConfig) -> tuple[Variant, ...]:
    """The rows of a comparison, in the paper's order."""
    match what:
        case "losses":
            paper = _TO_PHOTO if config.direction == "AtoB" else _TO_LABELS
            return tuple(Variant(name=name, changes={"objective": name}, paper=paper.get(name)) for name in _LOSSES)
        case "patch":
            return tuple(
                Variant(name=f"{patch}x{patch}", changes={"patch": patch}, paper=figures)
                for patch, figures in _PATCH.items()
            )
        case "generator":
            return tuple(
                Variant(name=f"{net} {objective}", changes={"net": net, "objective": objective}, paper=figures)
                for (net, objective), figures in _GENERATOR.items()
            )
        case "dropout":
            return tuple(
                Variant(name=f"dropout {placement}", changes={"dropout": placement})
                for placement in ("paper", "port", "off")
            )
