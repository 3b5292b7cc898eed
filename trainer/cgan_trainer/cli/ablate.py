"""cgan-train ablate: the papers' comparisons on one's own pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import Parameter

from cgan_trainer.training.config import Pix2pixConfig, RunOptions

__all__ = ["ablate"]

DEFAULTS = Pix2pixConfig()


def ablate(
    *,
    what: Literal["losses", "patch", "generator", "dropout"],
    run: Annotated[RunOptions, Parameter(name="*", group="This run")],
    config: Annotated[Pix2pixConfig, Parameter(name="*", group="What decides the weights")] = DEFAULTS,
    pictures: int | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Train the variants of a comparison of the pix2pix paper, judge all alike, print its table with ours.

    The same command goes on after an interruption. Leaves losses.md, losses.json and losses.png (patch.md, ...) in
    --out, and a run folder per variant below it, which other comparisons with the same --out use again.

    Args:
        what: losses (table 1), generator (table 2), patch (table 3), or dropout placement.
        run: Where from, where to, and on how much of the machine.
        config: What all variants have in common.
        pictures: Judge on at most so many held-out pictures; all by default.
        as_json: Print losses.json (patch.json, ...) instead of the table.
    """
    from cgan_runtime.progress import note
    from rich.console import Console
    from rich.table import Table

    from cgan_trainer.ablation.report import table
    from cgan_trainer.ablation.run import ablate as compare

    code, compared = compare(what, config, replace(run, resume=False), pictures=pictures)
    if code != 0:
        return code
    if as_json:
        print((run.out / f"{what}.json").read_text(encoding="utf-8"), end="")
    else:
        header, rows = table(compared)
        shown = Table(title=f"{what} on {compared[0].evaluation.dataset}", title_justify="left")
        for index, title in enumerate(header):
            shown.add_column(title, justify="right" if index else "left")
        for cells in rows:
            shown.add_row(*cells)
        console = Console(highlight=False)
        # Where stdout is no terminal rich assumes 80 columns, and would cut the figures.
        (console if console.is_terminal else Console(highlight=False, width=220)).print(shown)
    note(f"Wrote {run.out / what}.md, .json and .png")
    return 0
