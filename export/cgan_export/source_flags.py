"""The flags for files from other code: what such a file does not say. Needs no torch, so that --help does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from cgan_trainer.readers import Choices

__all__ = ["SourceFlags"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """What files from other code leave open. Left out: the source's own default, printed and recorded.

    Args:
        direction: Which way the data went; names the two sides (and chooses, where a file holds two generators).
        source: What the condition shows, for example labels.
        target: What the image shows, for example photo.
        dropout: Dropout live, or off: one image per condition.
        eps: Of every norm.
        variant: A known deviation of a layout: eps-1e-5, affine-norm.
        rounding: How values become 8-bit pixels.
        filter: How images of another size are resampled.
    """

    direction: Literal["AtoB", "BtoA"] | None = None
    source: str | None = None
    target: str | None = None
    dropout: Annotated[bool | None, Parameter(negative="--no-dropout")] = None
    eps: float | None = None
    variant: str | None = None
    rounding: Literal["nearest", "truncate"] | None = None
    filter: Literal["bicubic", "bilinear", "box", "nearest"] | None = None

    def choices(self) -> Choices:
        """The same for the readers."""
        from cgan_trainer.readers import Choices

        return Choices(**vars(self))
