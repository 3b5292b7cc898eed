"""A file or folder is there whole or not at all, and nobody's work is removed but a dead process's own."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgan_runtime.atomic import atomic_folder, sweep_leftovers, write_atomic
from cgan_runtime.claims import claim
from cgan_runtime.errors import CganError, UsageError


def test_a_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(RuntimeError, match="half way"), atomic_folder(target) as root:
        (root / "a").write_text("1")
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(target) as root:
        (root / "a").write_text("1")
        assert not target.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def anything(_: Path) -> None:
    """Whatever is there may be replaced."""


def test_replacing_needs_to_be_asked_for_and_keeps_the_old_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_folder(target) as root:
        (root / "a").write_text("old")
    with pytest.raises(UsageError, match="exists already; choose another name"), atomic_folder(target):
        pass
    with pytest.raises(RuntimeError), atomic_folder(target, replace=anything) as root:
        (root / "a").write_text("new")
        raise RuntimeError
    assert (target / "a").read_text() == "old"
    with atomic_folder(target, replace=anything) as root:
        (root / "a").write_text("new")
    assert (target / "a").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


HALFWAY = """
import sys, time
from pathlib import Path
from cgan_runtime.atomic import atomic_folder, write_atomic
from cgan_runtime.claims import claim
def wait(stream):
    stream.write(b"half")
    print("ready", flush=True)
    time.sleep(60)
path = Path(sys.argv[2])
if sys.argv[1] == "claim":
    with claim(path):
        wait(sys.stdout.buffer)
if sys.argv[1] == "file":
    write_atomic(path, wait)
with atomic_folder(path) as root:
    (root / "a").write_text("half")
    wait(sys.stdout.buffer)
"""


@contextlib.contextmanager
def halfway(what: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the middle of writing a "file" or "folder", or that holds a "claim"; killed at the end."""
    process = subprocess.Popen([sys.executable, "-c", HALFWAY, what, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        try:
            assert b"ready" in process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_temporaries_of_dead_processes_are_swept_under_any_name_and_of_living_ones_kept(
    tmp_path: Path, what: str
) -> None:
    with halfway(what, tmp_path / "one"):
        (unfinished,) = tmp_path.iterdir()
        with atomic_folder(tmp_path / "other"):
            pass
        assert unfinished.exists()
    with atomic_folder(tmp_path / "third"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"other", "third"}


def test_a_file_written_sweeps_its_folder_too(tmp_path: Path) -> None:
    with halfway("file", tmp_path / "one"):
        pass
    write_atomic(tmp_path / "other", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_hidden_files_of_others_are_left_alone(tmp_path: Path) -> None:
    names = {".out.tmp-999999999", ".DS_Store", ".out.cgan-tmp-", "out.cgan-tmp-01234567", ".cgan-tmp-xyz"}
    for name in names:
        (tmp_path / name).mkdir()
    sweep_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_what_a_crash_left_moved_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / ".out.cgan-old").mkdir()
    (tmp_path / ".out.cgan-old" / "a").write_text("old")
    sweep_leftovers(tmp_path)
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_without_the_exchange_of_names_a_folder_is_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: None)
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "out", replace=anything) as root:
            (root / "a").write_text(content)
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_came_into_a_folder_meanwhile_is_looked_at_before_it_is_removed(tmp_path: Path) -> None:
    def only_a(path: Path) -> None:
        if {entry.name for entry in path.iterdir()} != {"a"}:
            raise UsageError("mine")

    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old")
    with pytest.raises(UsageError, match="mine"), atomic_folder(target, replace=only_a) as root:
        (root / "a").write_text("new")
        (target / "thesis.txt").write_text("three years")
    assert (target / "thesis.txt").read_text() == "three years"
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link", replace=anything) as root:
        (root / "a").write_text("new")
    assert (tmp_path / "real" / "a").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


@pytest.mark.parametrize("name", ["x" * 255, "\N{PILE OF POO}" * 60, "a b\nc"])
def test_any_name_that_the_file_system_takes_can_be_written(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"1")
    with claim(tmp_path / name):
        assert (tmp_path / name).read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_of_two_claims_the_second_is_refused_at_once_and_a_dead_process_claims_nothing(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "out"
    with halfway("claim", place):
        with pytest.raises(CganError, match=f"another process is writing to {place}; wait"), claim(place):
            pass
        with claim(place.with_name("other")):
            pass
    with claim(place):
        with pytest.raises(CganError, match="another process"), claim(place):
            pass
        assert (tmp_path / "deep").exists()
    assert not list(place.parent.glob(".*"))


def test_a_claim_that_waits_says_so_once_and_begins_when_the_other_has_ended(tmp_path: Path) -> None:
    said: list[str] = []
    with halfway("claim", tmp_path / "out") as holder:

        def say() -> None:
            said.append("waiting")
            holder.send_signal(signal.SIGKILL)
            holder.wait()

        with claim(tmp_path / "out", wait=say):
            assert said == ["waiting"]
            with pytest.raises(CganError, match="another process is writing"), claim(tmp_path / "out"):
                pass
    with claim(tmp_path / "out", wait=say):
        assert said == ["waiting"], "there was nothing to wait for"
    assert list(tmp_path.iterdir()) == []


def test_a_claim_leaves_no_folder_that_nobody_used(tmp_path: Path) -> None:
    with claim(tmp_path / "a" / "b" / "c"):
        pass
    assert list(tmp_path.iterdir()) == []
