"""A command for a family: its own options beside those of every run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Final

from cyclopts import Parameter

from cgan_trainer.configs.base import RunOptions, TrainConfig

__all__ = ["REQUIRED", "family_command"]

REQUIRED: Final = inspect.Parameter.empty


def family_command(
    config: type[TrainConfig],
    execute: Callable[..., int],
    *,
    run_options: type[RunOptions] = RunOptions,
    config_shown: bool = True,
    **more: tuple[object, object],
) -> Callable[..., int]:
    """A function whose signature is what cyclopts asks of the command line.

    Args:
        config: the family's options.
        execute: called with the config, the run's options, and what else was given; it has the same defaults.
        run_options: how the run's options are shown.
        config_shown: whether the help lists the family's options; they are taken all the same.
        more: further keyword parameters, by name: annotation, and default or REQUIRED.
    """
    defaults = config()

    def command(*, run: RunOptions, config: TrainConfig = defaults, **given: object) -> int:
        return execute(config, run, **given)

    asked: dict[str, tuple[object, object]] = {
        **more,
        "run": (Annotated[run_options, Parameter(name="*", group="This run")], REQUIRED),
        "config": (
            Annotated[config, Parameter(name="*", group="What decides the weights", show=config_shown)],
            defaults,
        ),
    }
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in asked.items()
    ]
    command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]  # read by inspect
    command.__annotations__ = {**{name: annotation for name, (annotation, _) in asked.items()}, "return": int}
    return command
