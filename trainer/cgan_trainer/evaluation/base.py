"""What a measure is given, and what it gives back. Images are 8 bits, as a user gets them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

__all__ = [
    "Column",
    "Compared",
    "Embed",
    "Figure",
    "ImageSets",
    "Labels",
    "Measure",
    "as_rgb",
    "columns",
    "measure",
]

Better = Literal["lower", "higher", "neither"]
Embed = Callable[[UInt8[Tensor, "n c h w"]], Float[Tensor, "n d"]]  # images to feature vectors


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The true class of every pixel, and how the classes of an image are found.

    Attributes:
        true: classes of the truth, at the size at which `classify` answers.
        count: how many classes there are.
        classify: images to classes: a segmenter, or the nearest colour of the palette.
    """

    true: Int64[Tensor, "n h w"]
    count: int
    classify: Callable[[UInt8[Tensor, "n c h w"]], Int64[Tensor, "n h w"]]


@dataclass(frozen=True, kw_only=True)
class ImageSets:
    """Images beside real ones, as sets: what measures of whole sets need.

    Attributes:
        images: what is judged, 0..255.
        targets: real images to compare with; row i is not the target of image i, unless a subclass says so.
        samples: some conditions drawn with k seeds each; None where there is no seed.
        labels: for each image; None where the dataset has no labels.
        embed: images to feature vectors; None where the feature net is not installed.
    """

    images: UInt8[Tensor, "n c h w"]
    targets: UInt8[Tensor, "m c2 h2 w2"]
    samples: UInt8[Tensor, "s k c h w"] | None = None
    labels: Labels | None = None
    embed: Embed | None = None


@dataclass(frozen=True, kw_only=True)
class Compared(ImageSets):
    """Images, each beside its own target.

    Raises:
        ValueError: images and targets differ in shape, or there are none.
    """

    def __post_init__(self) -> None:
        if self.images.shape != self.targets.shape or len(self.images) == 0:
            raise ValueError(
                f"images {tuple(self.images.shape)} and targets {tuple(self.targets.shape)} must have the same "
                "shape, with at least one image."
            )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number; for some measures with its spread or its value per image.

    Attributes:
        value: may be infinite (the PSNR of equal images).
        spread: one standard deviation, or what the unit of the column says.
        each: per image, in their order; empty where a measure is of the whole set only.
    """

    value: float
    spread: float | None = None
    each: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """How a figure is named, read and printed.

    Attributes:
        key: in JSON.
        title: in a table.
        unit: of the value.
        better: which figures are better; "neither" where more is not better in itself.
        decimals: printed.
        source: the paper or formula.
    """

    key: str
    title: str
    unit: str
    better: Better
    decimals: int
    source: str


T_contra = TypeVar("T_contra", contravariant=True)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Measure(Generic[T_contra]):
    """Figures that are computed together, one for each column.

    Attributes:
        columns: what the figures are.
        function: from what is judged to its figures; None where what the measure needs is absent.
    """

    columns: tuple[Column, ...]
    function: Callable[[T_contra], tuple[Figure, ...] | None]


def columns(measures: Iterable[Measure[T]]) -> tuple[Column, ...]:
    """The columns of several measures, in their order."""
    return tuple(column for one in measures for column in one.columns)


def measure(measures: Iterable[Measure[T]], given: T) -> dict[str, Figure]:
    """Every figure that can be measured, by the key of its column; what lacks its means is left out."""
    figures: dict[str, Figure] = {}
    for one in measures:
        found = one.function(given)
        if found is not None:
            figures.update(zip((column.key for column in one.columns), found, strict=True))
    return figures


def as_rgb(images: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n 3 h w"]:
    """Grey images as three equal channels; others as they are."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
