"""The disk refuses at any moment: what was there stays, and nothing half-written does."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cgan_runtime.atomic import atomic_folder, write_atomic

from tests.helpers import REPOSITORY

Full = Callable[[int], None]


def full_after(monkeypatch: pytest.MonkeyPatch, allowed: int) -> list[int]:
    """fsync fails after so many calls; returns what it was called with."""
    real, calls = os.fsync, list[int]()

    def sync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > allowed:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    return calls


def write_file(path: Path) -> None:
    write_atomic(path, b"new")


def write_stream(path: Path) -> None:
    write_atomic(path, lambda stream: stream.write(b"new"))


def write_text(path: Path) -> None:
    write_atomic(path, "new")


def read_file(path: Path) -> str:
    return path.read_text()


def write_folder(path: Path) -> None:
    with atomic_folder(path, replace=lambda _: None) as root:
        (root / "part").mkdir()
        (root / "part" / "file").write_text("new")
        (root / "other").write_text("new")


def read_folder(path: Path) -> str:
    texts = {file.read_text() for file in path.rglob("*") if file.is_file()}
    assert len(texts) == 1, "old and new are mixed"
    return texts.pop()


# With how many calls of fsync each is done: a file and its folder; three entries, the new folder, its own folder.
WRITERS = {
    "bytes": (write_file, read_file, 2),
    "stream": (write_stream, read_file, 2),
    "text": (write_text, read_file, 2),
    "folder": (write_folder, read_folder, 5),
}


@pytest.mark.parametrize(("write", "read", "calls"), WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("new", [True, False], ids=["new", "replaced"])
def test_a_disk_that_refuses_loses_nothing(
    write: Callable[[Path], None],
    read: Callable[[Path], str],
    calls: int,
    new: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for allowed in range(calls):
        path = tmp_path / str(allowed) / "it"
        path.parent.mkdir()
        if not new:
            write(path)
            for file in path.rglob("*") if path.is_dir() else [path]:
                if file.is_file():
                    file.write_text("old")
        with monkeypatch.context() as patch:
            full_after(patch, allowed)
            with pytest.raises(OSError, match="No space left"):
                write(path)
        left = [entry.name for entry in path.parent.iterdir()]
        if allowed < calls - 1:  # before the rename
            assert left == ([] if new else ["it"])
            assert new or read(path) == "old"
        else:  # the last one flushes the new name itself: the content is whole
            assert left == ["it"]
            assert read(path) == "new"


@pytest.mark.parametrize(("write", "read", "calls"), WRITERS.values(), ids=WRITERS)
def test_everything_is_flushed_before_its_name_appears(
    write: Callable[[Path], None],
    read: Callable[[Path], str],
    calls: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, there = os.fsync, list[bool]()

    def sync(handle: int) -> None:
        there.append((tmp_path / "it").exists())
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    write(tmp_path / "it")
    assert read(tmp_path / "it") == "new"
    assert there == [False] * (calls - 1) + [True]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "renameat2"), reason="only Linux exchanges two names at once")
def test_a_folder_is_exchanged_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it moved aside first, a reader at that moment would find nothing."""
    write_folder(tmp_path / "it")

    def aside(*_: object) -> None:
        raise AssertionError("the folder was moved away")

    monkeypatch.setattr(Path, "rename", aside)
    write_folder(tmp_path / "it")
    assert read_folder(tmp_path / "it") == "new"


def test_where_names_cannot_be_exchanged_a_folder_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "it")
    (tmp_path / "it" / "third").write_text("old")
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    write_folder(tmp_path / "it")
    assert read_folder(tmp_path / "it") == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["it"]


def test_there_is_one_copy_of_this_code() -> None:
    """Another place that flushes or swaps files would be one without these tests."""
    packages = [REPOSITORY / stage / f"cgan_{stage}" for stage in ("runtime", "trainer", "export", "bench")]
    files = [file for package in packages for file in package.rglob("*.py")]
    assert len(files) > 100
    having = {file.name for file in files if "fsync" in file.read_text() or "os.replace" in file.read_text()}
    assert having == {"atomic.py"}
