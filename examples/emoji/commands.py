"""Runs our commands as a user would type them, and remembers them for the page."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["asked", "done_before", "run", "server", "title", "typed"]

BIN = Path(sys.executable).parent
typed: list[str] = []  # every command that makes something, in order


def run(*words: object, quiet: bool = False, kept: bool = True) -> None:
    """Show a command and run it.

    Args:
        words: of the command.
        quiet: leave out what it prints on stdout.
        kept: for the page; False where the page says in words that it was repeated.

    Raises:
        subprocess.CalledProcessError: it ended with another exit code than 0.
    """
    _show(words, kept=kept)
    subprocess.run(_line(words), check=True, stdout=subprocess.DEVNULL if quiet else None)


def asked(*words: object) -> str:
    """What a command says on stdout; it is not shown, for it makes nothing."""
    done = subprocess.run(_line(words), check=True, capture_output=True, text=True)
    return done.stdout


def done_before(*words: object, because: str) -> None:
    """Show a command that needs not run again."""
    _show(words)
    print(f"  ({because})", flush=True)


def title(text: str) -> None:
    """Print the name of a step."""
    print(f"\n== {text}", flush=True)


@contextmanager
def server(*bundles: Path) -> Iterator[tuple[str, str]]:
    """The bundles on the real Triton of this machine; yields its HTTP and its gRPC address."""
    http, grpc, metrics = _free_ports()
    words = ("cgan-serve", *bundles, "--http-port", http, "--grpc-port", grpc, "--metrics-port", metrics)
    _show(words)
    process = subprocess.Popen(_line(words), stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("ready"):
            raise subprocess.CalledProcessError(process.wait(), _line(words))
        print(line.strip(), flush=True)
        yield f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}"
    finally:
        process.terminate()
        process.communicate()


def _line(words: tuple[object, ...]) -> list[str]:
    return [str(BIN / str(words[0])), *map(str, words[1:])]


def _show(words: tuple[object, ...], *, kept: bool = True) -> None:
    line = " ".join(map(str, words))
    if kept:
        typed.append(line)
    print(f"$ {line}", flush=True)


def _free_ports() -> tuple[int, int, int]:
    """Three ports nobody uses now, so that a server already running on 8000 does not matter."""
    sockets = [socket.socket() for _ in range(3)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    first, second, third = (int(item.getsockname()[1]) for item in sockets)
    for item in sockets:
        item.close()
    return first, second, third
