"""The checkpoint of whatever code, as the exporter takes it: one of its graphs, and what had to be assumed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cgan_runtime.contract import Contract, Statistics
from cgan_runtime.errors import UsageError
from cgan_runtime.runners.base import Array
from cgan_trainer.readers import Choices, Loaded, read_generator
from torch import Tensor

__all__ = ["examples_of", "load_source", "other_graphs", "say_assumptions"]


def load_source(
    path: Path, choices: Choices | None, statistics: Statistics | None = None
) -> tuple[Loaded, Contract]:
    """The generator of a file and its contract; `statistics` is the user's choice, so that it is not assumed.

    Raises:
        BadInputError: the file cannot be used.
        UsageError: a choice does not fit it, or it has no graph of the name that was chosen.
    """
    choices = replace(choices or Choices(), statistics=statistics)
    loaded = read_generator(path, choices)
    _require_graph(choices.graph, loaded)
    return loaded, loaded.generator.contract


def examples_of(loaded: Loaded) -> dict[str, Array]:
    """The example conditions that a checkpoint carries, by the name of the condition [M, ...].

    A single tensor, as in checkpoints of version 1, belongs to the first condition that is an image.
    """
    return _by_condition(loaded.examples, loaded.generator.contract)


def other_graphs(loaded: Loaded) -> tuple[str, ...]:
    """Names of the graphs in the file besides the one that was read."""
    return tuple(name for name in loaded.graphs if name != loaded.graph)


def say_assumptions(loaded: Loaded, say: Callable[[str], None]) -> None:
    """One line for what was read, one for every assumption; nothing for our own checkpoints."""
    if not loaded.assumed:
        return
    say(f"{loaded.path.name} is {loaded.title}: {', '.join(loaded.inferred)}")
    for assumption in loaded.assumed:
        say(f"assumed: {assumption}")


def _by_condition(examples: Tensor | Mapping[str, Tensor] | None, contract: Contract) -> dict[str, Array]:
    if isinstance(examples, Tensor):
        image = contract.image_condition
        return {} if image is None else {image.name: examples.numpy()}
    return {name: value.numpy() for name, value in (examples or {}).items()}


def _require_graph(wanted: str | None, loaded: Loaded) -> None:
    if wanted is None or wanted == loaded.graph:
        return
    by_lower = {name.lower(): name for name in loaded.graphs}
    near = difflib.get_close_matches(wanted.lower(), by_lower, n=1)
    hint = f"; did you mean --graph {by_lower[near[0]]}?" if near else "; choose one of them."
    raise UsageError(f"--graph {wanted} is not in {loaded.path.name}, which holds {', '.join(loaded.graphs)}{hint}")
