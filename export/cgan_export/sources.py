"""The checkpoint of whatever code, as the exporter takes it; and what had to be assumed about it, said aloud."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cgan_runtime.contract import Contract, Statistics
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer import errors as trainer_errors
from cgan_trainer.readers import Choices, Loaded, read_generator
from pydantic import ValidationError

__all__ = ["load_source", "say_assumptions"]


def load_source(
    path: Path, choices: Choices | None, statistics: Statistics | None = None
) -> tuple[Loaded, Contract]:
    """The generator of a file and its contract; `statistics` is the user's choice, so that it is not assumed.

    Raises:
        BadInputError: the file cannot be used.
        UsageError: a choice does not fit it.
    """
    try:
        loaded = read_generator(path, replace(choices or Choices(), statistics=statistics))
    except trainer_errors.UsageError as error:
        raise UsageError(str(error)) from error
    except trainer_errors.TrainerError as error:
        raise BadInputError(str(error)) from error
    try:
        return loaded, Contract.model_validate_json(json.dumps(loaded.generator.contract.to_json()))
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise BadInputError(f"{path} describes a generator that cannot be served ({first}).") from error


def say_assumptions(loaded: Loaded, say: Callable[[str], None]) -> None:
    """One line for what was read, one for every assumption; nothing for our own checkpoints."""
    if not loaded.assumed:
        return
    say(f"{loaded.path.name} is {loaded.title}: {', '.join(loaded.inferred)}")
    for assumption in loaded.assumed:
        say(f"assumed: {assumption}")
