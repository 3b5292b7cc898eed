"""What every command does before its own work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError


@pytest.mark.parametrize(("own", "seen"), [(None, "1000"), ("7", "7")])
def test_threads_that_wait_do_not_spin_for_long_unless_the_user_says_so(
    own: str | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set before the command imports torch, which reads it once; the commands' --help imports no torch at all."""
    monkeypatch.setenv("GOMP_SPINCOUNT", own or "")
    if own is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    command, found = app("x"), []

    @command.default
    def look() -> None:
        found.append(os.environ["GOMP_SPINCOUNT"])

    with pytest.raises(SystemExit) as ended:
        run(command, [])
    assert not ended.value.code
    assert found == [seen]


@pytest.mark.parametrize(
    "words",
    [
        ("cgan-data", "list"),
        ("cgan-data", "list", "--help"),
        ("cgan-export", "--help"),
        ("cgan-serve", "--version"),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_ends_a_command_as_sigpipe_ends_a_program(words: tuple[str, ...]) -> None:
    """`cgan-data list | true`: the pipe is closed before the command writes, by itself or through rich."""
    end_to_read, end_to_write = os.pipe()
    os.close(end_to_read)
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name(words[0])), *words[1:]],
            stdout=end_to_write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(end_to_write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_an_error_that_nobody_reads_keeps_its_code() -> None:
    end_to_read, end_to_write = os.pipe()
    os.close(end_to_read)
    program = str(Path(sys.executable).with_name("cgan-data"))
    try:
        done = subprocess.run([program, "--wrong"], stdout=end_to_write, stderr=end_to_write, check=False)
    finally:
        os.close(end_to_write)
    assert done.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("become", [KeyboardInterrupt, ImportError, CganError])
def test_ctrl_c_is_told_as_such_whatever_the_code_that_it_met_made_of_it(
    number: signal.Signals, become: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    """numpy, interrupted while it loads, raises ImportError, and a package that does so counts as not installed."""
    command = app("x")

    @command.default
    def load() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise become("cannot load module more than once per process") from None

    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as ended:
            run(command, [])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "x: error: interrupted.\n"


def test_what_an_error_quotes_gives_the_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    command = app("x")

    @command.default
    def fail(kind: str) -> None:
        raise CganError("bad\x1b[31m.png") if kind == "ours" else FileNotFoundError(2, "gone", "a\x1b[2J\udcff.png")

    for kind, said in (("ours", "bad\ufffd[31m.png"), ("system", "a\ufffd[2J\ufffd.png: ")):
        with pytest.raises(SystemExit):
            run(command, [kind])
        assert capsys.readouterr().err.startswith(f"x: error: {said}")


def test_a_file_name_that_is_not_utf_8_is_printed_as_it_is() -> None:
    code = """
from cgan_runtime.cli.shell import app, run
command = app("x")
command.default(lambda: print("a\\udcff.png"))
run(command, [])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )
    assert (done.returncode, done.stdout) == (0, b"a\xff.png\n")
