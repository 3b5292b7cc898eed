"""The eps trap of PyTorch-GAN: `nn.BatchNorm2d(n, 0.8)` sets eps where momentum was meant.

The nets were trained with it, so it is part of them, and no file says it. Forks that repaired the slip have the
same keys: they are a named variant.
"""

from __future__ import annotations

from cgan_runtime.errors import UsageError

from cgan_trainer.readers.base import Notes

__all__ = ["SOURCE_EPS", "choose_norm_eps"]

SOURCE_EPS = 0.8
REPAIRED_EPS = 1e-5
VARIANTS = {"eps-0.8": SOURCE_EPS, "eps-1e-5": REPAIRED_EPS}


def choose_norm_eps(notes: Notes) -> float:
    """Eps of the batch norms, from --eps, from --variant, or 0.8 as the source has it."""
    notes.used |= {"eps", "variant"}
    variant, eps = notes.choices.variant, notes.choices.eps
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"--variant {variant} is not known here; known: {', '.join(VARIANTS)}.")
    if eps is not None:
        if variant is not None or not 0 < eps <= 10:
            raise UsageError(f"--eps {eps:g} must be above 0, at most 10, and goes without --variant.")
        return eps
    if variant is not None:
        return VARIANTS[variant]
    notes.assumed.append(f"batch norm with eps {SOURCE_EPS}, as the source writes it (--variant eps-1e-5)")
    return SOURCE_EPS
