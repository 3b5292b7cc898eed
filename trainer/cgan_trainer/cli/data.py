"""cgan-data: make real datasets, and look at your own before training."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cgan_runtime.cli.shell import app as shell_app
from cgan_runtime.cli.shell import run
from cgan_runtime.limits import MAX_SENTENCE, printable
from cyclopts import Parameter, validators

from cgan_trainer.cli.make_data import add_datasets

if TYPE_CHECKING:
    from cgan_trainer.data.verify import Verdict

__all__ = ["app", "main"]

app = shell_app(
    "cgan-data",
    default_parameter=None,
    help_format=None,
    help="Make training data from images that come with packages, and look at your own before hours are spent.",
)
add_datasets(app)


@app.command
def verify(
    data: Path,
    *,
    size: Annotated[int | None, Parameter(validator=validators.Number(gte=16, lte=4096))] = None,
    kind: Literal["paired", "labelled", "unpaired"] | None = None,
    value_range: Annotated[str, Parameter(name="--range")] = "auto",
    json: bool = False,
) -> int:
    """Look at every image of a dataset and say what was found. Exit code 5 if a check fails, 3 if it is unusable.

    Args:
        data: A dataset folder, or a list of pairs or of labelled images (.csv, .tsv, .jsonl).
        size: The side in pixels you will train at; by default 256, and 32 for labelled images.
        kind: What the dataset is, where the names in it do not tell.
        value_range: Range of values of more than 8 bits: auto, the largest (4095), or both ends (-1000,1000).
        json: Print one JSON object instead of text.
    """
    from cgan_runtime.progress import progress

    from cgan_trainer.data.verify import verify as look

    with progress("looking at", unit="images") as report:
        verdict = look(data, size, on_file=report, kind=kind, value_range=value_range)
    print(_as_json(verdict) if json else _as_text(verdict))
    if verdict.ok:
        print(f"Next: {verdict.command}", file=sys.stderr)
        return 0
    failed = sum(not check.ok for check in verdict.checks)
    go_on = "; no training can start with it."
    if verdict.command:
        way = "first" if verdict.command.startswith("cgan-data") else "to go on all the same"
        go_on = f"; {way}: {verdict.command}"
    print(f"{failed} of {len(verdict.checks)} checks failed{go_on}", file=sys.stderr)
    return 5


@app.command
def split(data: Path, *, out: Path, kind: Literal["paired", "labelled", "unpaired"] | None = None) -> int:
    """Make a dataset with held-out images out of one that has train only. Yours stays as it is.

    Files are linked where that can be, else copied. A tenth of the pairs, or of the
    images of each class or domain, goes to val: the same ones each time.

    Args:
        data: A dataset folder with train/ (or A/train/, trainA/, ...) in it.
        out: The folder to make.
        kind: What the dataset is, where the names in it do not tell.
    """
    from cgan_trainer.data.hold_out import hold_out
    from cgan_trainer.data.layouts.recognise import look_at

    seen = look_at(data) if kind is None else None
    counts = hold_out(data, out, kind or ("paired" if seen is None else seen.kind))
    print(f"{out}\t{counts['train']} train\t{counts['val']} val")
    print(f"Next: {shlex.join(['cgan-data', 'verify', str(out)])}", file=sys.stderr)
    return 0


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
        lines += [f"        {printable(one, MAX_SENTENCE)}" for one in check.named]
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
