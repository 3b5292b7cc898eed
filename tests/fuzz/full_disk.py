"""Every command that writes, on a disk of any size that is too small for it.

Run inside a mount namespace (`unshare -rm`), where anybody may mount a small disk and nobody else sees it. A first
run on a large disk tells what the command writes; then the disk has a part of that.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from cgan_bench.cli import main as bench_main
from cgan_export.cli import main as export_main
from cgan_runtime.cli.generate import main as generate_main
from cgan_runtime.cli.serve import main as serve_main
from cgan_runtime.cli.translate import main as translate_main
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.cli.data import main as data_main
from cgan_trainer.cli.train import main as train_main
from cgan_trainer.configs.base import RunOptions, command_line
from PIL import Image

from tests.fuzz.base import Report
from tests.fuzz.kills import Command, begin, finish, import_what_was_imported
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint
from tests.runtime import tiny
from tests.trainer.conftest import write_pairs
from tests.trainer.pix2pix_runs import SMALL

LARGE: Final = "200m"
PAGE: Final = 4096  # what a file of a small disk takes at least
SENTENCE: Final = "no room left on the disk: free some space and run the command again."


@dataclass(frozen=True)
class Writer:
    """A command and its words; `whole` looks at what it left under names of its own, after a full disk."""

    name: str
    command: Command
    words: list[str]
    whole: Callable[[Path], object]


def full_disk(count: int, folder: Path, on_failure: Callable[[str], object]) -> Report:
    """Run each command on `count` disks, from one with no room at all to one that is a little too small."""
    torch.set_num_threads(1)
    os.environ["CGAN_CACHE"] = str(folder / "cache")
    disk = folder / "disk"
    disk.mkdir()
    report = Report()
    for writer in writers(folder, disk):
        needed = _needed(writer, folder, disk)
        for number in range(count):
            size = needed * number // count // PAGE * PAGE
            try:
                report.counts[f"{writer.name}: {_on_a_small_disk(writer, disk, max(size, PAGE))}"] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it broke the law
                report.failures.append(f"{writer.name} with {size} of {needed} bytes: {error!r:.900}")
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
    options = RunOptions(data=data, out=out, threads=1, evaluate=False)
    training = command_line(replace(SMALL, ngf=2, ndf=2), options, resume=False).split()[1:]
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
        Writer("data maker", data_main, ["mnist-5k", "--out", str(out)], nothing),
        Writer("data split", data_main, ["split", str(folder / "unsplit"), "--out", str(out)], nothing),
        Writer("repository", serve_main, [str(shoes), "--triton-repo", str(out)], nothing),
        Writer(
            "bench",
            bench_main,
            [str(shoes), "--rounds", "1", "--warmup", "0", "--out", f"{out}.json", "--html", f"{out}.html"],
            results_only,
        ),
    ]


def nothing(disk: Path) -> None:
    """No file at all."""
    assert list(disk.iterdir()) == [], f"half-written: {sorted(disk.rglob('*'))[:5]}"


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
        elif path.suffix == ".csv":
            list(csv.reader(path.read_text().splitlines()))
        else:
            assert "tfevents" in path.name, f"left over: {path}"


def files(disk: Path) -> list[Path]:
    """All of them, hidden ones too."""
    return [path for path in disk.rglob("*") if path.is_file()]


def _needed(writer: Writer, folder: Path, disk: Path) -> int:
    """Bytes of disk that the command takes."""
    _mount(disk, LARGE)
    try:
        finish(writer.command, writer.words)
        import_what_was_imported(folder)
        state = os.statvfs(disk)
        return (state.f_blocks - state.f_bfree) * state.f_frsize
    finally:
        _unmount(disk)


def _on_a_small_disk(writer: Writer, disk: Path, size: int) -> str:
    """ "refused", or "did all"; then the same with room is a success."""
    _mount(disk, str(size))
    try:
        child, log = begin(writer.command, writer.words)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if code == 0:
            return "did all"
        assert code == 1, f"exit code {code}: {said[-3:]}"
        assert said[-1].endswith(SENTENCE), said[-3:]
        assert "Traceback" not in log.read_text(errors="replace"), said[-20:]
        writer.whole(disk)
        subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(disk)], check=True)
        go_on = ["--resume"] if writer.name == "training" and (disk / "out" / "config.json").exists() else []
        finish(writer.command, [*writer.words, *go_on])
        assert not any(path.name.startswith(".") for path in disk.rglob("*")), "a temporary is left over"
        return "refused"
    finally:
        _unmount(disk)


def _mount(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", str(disk)], check=True)
