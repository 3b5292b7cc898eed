"""The flags for files from other code: what such a file does not say. Needs no torch, so that --help does not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cgan_runtime.errors import BadInputError
from cyclopts import Parameter

if TYPE_CHECKING:
    from cgan_trainer.readers import Choices

__all__ = ["SourceFlags", "read_palette"]

MAX_CLASSES: Final = 256
MAX_PALETTE_BYTES: Final = 65_536


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
        palette: Text file with a colour on each line, #RRGGBB or R,G,B: what the net takes are label maps, one
            channel for each colour in this order.
    """

    direction: Literal["AtoB", "BtoA"] | None = None
    source: str | None = None
    target: str | None = None
    dropout: Annotated[bool | None, Parameter(negative="--no-dropout")] = None
    eps: float | None = None
    variant: str | None = None
    rounding: Literal["nearest", "truncate"] | None = None
    filter: Literal["bicubic", "bilinear", "box", "nearest"] | None = None
    palette: Path | None = None

    def choices(self) -> Choices:
        """The same for the readers."""
        from cgan_trainer.readers import Choices

        return Choices(**{**vars(self), "palette": None if self.palette is None else read_palette(self.palette)})


def read_palette(path: Path) -> tuple[tuple[int, int, int], ...]:
    """The colours in a text file, one a line, as RGB 0..255.

    Raises:
        BadInputError: the file cannot be read, a line is no colour, or a colour is there twice.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = stream.read(MAX_PALETTE_BYTES).split("\n")
    except (OSError, ValueError) as error:
        raise BadInputError(f"--palette {path} cannot be read as text ({error}).") from error
    colors = [_color(line, path) for line in lines if line.strip()]
    if not 2 <= len(set(colors)) == len(colors) <= MAX_CLASSES:
        raise BadInputError(
            f"--palette {path} has {len(colors)} colours, {len(set(colors))} of them different: give 2 to "
            f"{MAX_CLASSES} different ones."
        )
    return tuple(colors)


def _color(line: str, path: Path) -> tuple[int, int, int]:
    text = line.strip()
    if match := re.fullmatch(r"#?([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text):
        red, green, blue = (int(part, 16) for part in match.groups())
        return red, green, blue
    if match := re.fullmatch(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})", text, re.ASCII):
        red, green, blue = map(int, match.groups())
        if max(red, green, blue) <= 255:
            return red, green, blue
    raise BadInputError(f"--palette {path} has a line that is no colour ({text[:40]!r}): give #RRGGBB or R,G,B.")
