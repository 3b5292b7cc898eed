"""Every command that writes, on a disk of any size that is too small for it.

Run inside a mount namespace (`unshare -rm`), where anybody may mount a small disk and nobody else sees it. A first
run on a large disk tells what the command writes; then the disk has a part of that.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from cgan_bench.cli import main as bench_main
from cgan_export.cli import main as export_main
from cgan_export.fidelity.limits import Limits
from cgan_runtime.cli.generate import main as generate_main
from cgan_runtime.cli.serve import main as serve_main
from cgan_runtime.cli.translate import main as translate_main
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.cli.data import main as data_main
from cgan_trainer.cli.train import main as train_main
from cgan_trainer.configs.base import RunOptions, command_line
from cgan_trainer.data import brain, day2night, emoji, mnist, satellite, satellite_unpaired
from PIL import Image

from tests.fuzz.base import Report
from tests.fuzz.kills import Command, begin, finish, import_what_was_imported
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint
from tests.runtime import tiny
from tests.trainer.conftest import write_pairs
from tests.trainer.pix2pix_runs import SMALL
from tests.trainer.test_data_made import write_earth, write_head

LARGE: Final = "3g"
BENCH_TRAINING: Final = ["--train", "--size", "64", "--ngf", "2", "--ndf", "2", "--rounds", "1", "--warmup", "0"]
PAGE: Final = 4096  # what a file of a small disk takes at least
SENTENCE: Final = "no room left on the disk: free some space and run the command again."


@dataclass(frozen=True)
class Writer:
    """A command that writes.

    Attributes:
        name: in the report.
        command: the entry point.
        words: of its command line.
        whole: looks at what it left under names of its own, after a full disk.
        given: a folder that lies on the disk before, as "run".
        code: exit code of the command where there is room.
    """

    name: str
    command: Command
    words: list[str]
    whole: Callable[[Path], object]
    given: Path | None = None
    code: int = 0


def full_disk(count: int, only: str, folder: Path, on_failure: Callable[[str], object]) -> Report:
    """Run each command on `count` disks, from one with no room at all to one that is a little too small.

    Commands whose name does not contain `only` are left out.
    """
    torch.set_num_threads(1)
    make_few()
    os.environ["CGAN_CACHE"] = str(folder / "cache")
    disk = folder / "disk"
    disk.mkdir()
    report = Report()
    for writer in [writer for writer in writers(folder, disk) if only in writer.name]:
        given, needed = _needed(writer, folder, disk)
        for number in range(count):
            size = (given + needed * number // count) // PAGE * PAGE
            try:
                report.counts[f"{writer.name}: {_on_a_small_disk(writer, disk, max(size, PAGE))}"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it broke the law
                report.failures.append(f"{writer.name} with {size} of {given + needed} bytes: {error!r:.900}")
                on_failure(report.failures[-1])
    return report


def writers(folder: Path, disk: Path) -> list[Writer]:
    """Every command that writes files; what they need is made below `folder`."""
    checkpoint = write_pix2pix_checkpoint(folder / "small.pt", pix2pix_generator(ngf=2))
    small_bundle = folder / "small"
    finish(export_main, [str(checkpoint), "-o", str(small_bundle)])
    shoes = tiny.shoes(folder).path
    data = folder / "data"
    write_pairs(data / "train", 20)
    write_pairs(data / "val", 3, seed=1)
    write_pairs(folder / "unsplit" / "train", 20)
    images = [str(path) for path in sorted((data / "train").iterdir())]
    out = disk / "out"
    config, options = replace(SMALL, ngf=2, ndf=2), RunOptions(data=data, out=out, threads=1, evaluate=False)
    training = command_line(config, options, resume=False).split()[1:]
    run = folder / "trained"
    finish(train_main, command_line(config, replace(options, out=run), resume=False).split()[1:])
    small = ["--size", "64", "--ngf", "2", "--ndf", "2", "--images", "2", "--batch", "2", "--threads", "1"]
    return [
        Writer("export", export_main, [str(checkpoint), "-o", str(out)], nothing),
        Writer("training", train_main, training, run_folder),
        Writer(
            "ablation",
            train_main,
            ["ablate", "--what", "dropout", "--data", str(data), "--out", str(out), *small],
            run_folder,
        ),
        Writer(
            "generate",
            generate_main,
            ["--bundle", str(shoes), "--label", "1", "--samples", "40", "--seed", "1", "-o", str(out)],
            images_only,
        ),
        Writer(
            "translate", translate_main, [*images, "--bundle", str(folder / "small"), "-o", str(out)], images_only
        ),
        Writer(
            "all precisions",
            export_main,
            [str(checkpoint), "-o", str(out), "--precision", "fp32,fp16,int8"],
            nothing,
        ),
        Writer("failed report", failing_export, [str(checkpoint), "-o", str(out)], results_only, code=5),
        Writer("evaluation", train_main, ["evaluate", str(disk / "run")], run_folder, given=run),
        Writer("joint evaluation", train_main, ["evaluate", str(run), "--out", str(out)], run_folder),
        *(
            Writer(f"data {name}", data_main, [name, *more, "--out", str(out)], nothing)
            for name, more in data_makers(folder).items()
        ),
        Writer("data split", data_main, ["split", str(folder / "unsplit"), "--out", str(out)], nothing),
        Writer("repository", serve_main, [str(shoes), "--triton-repo", str(out)], nothing),
        Writer(
            "bench",
            bench_main,
            [str(shoes), "--rounds", "1", "--warmup", "0", "--out", f"{out}.json", "--html", f"{out}.html"],
            results_only,
        ),
        Writer(
            "bench of training",
            bench_main,
            [*BENCH_TRAINING, "--out", f"{out}.json", "--html", f"{out}.html"],
            results_only,
        ),
        Writer("server environment", partial(server_environment, disk), ["--setup"], no_files),
    ]


def data_makers(folder: Path) -> dict[str, list[str]]:
    """Every dataset of cgan-data that can be made here, and the words it needs."""
    earth, head = write_earth(folder / "earth"), write_head(folder / "head")
    return {
        "mnist-5k": [],
        "emoji": ["--size", "16"],
        "satellite": [],
        "satellite-relief": [],
        "satellite-unpaired": [],
        "day2night": ["--source", str(earth)],
        "mri-labels": ["--source", str(head)],
    }


def make_few() -> None:
    """The makers of datasets make a small part of each, of the same kinds."""
    for module, name, step in (
        (mnist, "plan_digits", 40),
        (emoji, "plan_drawings", 60),
        (satellite, "plan_tiles", 60),
        (satellite_unpaired, "plan_tiles", 20),
        (day2night, "plan_tiles", 20),
    ):
        whole = getattr(module, name)
        setattr(module, name, lambda *words, whole=whole, step=step: list(islice(whole(*words), 0, None, step)))
    setattr(brain, "SLABS", (("train", 16, 20), ("val", 25, 26), ("test", 31, 33)))  # noqa: B010 - it is Final


def failing_export(words: list[str]) -> None:
    """An export that passes no gate, and so writes a report."""
    of = Limits.of
    setattr(Limits, "of", lambda precision: replace(of(precision), batch_levels=-1))  # noqa: B010 - mypy forbids `=`
    export_main(words)


def server_environment(disk: Path, words: list[str]) -> None:
    """pip takes what it has fetched before from where it is."""
    import platformdirs

    os.environ |= {"PIP_CACHE_DIR": str(platformdirs.user_cache_path("pip")), "XDG_CACHE_HOME": str(disk)}
    serve_main(words)


def nothing(disk: Path) -> None:
    """No file at all."""
    assert list(disk.iterdir()) == [], f"half-written: {sorted(disk.rglob('*'))[:5]}"


def no_files(disk: Path) -> None:
    """Empty folders at most."""
    assert files(disk) == [], f"half-written: {files(disk)[:5]}"


def images_only(disk: Path) -> None:
    """Images, each of them whole."""
    for path in files(disk):
        with Image.open(path) as image:
            image.load()


def results_only(disk: Path) -> None:
    """Whole results."""
    for path in files(disk):
        text = path.read_text()
        assert json.loads(text) if path.suffix == ".json" else text.rstrip().endswith("</html>"), path


def run_folder(disk: Path) -> None:
    """Whatever there is of a run is whole; of the table of figures the last row may be cut."""
    for path in files(disk):
        if path.suffix == ".pt":
            read_checkpoint(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".png", ".webp"):
            images_only(path.parent)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        elif path.suffix == ".md":
            assert path.read_text().startswith("| ") and path.read_text().endswith("\n"), path
        elif path.suffix == ".csv":
            list(csv.reader(path.read_text().splitlines()))
        else:
            assert "tfevents" in path.name, f"left over: {path}"


def files(disk: Path) -> list[Path]:
    """All of them, hidden ones too."""
    return [path for path in disk.rglob("*") if path.is_file()]


def _needed(writer: Writer, folder: Path, disk: Path) -> tuple[int, int]:
    """Bytes of disk that there are before the command, and that it takes."""
    _mount(disk, LARGE)
    try:
        _give(writer, disk)
        given = _used(disk)
        finish(writer.command, writer.words, writer.code)
        import_what_was_imported(folder)
        needed = _used(disk) - given
        assert needed > 0, f"{writer.name} writes nothing here"
        return given, needed
    finally:
        _unmount(disk)


def _give(writer: Writer, disk: Path) -> None:
    if writer.given is not None:
        shutil.copytree(writer.given, disk / "run")


def _used(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _on_a_small_disk(writer: Writer, disk: Path, size: int) -> str:
    """ "refused", or "did all"; then the same with room is a success."""
    _mount(disk, str(size))
    try:
        _give(writer, disk)
        child, log = begin(writer.command, writer.words)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if code == writer.code:
            return "did all"
        assert code == 1, f"exit code {code}: {said[-3:]}"
        assert said[-1].endswith(SENTENCE), said[-3:]
        assert "Traceback" not in log.read_text(errors="replace"), said[-20:]
        writer.whole(disk)
        subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(disk)], check=True)
        go_on = ["--resume"] if writer.name == "training" and (disk / "out" / "config.json").exists() else []
        finish(writer.command, [*writer.words, *go_on], writer.code)
        hidden = [path for path in disk.rglob(".*") if "site-packages" not in path.parts]
        assert not hidden, f"a temporary is left over: {hidden[:5]}"
        return "refused"
    finally:
        _unmount(disk)


def _mount(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", str(disk)], check=True)
