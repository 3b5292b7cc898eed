"""Values of more than 8 bits to 0..255: which range they are meant in, and the one rounding.

A file says how many bits a value is stored in, not how many are used: cameras write 10, 12 or 14 bits into 16, and
floats go to 1 or to 255. The range is recognised by the largest value, over a whole dataset where there is one,
else over the one image: the same image then always gives the same result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from cgan_runtime.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image as PilImage

__all__ = [
    "AUTO",
    "PLAIN",
    "Extent",
    "Limits",
    "Range",
    "is_wide",
    "parse_range",
    "range_of",
    "to_8_bit",
    "wide_values",
    "with_all_bits",
]

Range = tuple[float, float]
AUTO: Final = "auto"
# A mask or unit floats; 8, 10, 12, 14 and 16 bits.
OVERSHOOT: Final = 0.05
TOPS: Final = (1, 255, 1023, 4095, 16383, 65535)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The smallest and the largest value of one or more images."""

    low: float
    high: float

    def joined(self, other: Extent) -> Extent:
        """That of both together."""
        return Extent(low=min(self.low, other.low), high=max(self.high, other.high))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The ranges that values of more than 8 bits are meant in.

    Attributes:
        integers: of integers; None: the usual range that holds those of the one image.
        floats: of floats, likewise.
    """

    integers: Range | None = None
    floats: Range | None = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Of the values that `dataclasses.asdict` gives, also after JSON.

        Raises:
            TypeError, ValueError: they are none.
        """
        return cls(**{kind: None if ends is None else _range(*ends) for kind, ends in plain.items()})


PLAIN: Final = Limits()


def is_wide(mode: str) -> bool:
    """Whether Pillow's mode holds more than 8 bits a value: "I;16", "I", "F" and their kind."""
    return mode.startswith(("I", "F"))


def wide_values(image: PilImage.Image, called: str) -> npt.NDArray[Any]:
    """The values [H, W] of a grey image of more than 8 bits, as they are stored.

    Raises:
        ImageError: one is NaN or infinite.
    """
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ImageError(f"{called} holds values that are no finite numbers: replace or remove it.")
    return values


def with_all_bits(image: PilImage.Image) -> PilImage.Image:
    """The image; as floats where it is a TIFF of unsigned 32 bits whose large values Pillow takes for negative."""
    from PIL import Image

    tags: Any = getattr(image, "tag_v2", {})
    if image.mode != "I" or tags.get(258) != (32,) or tags.get(339, (1,)) != (1,):
        return image
    values = np.asarray(image).view(np.uint32)
    return Image.fromarray(values.astype(np.float32)) if values.max() >= 2**31 else image


def _range(low: float, high: float) -> Range:
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"a range goes up, not from {low} to {high}")
    return (float(low), float(high))


def range_of(extent: Extent, *, floats: bool) -> Range | None:
    """The range that values of this extent are meant in; None where no usual one holds them.

    0..1, 0..255, 0..1023, 0..4095, 0..16383 or 0..65535, the smallest that does; floats with negative values -1..1.
    Floats may lie outside by a twentieth: resampling and rounding overshoot.
    """
    over = OVERSHOOT if floats else 0.0
    for top in TOPS:
        if extent.low >= -over * top and extent.high <= top * (1 + over):
            return (0.0, float(top))
        if floats and top == 1 and max(-extent.low, extent.high) <= 1 + over:
            return (-1.0, 1.0)
    return None


def parse_range(text: str) -> Range | None:
    """None for "auto", 0..4095 for "4095", and -1000..1000 for "-1000,1000".

    Raises:
        ValueError: it is none of these.
    """
    if text == AUTO:
        return None
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    if re.fullmatch(rf"(?:{number},)?{number}", text):
        *low, high = (float(word) for word in text.split(","))
        if np.isfinite(high) and (low[0] if low else 0.0) < high:
            return (low[0] if low else 0.0, high)
    raise ValueError(f"{text!r} is no range: give auto, the largest value (4095), or both ends (-1000,1000)")


def to_8_bit(values: npt.NDArray[Any], limits: Limits, called: str) -> npt.NDArray[np.uint8]:
    """Values as 0..255, rounded to the nearest, cut at the ends of the range.

    Args:
        values: of any real dtype.
        limits: the ranges of integers and of floats.
        called: the image, for the message.

    Raises:
        ImageError: no usual range holds them.
    """
    floats = values.dtype.kind == "f"
    chosen = limits.floats if floats else limits.integers
    if chosen is None:
        extent = Extent(low=float(values.min()), high=float(values.max()))
        chosen = range_of(extent, floats=floats)
        if chosen is None:
            raise ImageError(
                f"{called} has values from {extent.low:.6g} to {extent.high:.6g}, which is no usual range (0..1, "
                "0..255, 0..4095, 0..65535, -1..1): scale them to one, or train with --range LOW,HIGH."
            )
    low, high = chosen
    share = (values.astype(np.float64) - low) / (high - low)
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)
