"""cgan-train ablate: the papers' comparisons on one's own images.

Annotations are evaluated at once, as in configs/base.py.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cgan_runtime.errors import UsageError
from cyclopts import App, Parameter

from cgan_trainer.cli.family_command import REQUIRED, family_command
from cgan_trainer.configs import CONFIGS
from cgan_trainer.configs.base import RunOptions, TrainConfig

__all__ = ["ablate_app"]

_HELP = """Train the variants of a comparison of a paper, judge all alike, print its table with ours.

The same command goes on after an interruption. Leaves losses.html, .md, .json and .png (patch.html, ...) in
--out, and a run folder per variant below it, which other comparisons with the same --out use again. Without a
family the first one is taken.

Every option of cgan-train FAMILY can be given too, and holds for all variants; its --help shows them."""


_JUDGED = Parameter(name="--images-judged", help="Judge on at most so many held-out images.")
_JUDGED_BEFORE = Parameter(name="--pictures", show=False)  # how it was called
_UNUSED = Parameter(show=False)
_JSON = Parameter(name="--json", negative=(), help="Print the JSON instead of the table.")


@dataclass(frozen=True, kw_only=True)
class _ComparisonOptions(RunOptions):
    """The options of a run, as they are shown for a comparison: it judges and goes on by itself."""

    out: Path
    """Folder for the page, the table and the image; the runs are in runs/ below it."""
    max_minutes: Annotated[float | None, _UNUSED] = None
    evaluate: Annotated[bool, _UNUSED] = True
    resume: Annotated[bool, _UNUSED] = False
    dry_run: bool = False
    """Print the options of every variant and the minutes all take (a few steps of each are timed), and stop."""


def ablate_app() -> App:
    """`cgan-train ablate [FAMILY] --what NAME`: every family whose paper compares something."""
    app = App(name="ablate", help=_HELP)
    comparing = {name: config for name, config in CONFIGS.items() if config.ablations}
    for at, (name, config) in enumerate(comparing.items()):
        names: Any = Literal[config.ablations]
        command = family_command(
            config,
            _ablate,
            run_options=_ComparisonOptions,
            config_shown=False,
            what=(Annotated[names, Parameter(help="The comparison.")], REQUIRED),
            images_judged=(Annotated[int | None, _JUDGED], None),
            pictures=(Annotated[int | None, _JUDGED_BEFORE], None),
            as_json=(Annotated[bool, _JSON], False),
        )
        app.command(command, name=name, help=f"The comparisons of {name}.")
        if at == 0:
            app.default(command)
    return app


def _ablate(
    config: TrainConfig,
    run: RunOptions,
    *,
    what: str,
    images_judged: int | None = None,
    pictures: int | None = None,
    as_json: bool = False,
) -> int:
    from cgan_runtime.progress import leads, note
    from rich.console import Console
    from rich.table import Table

    from cgan_trainer.ablation.report import table
    from cgan_trainer.ablation.run import ablate, describe_comparison

    if what not in config.ablations:
        raise UsageError(f"--what {what} is not one of {', '.join(config.ablations)}.")
    images = pictures if images_judged is None else images_judged
    if run.dry_run:
        described = describe_comparison(what, config, run, images=images)
        if leads():
            print(json.dumps(described, indent=2))
        return 0
    code, compared = ablate(what, config, replace(run, resume=False), images=images)
    if code != 0:
        return code
    if as_json:
        print((run.out / f"{what}.json").read_text(encoding="utf-8"), end="")
    else:
        header, rows = table(compared)
        shown = Table(title=f"Comparison {what}, dataset {compared.dataset}", title_justify="left")
        for index, title in enumerate(header):
            shown.add_column(title, justify="right" if index else "left")
        for cells in rows:
            shown.add_row(*cells)
        console = Console(highlight=False)
        # Where stdout is no terminal rich assumes 80 columns, and would cut the figures.
        (console if console.is_terminal else Console(highlight=False, width=220)).print(shown)
    note(f"Wrote {run.out / what}.html, .md, .json and .png")
    return 0
