"""A command for a family: its own options beside those of every run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from cgan_trainer.configs.base import RunOptions, TrainConfig

__all__ = ["family_command"]


def family_command(config: type[TrainConfig], execute: Callable[..., int], **more: object) -> Callable[..., int]:
    """A function whose signature is what cyclopts asks of the command line.

    Args:
        config: the family's options.
        execute: called with the config, the run's options, and what else was given.
        more: further keyword parameters, by name, as annotations; all are required.
    """
    defaults = config()

    def command(*, run: RunOptions, config: TrainConfig = defaults, **given: object) -> int:
        return execute(config, run, **given)

    annotations = {
        **more,
        "run": Annotated[RunOptions, Parameter(name="*", group="This run")],
        "config": Annotated[config, Parameter(name="*", group="What decides the weights")],
    }
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=defaults if name == "config" else inspect.Parameter.empty,
        )
        for name, annotation in annotations.items()
    ]
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # read by inspect
    command.__annotations__ = {**annotations, "return": int}
    return command
