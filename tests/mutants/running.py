"""Run test files on a copy of the tree in which one file is broken.

A server process imports the heavy libraries once and forks for every run. The tree itself is never written to.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal

from tests.mutants.breaks import Break

__all__ = ["QUICK", "SLOW", "Copy", "Outcome"]

HEAVY: Final = ("numpy", "torch", "onnx", "onnxruntime", "PIL.Image", "pydantic", "scipy.stats")
QUICK: Final = "not server and not slow"
SLOW: Final = "not server and slow"
_NAME_OF_FAILED: Final = "failed-test"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run of tests ended: all passed, or the first one that did not, or no end within the time limit."""

    kind: Literal["passed", "failed", "timed out"]
    test: str = ""


class Copy:
    """A copy of the tree at `root` in the empty folder `at`: all files that git knows or does not ignore.

    Args:
        root: the tree; it is only read.
        at: where the copy goes.
        packages: folders to put on Python's path, relative to `root`.
        heavy: modules that the server process imports before it forks; none of them may be of the tree.
    """

    def __init__(self, root: Path, at: Path, *, packages: Sequence[Path], heavy: Sequence[str] = HEAVY) -> None:
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=root, check=True, capture_output=True).stdout.decode()
        for name in filter(None, names.split("\0")):
            if (root / name).is_file():
                (at / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, at / name)
        self.path, self.packages = at, [str(at / package) for package in packages]
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(heavy))

    @contextlib.contextmanager
    def broken(self, change: Break) -> Iterator[None]:
        """The copy with one break in it."""
        file = self.path / change.file
        whole = file.read_bytes()
        _write(file, change.apply(whole))
        try:
            yield
        finally:
            _write(file, whole)

    def test(self, tests: Sequence[str], *, marks: str = "", limit_s: float) -> Outcome:
        """Run test files, or single tests, until the first that fails; of them those that `marks` choose (-m)."""
        failed = self.path.parent / _NAME_OF_FAILED
        failed.unlink(missing_ok=True)
        process = self._context.Process(target=_run, args=(self.path, self.packages, list(tests), marks, failed))
        process.start()
        try:
            process.join(limit_s)
            if process.is_alive():
                return Outcome(kind="timed out")
        finally:
            _end(process)
        if process.exitcode in (0, 5):  # 5: there was no test that these marks choose
            return Outcome(kind="passed")
        return Outcome(kind="failed", test=failed.read_text() if failed.exists() else tests[0])


def _end(process: BaseProcess) -> None:
    """End a run that still goes on, and with it whatever its tests started."""
    if process.pid is not None and process.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.join()


def _write(file: Path, content: bytes) -> None:
    """Write a source file; what was compiled from it goes, since Python compares no more than time and size."""
    file.write_bytes(content)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()


def _run(root: Path, packages: list[str], tests: list[str], marks: str, failed: Path) -> None:
    """In a process of its own: pytest in the copy; the name of the first failing test goes to the file `failed`."""
    os.setsid()
    with Path(os.devnull).open("r+") as nowhere:
        for stream in (0, 1, 2):
            os.dup2(nowhere.fileno(), stream)
    for name in [name for name in sys.modules if name == "tests" or name.startswith(("tests.", "__mp_main__"))]:
        del sys.modules[name]  # those of the tree; the tests of the copy are to be run
    os.chdir(root)
    sys.path[:0] = [str(root), *packages]
    os.environ["PYTHONPATH"] = os.pathsep.join([*packages, os.environ.get("PYTHONPATH", "")])
    import pytest

    class First:
        """Writes down the first failure."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            self._note(report.nodeid, failed_now=report.failed)

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            self._note(report.nodeid, failed_now=report.failed)

        def _note(self, name: str, *, failed_now: bool) -> None:
            if failed_now and not failed.exists():
                failed.write_text(name)

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", marks, *tests]
    os._exit(int(pytest.main(options, plugins=[First()])))
