"""Free axes of a contract: sizes that follow the image.

An axis of a shape is a number, the name of a free size ("h", "w"), or that name with a whole factor: "h/64",
"2*h". A condition names its free sizes plainly, so its tensor says what they are; everything else, the noise
inputs first of all, is computed from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from cgan_runtime.contract import AXIS, MAX_ELEMENTS, SizeRule
from cgan_runtime.errors import UsageError

__all__ = ["axis_size", "bound_sizes", "nearest_size", "require_bearable", "require_legal", "shape_of"]

Sizes = Mapping[str, int]


def axis_size(axis: int | str, sizes: Sizes) -> int:
    """The number an axis stands for.

    Raises:
        UsageError: a free size that no condition binds, or one that does not divide.
    """
    if isinstance(axis, int):
        return axis
    match = AXIS.match(axis)
    if match is None or match["name"] not in sizes:
        raise UsageError(f"the axis {axis} follows a size that no condition gives.")
    size, by = sizes[match["name"]] * int(match["times"] or 1), int(match["by"] or 1)
    if size % by:
        raise UsageError(
            f"{match['name']} = {sizes[match['name']]} does not fit {axis}; a multiple of {by} is needed."
        )
    return size // by


def shape_of(shape: Iterable[int | str], sizes: Sizes) -> tuple[int, ...]:
    """The shape with every axis a number.

    Raises:
        UsageError: as `axis_size`.
    """
    return tuple(axis_size(axis, sizes) for axis in shape)


def bound_sizes(shapes: Iterable[tuple[tuple[int | str, ...], tuple[int, ...]]]) -> dict[str, int]:
    """Free sizes from (shape in the contract, shape given) of every condition.

    Raises:
        UsageError: two conditions give one size differently.
    """
    sizes: dict[str, int] = {}
    for wanted, given in shapes:
        if len(wanted) != len(given):
            continue  # the runner's check will say so, with the tensor's name
        for axis, size in zip(wanted, given, strict=True):
            if isinstance(axis, str) and len(axis) == 1 and sizes.setdefault(axis, size) != size:
                raise UsageError(f"the conditions disagree on {axis}: {sizes[axis]} and {size}.")
    return sizes


def require_legal(sizes: Sizes, sides: SizeRule | None) -> None:
    """Stop at a height or width that the generator does not take.

    Raises:
        UsageError: says what was given and what is needed.
    """
    if sides is not None and not all(sides.takes(size) for size in sizes.values()):
        given = "x".join(str(sizes[name]) for name in ("w", "h") if name in sizes)
        raise UsageError(
            f"an image of {given} was given; each side must be a multiple of {sides.multiple}, from {sides.min} "
            f"to {sides.max}."
        )


def require_bearable(shapes: Iterable[tuple[int | str, ...]], sizes: Sizes) -> None:
    """Stop at tensors too large for any machine, before one of them is allocated.

    Args:
        shapes: of the tensors of one sample.
        sizes: of the free axes.

    Raises:
        UsageError: more than MAX_ELEMENTS values in all; also as `axis_size`.
    """
    count = sum(prod(shape_of(shape, sizes)) for shape in shapes)
    if count > MAX_ELEMENTS:
        raise UsageError(
            f"one sample has {count:.3g} values in its tensors; at most {MAX_ELEMENTS:.3g} are allowed, so take a "
            "smaller image or another model."
        )


def nearest_size(side: int, rule: SizeRule) -> int:
    """The legal size nearest to `side`; of two equally near ones the larger."""
    whole = (side + rule.multiple // 2) // rule.multiple * rule.multiple
    return min(max(whole, rule.min), rule.max)
