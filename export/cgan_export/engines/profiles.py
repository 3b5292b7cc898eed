"""Optimisation profiles: which sizes of the batch and of the image an engine is tuned for, and takes at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cgan_runtime.axes import require_bearable, shape_of
from cgan_runtime.contract import Contract, SizeRule
from cgan_runtime.errors import UsageError
from cgan_runtime.manifest import Batch, Profile

from cgan_export.engines.edge import Edge

__all__ = ["DEFAULT_BATCHES", "Shapes", "parse_batches", "profiles_for", "shapes_of", "whole_batch"]

# Least time for one image, and most images in a second.
DEFAULT_BATCHES: Final = "1,1..16"
LARGEST_SIDE: Final = 1024  # of a free size, where none is asked for: memory is laid out for the largest
MAX_BATCH: Final = 4096
MAX_PROFILES: Final = 64
RANGE: Final = re.compile(r"^([1-9][0-9]{0,4})(?:\.\.([1-9][0-9]{0,4}))?(?:\.\.([1-9][0-9]{0,4}))?$")

# By input: its smallest, best and largest shape, batch first.
Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


def parse_batches(texts: Sequence[str]) -> tuple[Batch, ...]:
    """A profile for each word of the texts: ``1``, ``1..16`` (tuned for 16) or ``1..8..16`` (tuned for 8).

    Raises:
        UsageError: not of this form, out of order, or too many.
    """
    words = [word.strip() for text in texts for word in text.split(",") if word.strip()]
    if not 0 < len(words) <= MAX_PROFILES:
        raise UsageError(f"--batch needs 1 to {MAX_PROFILES} batch sizes or ranges, such as 1 or 1..16.")
    batches = [Batch(**dict(zip(("min", "opt", "max"), _range("--batch", word), strict=True))) for word in words]
    for batch in batches:
        if batch.max > MAX_BATCH:
            raise UsageError(f"--batch {batch.max} is too large; give {MAX_BATCH} at most.")
    return tuple(dict.fromkeys(batches))


def profiles_for(
    contract: Contract, batches: Sequence[Batch], sides: str | None = None, usual: tuple[int, int] | None = None
) -> tuple[Profile, ...]:
    """A profile for each batch; where the image size is free, with its smallest, best and largest.

    Args:
        contract: of the generator.
        batches: one or more.
        sides: ``64..512`` or ``64..256..512``: of the image, both height and width. None takes the rule of the
            contract, up to 1024.
        usual: (height, width) to tune for, where `sides` does not say.

    Raises:
        UsageError: `sides` where the size is fixed, or sides that the generator does not take; tensors too large
            for any machine.
    """
    rule = contract.sides
    if rule is None:
        if sides is not None:
            raise UsageError("--sides is for a bundle of free size; this one has a fixed size: leave it out.")
        return tuple(Profile(batch=batch) for batch in batches)
    low, best, high = _sides(rule, sides, usual)
    require_bearable([tensor.shape for tensor in (*contract.inputs, *contract.outputs)], _named(high))
    return tuple(Profile(batch=batch, min=low, opt=best, max=high) for batch in batches)


def shapes_of(contract: Contract, profile: Profile, edge: Edge | None = None) -> Shapes:
    """The shapes of every input of the contract under a profile, noise inputs included, as they cross the edge.

    Raises:
        UsageError: a size that does not divide as an axis needs ("h/64").
    """
    batch, edge = profile.batch, edge or Edge()
    steps = ((batch.min, profile.min), (batch.opt, profile.opt), (batch.max, profile.max))
    return {
        tensor.name: tuple((count, *shape_of(edge.axes_of(tensor), _named(size))) for count, size in steps)  # type: ignore[misc]  # mypy does not count the steps: three
        for tensor in contract.inputs
    }


def whole_batch(profiles: Sequence[Profile]) -> Batch:
    """The batch sizes that some profile takes, tuned for what the last one is."""
    batches = [profile.batch for profile in profiles]
    return Batch(min=min(b.min for b in batches), opt=batches[-1].opt, max=max(b.max for b in batches))


def _range(option: str, word: str) -> tuple[int, int, int]:
    match = RANGE.match(word)
    numbers = [int(number) for number in match.groups() if number is not None] if match else []
    if not numbers or numbers != sorted(numbers):
        raise UsageError(
            f"{option} {word!r} is not understood; give a number, MIN..MAX or MIN..BEST..MAX, such as 1..16."
        )
    return numbers[0], numbers[1] if len(numbers) == 3 else numbers[-1], numbers[-1]


def _sides(
    rule: SizeRule, text: str | None, usual: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    if text is not None:
        low, best, high = _range("--sides", text)
        for side in (low, best, high):
            if not rule.takes(side):
                raise UsageError(
                    f"--sides {text}: {side} is no side that this generator takes; each must be a multiple of "
                    f"{rule.multiple}, from {rule.min} to {rule.max}."
                )
        return (low, low), (best, best), (high, high)
    high = max(rule.min, min(rule.max, LARGEST_SIDE // rule.multiple * rule.multiple))
    height, width = (min(max(side, rule.min), high) for side in usual or (high, high))
    return (rule.min, rule.min), (height, width), (high, high)


def _named(size: tuple[int, int] | None) -> dict[str, int]:
    return {} if size is None else {"h": size[0], "w": size[1]}
