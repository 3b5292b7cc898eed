"""The checkpoint of whatever code, as the exporter takes it: one of its graphs, and what had to be assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from cgan_runtime.contract import Contract, ImageEncoding, Statistics
from cgan_runtime.runners.base import Array
from cgan_trainer.readers import Choices, Loaded, read_generator

__all__ = ["assumptions", "examples_of", "load_source", "other_graphs", "say_assumptions"]

MADE_UP: Final = "checked on made-up images, and the card shows them, for the file holds none (--conditions FOLDER)"


def load_source(
    path: Path, choices: Choices | None, statistics: Statistics | None = None
) -> tuple[Loaded, Contract]:
    """The generator of a file and its contract; `statistics` is the user's choice, so that it is not assumed.

    Raises:
        BadInputError: the file cannot be used.
        UsageError: a choice does not fit it, or it has no graph of the name that was chosen.
    """
    loaded = read_generator(path, replace(choices or Choices(), statistics=statistics))
    return loaded, loaded.generator.contract


def examples_of(loaded: Loaded) -> dict[str, Array]:
    """The example conditions that a checkpoint carries, by the name of the condition [M, ...]."""
    return {name: value.numpy() for name, value in loaded.examples.items()}


def other_graphs(loaded: Loaded) -> tuple[str, ...]:
    """Names of the graphs in the file besides the one that was read."""
    return tuple(name for name in loaded.graphs if name != loaded.graph)


def assumptions(loaded: Loaded, images: Path | None) -> tuple[str, ...]:
    """What neither the file nor the user says.

    Args:
        loaded: the file.
        images: the user's folder of images to check on, if there is one.
    """
    pictures = [
        condition.name
        for condition in loaded.generator.contract.conditions
        if isinstance(condition.encoding, ImageEncoding) and not len(loaded.examples.get(condition.name, ()))
    ]
    return loaded.assumed if images is not None or not pictures else (*loaded.assumed, MADE_UP)


def say_assumptions(loaded: Loaded, assumed: tuple[str, ...], say: Callable[[str], None]) -> None:
    """One line for what was read of a file from other code, one for every assumption."""
    if loaded.assumed:
        say(f"{loaded.path.name} is {loaded.title}: {', '.join(loaded.inferred)}")
    for assumption in assumed:
        say(f"assumed: {assumption}")
