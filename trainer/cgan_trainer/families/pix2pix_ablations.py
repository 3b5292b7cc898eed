"""The comparisons of the pix2pix paper, and what it found on Cityscapes.

Source of every figure: Isola et al. 2017. FCN-scores: tables 1 (losses), 2 (generator) and 3 (patch) for labels ->
photo, table 6 for photo -> labels. Another data set, size and segmenter give other figures: it is the order of the
rows that can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from cgan_trainer.configs.pix2pix import Pix2pixConfig
from cgan_trainer.families.base import Ablation, Variant

__all__ = ["ABLATIONS"]

_SOURCE: Final = (
    "The paper's figures are those of Isola et al. 2017 on Cityscapes. Other data, sizes and segmenters give other "
    "figures: compare the order of the rows."
)
_COLUMNS: Final = ("fcn_pixel", "fcn_class", "fcn_iou")
_TRUTH = (0.80, 0.26, 0.21)  # of real photographs, labels -> photo
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


def _losses(config: Pix2pixConfig) -> Ablation:
    found = _TO_PHOTO if config.direction == "AtoB" else _TO_LABELS
    return _table(_row(name, {"objective": name}, found.get(name)) for name in _LOSSES)


def _patch(config: Pix2pixConfig) -> Ablation:
    del config
    return _table(_row(f"{patch}x{patch}", {"patch": patch}, found) for patch, found in _PATCH.items())


def _generator(config: Pix2pixConfig) -> Ablation:
    del config
    return _table(
        _row(f"{net} {objective}", {"net": net, "objective": objective}, found)
        for (net, objective), found in _GENERATOR.items()
    )


def _dropout(config: Pix2pixConfig) -> Ablation:
    del config
    rows = (_row(f"dropout {placement}", {"dropout": placement}) for placement in ("paper", "port", "off"))
    return Ablation(variants=tuple(rows))


def _upsample(config: Pix2pixConfig) -> Ablation:
    """Not of the paper; Odena et al. 2016 show the checkerboard of transposed convolutions, without figures."""
    del config
    return Ablation(variants=tuple(_row(f"upsample {way}", {"upsample": way}) for way in ("transposed", "resize")))


def _table(rows: Iterable[Variant]) -> Ablation:
    return Ablation(variants=tuple(rows), references={"truth": _published(_TRUTH)}, source=_SOURCE)


def _published(found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(_COLUMNS, found, strict=True))


def _row(name: str, changes: Mapping[str, object], found: tuple[float, float, float] | None = None) -> Variant:
    return Variant(name=name, changes=changes, published=_published(found) if found else {})


ABLATIONS: Final[dict[str, Callable[[Pix2pixConfig], Ablation]]] = {
    "losses": _losses,
    "generator": _generator,
    "patch": _patch,
    "dropout": _dropout,
    "upsample": _upsample,
}
