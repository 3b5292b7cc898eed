"""cgan-train: train a generator, one command per family."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

from cgan_runtime.cli.shell import run as run_shell
from cgan_runtime.progress import leads
from cyclopts import App, Parameter

from cgan_trainer.cli.ablate import ablate
from cgan_trainer.cli.evaluate import evaluate
from cgan_trainer.cli.options_file import with_options_file
from cgan_trainer.training.config import Pix2pixConfig, RunOptions

__all__ = ["app", "main"]

app = App(
    name="cgan-train",
    help="Train a conditional GAN on your pictures. The same command with --resume goes on after any interruption.",
    version=lambda: version("cgan-deploy"),
)
DEFAULTS = Pix2pixConfig()
app.command(evaluate)
app.command(ablate)


@app.command
def pix2pix(
    *,
    run: Annotated[RunOptions, Parameter(name="*", group="This run")],
    config: Annotated[Pix2pixConfig, Parameter(name="*", group="What decides the weights")] = DEFAULTS,
) -> int:
    """Learn to turn one kind of picture into another from pairs of both (Isola et al. 2017)."""
    from cgan_trainer.training.start import describe, train_pix2pix

    if run.dry_run:
        print(describe(config, run))
        return 0
    code = train_pix2pix(config, run)
    best = run.out / "best.pt"
    if code == 0 and leads() and best.exists():
        print(best)
        print(f"Next: cgan-export {best}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-train."""
    run_shell(app, argv, prepare=with_options_file)
