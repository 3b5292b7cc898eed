"""Exports and trainings that are killed (SIGKILL) at instants spread over their run, and begun again.

Each process is forked from this one, so it needs no second to import torch and the instants fall into its work.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import torch
from cgan_export.cli import main as export_main
from cgan_runtime.atomic import is_temporary
from cgan_runtime.bundle import read_bundle
from cgan_runtime.errors import BundleError
from cgan_trainer.checkpoint import read_checkpoint
from cgan_trainer.cli.train import main as train_main
from cgan_trainer.configs.base import RunOptions, command_line

from tests.fuzz.base import Report
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint
from tests.trainer.conftest import write_pairs
from tests.trainer.pix2pix_runs import SMALL, assert_same_run

Command = Callable[[list[str]], object]
What = Literal["export", "training"]
END_AFTER_S: Final = 120.0


def kills(what: What, count: int, folder: Path, on_failure: Callable[[str], object]) -> Report:
    """Kill `count` times; each time look at what is there, run again to the end, and look again."""
    torch.set_num_threads(1)
    os.environ["CGAN_CACHE"] = str(folder / "cache")
    subject = Exports(folder) if what == "export" else Trainings(folder)
    report = Report()
    for number in range(count):
        place = folder / "place"
        place.mkdir()
        after_s = subject.seconds * (number + random.Random(number).random()) / count
        try:
            report.counts[subject.killed(place, number, after_s)] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it broke the law
            report.failures.append(f"{what} killed after {after_s:.3f} s (number {number}): {error!r:.600}")
            on_failure(report.failures[-1])
        shutil.rmtree(place)
    return report


class Exports:
    """The export of a small U-Net; for every second number an older bundle is there, and is to be replaced."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = [
            write_pix2pix_checkpoint(folder / f"{name}.pt", pix2pix_generator(ngf=2, seed=seed))
            for seed, name in enumerate(("old", "new"))
        ]
        self.bundles = [folder / name for name in ("old", "new")]
        finish(export_main, [str(self.checkpoints[0]), "-o", str(folder / "first")])
        for checkpoint, bundle in zip(self.checkpoints, self.bundles, strict=True):
            import_what_was_imported(folder)
            began = time.monotonic()
            finish(export_main, [str(checkpoint), "-o", str(bundle)])
            self.seconds = time.monotonic() - began
        self.models = [(bundle / "model.onnx").read_bytes() for bundle in self.bundles]

    def killed(self, place: Path, number: int, after_s: float) -> str:
        """What was there after the kill: "nothing", "the old bundle" or "the new bundle"."""
        target = place / "bundle"
        if number % 2:
            shutil.copytree(self.bundles[0], target)
        words = [str(self.checkpoints[1]), "-o", str(target), "--force"]
        ended = kill_after(export_main, words, after_s)
        said = self._found(target)
        assert number % 2 == 0 or said != "nothing", "the old bundle is lost"
        finish(export_main, words)
        assert self._found(target) == "the new bundle"
        assert [path.name for path in place.iterdir()] == ["bundle"], f"left over: {list(place.iterdir())}"
        assert {p.name for p in target.iterdir()} == {p.name for p in self.bundles[1].iterdir()}
        return said if ended else f"{said}, ended before"

    def _found(self, target: Path) -> str:
        try:
            model = read_bundle(target).read("model.onnx")
        except BundleError:
            assert not target.exists(), "a bundle that cannot be read"
            return "nothing"
        return ("the old bundle", "the new bundle")[self.models.index(model)]


class Trainings:
    """A run of 13 images that saves every 4; for every second number it is killed a second time, when resumed."""

    def __init__(self, folder: Path) -> None:
        self.data, self.unbroken = folder / "data", folder / "unbroken"
        write_pairs(self.data / "train", 7)
        write_pairs(self.data / "val", 3, seed=1)
        finish(train_main, self._words(folder / "first"))  # fills the cache
        import_what_was_imported(folder)
        began = time.monotonic()
        finish(train_main, self._words(self.unbroken))
        self.seconds = time.monotonic() - began

    def killed(self, place: Path, number: int, after_s: float) -> str:
        """What was there after the last kill: "no run", "a run without a save" or "a save"."""
        out = place / "run"
        ended = kill_after(train_main, self._words(out), after_s)
        said = self._found(out)
        if number % 2:
            kill_after(train_main, self._words(out, resume=said != "no run"), random.Random(-number).random())
            said = self._found(out)
        finish(train_main, self._words(out, resume=said != "no run"))
        assert_same_run(self.unbroken, out)
        assert [path.name for path in place.iterdir()] == ["run"], f"left over: {list(place.iterdir())}"
        assert names_below(out) == names_below(self.unbroken)
        return said if ended else f"{said}, ended before"

    def _words(self, out: Path, *, resume: bool = False) -> list[str]:
        options = RunOptions(data=self.data, out=out, threads=1, evaluate=False)
        return command_line(replace(SMALL, ngf=2, ndf=2), options, resume=resume).split()[1:]

    def _found(self, out: Path) -> str:
        """Everything under its own name is whole, at any instant."""
        for name in ("last.pt", "best.pt"):
            if (out / name).exists():
                read_checkpoint(out / name)
        if (out / "last.pt").exists():
            return "a save"
        return "a run without a save" if (out / "config.json").exists() else "no run"


def names_below(folder: Path) -> set[str]:
    """Of all files but TensorBoard's, of which each start makes one; a temporary is a leftover."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(is_temporary(path) for path in folder.rglob("*")), "a temporary is left over"
    return {path.relative_to(folder).as_posix() for path in paths if "tfevents" not in path.name}


def begin(command: Command, words: list[str]) -> tuple[int, Path]:
    """The process, and where its words go."""
    log = Path(os.environ["CGAN_CACHE"]).with_name("log")
    if (child := os.fork()) == 0:
        code = 70
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            command(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stderr.flush()
            log.with_name("modules").write_text("\n".join(sys.modules))
            os._exit(code)
    return child, log


def import_what_was_imported(folder: Path) -> None:
    """What the last process imported, here: its children then need no time for it."""
    for name in (folder / "modules").read_text().split("\n"):
        if name not in ("__main__", "__mp_main__"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def kill_after(command: Command, words: list[str], after_s: float) -> bool:
    """Whether the process was still at work then."""
    child, _ = begin(command, words)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def finish(command: Command, words: list[str], wanted: int = 0) -> None:
    """Run to the end, which must come with this exit code."""
    child, log = begin(command, words)
    deadline = time.monotonic() + END_AFTER_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"no end after {END_AFTER_S} s: {words}")
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(ended[1])
    assert code == wanted, f"exit code {code}: {log.read_text()[-400:]}"
