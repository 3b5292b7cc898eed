"""Profiles of an engine: the ranges of shapes that it was built for, and how a batch is cut to fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cgan_runtime.errors import UsageError

__all__ = ["Part", "ProfileRange", "Shape", "Shapes", "parts_of"]

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # of every input by name, batch first


@dataclass(frozen=True, kw_only=True)
class ProfileRange:
    """The smallest and the largest shape of every input in one profile.

    Attributes:
        number: of the profile in the engine.
        smallest: [N, ...] by input.
        largest: the same.
    """

    number: int
    smallest: Shapes
    largest: Shapes

    @property
    def batch(self) -> tuple[int, int]:
        """The smallest and the largest batch that every input allows."""
        return max(s[0] for s in self.smallest.values()), min(s[0] for s in self.largest.values())

    def takes_sample(self, shapes: Shapes) -> bool:
        """Whether the sizes of one sample are in range, whatever the batch."""
        return all(
            low <= axis <= high
            for name, shape in shapes.items()
            for low, axis, high in zip(self.smallest[name][1:], shape[1:], self.largest[name][1:], strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows `first` .. `first + rows - 1` of a batch, run as a batch of `size` >= rows; the last row is repeated."""

    first: int
    rows: int
    size: int
    profile: ProfileRange


def parts_of(profiles: Sequence[ProfileRange], shapes: Shapes) -> list[Part]:
    """The parts that a batch is run in, in order.

    One part where a profile holds the batch: of several the one with the smallest range of batches, which was tuned
    for it most narrowly. A batch beyond the largest is cut, a batch below the smallest is filled up.

    Args:
        profiles: of the engine.
        shapes: [N, ...] of every input.

    Raises:
        UsageError: no profile takes the sizes.
    """
    fitting = [profile for profile in profiles if profile.takes_sample(shapes)]
    if not fitting:
        raise UsageError(_no_profile(profiles, shapes))
    most = max(fitting, key=lambda profile: profile.batch[1])
    left = next(iter(shapes.values()))[0]
    first, parts = 0, []
    while left:
        rows = min(left, most.batch[1])
        profile, size = _profile_for(fitting, rows)
        parts.append(Part(first=first, rows=rows, size=size, profile=profile))
        first, left = first + rows, left - rows
    return parts


def _profile_for(fitting: Sequence[ProfileRange], rows: int) -> tuple[ProfileRange, int]:
    """The profile for so many rows and the batch they are run as."""
    able = [profile for profile in fitting if profile.batch[1] >= rows]
    # The least filling up, then the narrowest range, then the first.
    best = min(able, key=lambda p: (max(p.batch[0], rows), p.batch[1] - p.batch[0], p.number))
    return best, max(best.batch[0], rows)


def _no_profile(profiles: Sequence[ProfileRange], shapes: Shapes) -> str:
    """The sentence about sizes beyond the plan, with the first input that no profile takes."""
    for name, shape in shapes.items():
        ranges = [(p.smallest[name][1:], p.largest[name][1:]) for p in profiles]
        if not any(all(a <= x <= b for a, x, b in zip(low, shape[1:], high, strict=True)) for low, high in ranges):
            break
    built = " or ".join(f"{list(low)} to {list(high)}" for low, high in dict.fromkeys(ranges))
    return (
        f"{name} {list(shape[1:])} was given and the plan was built for {built}; change the size, or build a plan "
        "for it."
    )
