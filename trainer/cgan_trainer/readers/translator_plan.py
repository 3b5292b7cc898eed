"""What the readers of image-to-image nets share: sides, sizes, dropout, the plan of a translator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from cgan_runtime.contract import ImageEncoding, Statistics
from cgan_runtime.errors import UsageError
from torch import nn

from cgan_trainer.families.translator import ImageSpec, ImageTranslator
from cgan_trainer.nets.one_hot import OneHot
from cgan_trainer.readers.base import Entry, Filter, Notes, Plan

__all__ = ["choose_eps", "choose_size", "sides", "sizes_that_fit", "translator_plan"]

MAX_SIDE: Final = 8192
COLORS: Final[dict[int, Literal["L", "RGB", "RGBA"]]] = {1: "L", 3: "RGB", 4: "RGBA"}


def sides(notes: Notes, *, rounding: str, filter_: str, direction: str = "AtoB") -> dict[str, Any]:
    """Meaning of both sides and the source's way from pixels to values and back.

    Returns:
        "source" and "target" in words, "filter" and "rounding", and the "palette" where there is one.
    """
    direction = notes.direction or direction
    way = notes.choose("direction", direction, f"direction {direction[0]} to {direction[-1]}", "--direction")
    ends = {"source": way[0], "target": way[-1]}
    for name, default in ends.items():
        notes.used.add(name)
        ends[name] = getattr(notes.choices, name) or default
    ends["filter"] = notes.choose(
        "filter", filter_, f"images resized with {filter_}, not keeping aspect", "--filter"
    )
    notes.used.add("palette")
    ends["palette"] = notes.choices.palette
    ends["rounding"] = notes.choose("rounding", rounding, f"pixel values rounded by {rounding}", "--rounding")
    return ends


def choose_size(notes: Notes, default: int, multiple: int, why: str) -> tuple[int, int]:
    """The size of the condition.

    Raises:
        UsageError: the net cannot take it.
    """
    height, width = notes.choose("size", (default, default), f"size {default}x{default}", "--size")
    if height % multiple or width % multiple or not multiple <= min(height, width):
        raise UsageError(
            f"--size {width}x{height} does not fit: {why}, so width and height must be multiples of {multiple}; "
            f"{sizes_that_fit(height, width, multiple)}."
        )
    if max(height, width) > MAX_SIDE:
        raise UsageError(f"--size {width}x{height} is too large: at most {MAX_SIDE} a side.")
    return height, width


def sizes_that_fit(height: int, width: int, multiple: int, least: int = 1, most: int = MAX_SIDE) -> str:
    """The nearest sizes whose sides are multiples, as a user types them: "720x404 and 720x408 fit".

    Args:
        height: that was asked for.
        width: that was asked for.
        multiple: of which both sides must be multiples.
        least: for a side; the smallest multiple from here on.
        most: for a side.
    """

    def fitting(side: int, *, up: bool) -> int:
        whole = -(-side // multiple) if up else side // multiple
        low, high = -(-least // multiple), most // multiple
        return min(max(whole, low), high) * multiple

    sizes = [f"{fitting(width, up=up)}x{fitting(height, up=up)}" for up in (False, True)]
    return f"{sizes[0]} and {sizes[1]} fit" if sizes[0] != sizes[1] else f"{sizes[0]} fits"


def choose_eps(notes: Notes, default: float) -> float:
    """The eps of the norms."""
    eps = float(notes.choose("eps", default, f"eps {default:g}", "--eps"))
    if not 0 < eps <= 10:
        raise UsageError(f"--eps {eps:g} is out of range: above 0, at most 10.")
    return eps


def translator_plan(
    make_net: Callable[[], nn.Module],
    entries: Mapping[str, Entry],
    *,
    channels: tuple[int, int],
    size: tuple[int, int],
    ends: Mapping[str, Any],
    statistics: Statistics,
    options: Mapping[str, Any],
    unused: frozenset[str] = frozenset(),
    mean: tuple[float, ...] = (0.5, 0.5, 0.5, 0.5),
    std: tuple[float, ...] = (0.5, 0.5, 0.5, 0.5),
) -> Plan:
    """The plan of an ImageTranslator: 1, 3 or 4 channels are images, others raw tensors, or classes of a palette.

    Args:
        make_net: the net itself.
        entries: its tensors in the file.
        channels: in and out.
        size: (height, width).
        ends: what is said of both sides ("source", "target", "filter", "rounding", "palette").
        statistics: what its normalisation goes by.
        options: of the net, to write down.
        unused: tensors of the file that are not needed.
        mean: of red (or grey), green, blue and alpha as pixel / 255, of both sides; as many as there are channels.
        std: the same.

    Raises:
        UsageError: the palette has another number of colours than the net has channels.
    """
    palette = ends.get("palette")
    if palette is not None and len(palette) != channels[0]:
        raise UsageError(
            f"--palette has {len(palette)} colours, but this net takes {channels[0]} channels: give one colour for "
            "each class, in their order."
        )
    one_hot = OneHot(palette) if palette is not None else None

    def side(name: str, count: int, filter_: Filter) -> ImageSpec:
        if count not in COLORS:
            return ImageSpec(meaning=ends[name], encoding=None)
        return ImageSpec(
            meaning=ends[name],
            encoding=ImageEncoding(
                color=COLORS[count],
                mean=mean[:count],
                std=std[:count],
                filter=filter_,
                rounding=ends["rounding"],
            ),
        )

    return Plan(
        make=lambda: ImageTranslator(
            make_net(),
            c_in=channels[0] if one_hot is None else 3,
            size=size,
            source=side("source", channels[0], ends["filter"]) if one_hot is None else side("source", 3, "nearest"),
            target=side("target", channels[1], ends["filter"]),
            statistics=statistics,
            one_hot=one_hot,
        ),
        entries=entries,
        options={**options, "in_channels": channels[0], "out_channels": channels[1], "size": list(size), **ends},
        unused=unused,
        constants={} if one_hot is None else {"one_hot.colors": one_hot.colors},
    )
