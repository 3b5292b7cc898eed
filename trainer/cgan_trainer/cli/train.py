"""cgan-train: train a generator, one command per family."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import NoReturn

from cgan_runtime.cli.shell import app as shell_app
from cgan_runtime.cli.shell import run as run_shell
from cgan_runtime.progress import leads, note
from cyclopts import App

from cgan_trainer.cli.ablate import ablate_app
from cgan_trainer.cli.evaluate import evaluate
from cgan_trainer.cli.family_command import family_command
from cgan_trainer.cli.options_file import with_options_file
from cgan_trainer.configs import CONFIGS, TrainConfig
from cgan_trainer.configs.base import RunOptions

__all__ = ["main", "make_app"]


def make_app() -> App:
    """The command with every family that is known now."""
    app = shell_app(
        "cgan-train",
        default_parameter=None,  # options can be switched off (--no-mirror), and say their defaults
        help_format=None,
        help="Train a conditional GAN on your images. With --resume a command goes on after any interruption.",
    )
    app.command(evaluate)
    app.command(ablate_app())
    for name, config in CONFIGS.items():
        app.command(family_command(config, _train), name=name, help=config.title)
    return app


def _train(config: TrainConfig, run: RunOptions) -> int:
    from cgan_trainer.training.start import describe, train

    if run.dry_run:
        described = describe(config, run)
        if leads():
            print(json.dumps(described, indent=2))
        return 0
    code = train(config, run)
    if code == 0 and leads():
        from cgan_trainer.watching.page import about_weights
        from cgan_trainer.watching.run_data import read_record

        last = run.out / "last.pt"
        print(last)
        if said := about_weights(read_record(run.out)):
            note(said)
        note(f"Next: cgan-export {shlex.quote(str(last))}")
    return code


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-train; `argv` are its words, those of the process by default."""
    run_shell(make_app(), argv, prepare=with_options_file)
