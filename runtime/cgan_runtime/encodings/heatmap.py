"""Heatmaps: a value per pixel, drawn as a PNG in colours over the range of the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from cgan_runtime.contract import HeatmapEncoding, Output
from cgan_runtime.encodings.base import Array, Decoder, JsonObject
from cgan_runtime.encodings.image import png_of_size

__all__ = ["COLORS", "HeatmapDecoder", "heatmap_pixels"]

Pixels = npt.NDArray[np.uint8]
Share = npt.NDArray[np.float64]


class HeatmapDecoder(Decoder):
    """Gives a PNG."""

    suffix: ClassVar[str] = ".png"
    is_image: ClassVar[bool] = True

    def decode(
        self,
        array: Array,
        output: Output,
        *,
        text: Mapping[str, str] | None = None,
        size: tuple[int, int] | None = None,
    ) -> bytes | JsonObject:
        """The PNG of a tensor [1, H, W] in the colours of its encoding."""
        assert isinstance(output.encoding, HeatmapEncoding)  # noqa: S101 - chosen by the encoding's kind
        assert output.range is not None  # noqa: S101 - the contract asks for it
        return png_of_size(heatmap_pixels(array[0], output.range, output.encoding.colors), text, size, "bilinear")


def heatmap_pixels(values: Array, limits: tuple[float, float], colors: str = "heat") -> Pixels:
    """Values [H, W] as pixels [H, W, 3] ("heat") or [H, W] ("grey").

    ``share = (value - low) / (high - low)``, clamped to 0..1; what is not a number is drawn like `high`.

    Args:
        values: any real dtype.
        limits: (low, high).
        colors: a name of `COLORS`.
    """
    low, high = limits
    wide = np.nan_to_num(values.astype(np.float64), nan=high, posinf=high, neginf=low)
    share = np.clip((wide - low) / ((high - low) or 1.0), 0, 1)
    return np.rint(COLORS[colors](share) * 255).astype(np.uint8)


def _heat(share: Share) -> Share:
    """Black, red at a third, yellow at two thirds, white."""
    return np.clip(np.stack((share * 3, share * 3 - 1, share * 3 - 2), axis=-1), 0, 1)


def _grey(share: Share) -> Share:
    return share


COLORS: Final[dict[str, Callable[[Share], Share]]] = {"heat": _heat, "grey": _grey}
