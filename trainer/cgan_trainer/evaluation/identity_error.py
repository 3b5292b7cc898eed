"""Identity error: does a generator leave alone what is of its target domain (Zhu et al. 2017, section 5.2)?"""

from __future__ import annotations

from cgan_trainer.evaluation.base import Column, Figure, Measure
from cgan_trainer.evaluation.translated import Translated, grey_levels

__all__ = ["IDENTITY_ERROR"]


def _identity(translated: Translated) -> tuple[Figure, ...] | None:
    if translated.kept is None:
        return None
    each = grey_levels(translated.kept, translated.targets)
    return (Figure(value=each.mean().item(), each=tuple(each.tolist())),)


IDENTITY_ERROR = Measure(
    columns=(
        Column(
            key="identity",
            title="identity error",
            unit="grey levels, 0..255",
            better="lower",
            decimals=2,
            source="Zhu et al. 2017, section 5.2, between 8-bit images: mean |G(y) - y|, y of the target domain",
        ),
    ),
    function=_identity,
)
