"""Run a console command the way every command here behaves.

stdout carries results, stderr progress and the one-line error; the exit code tells what kind of error it was
(see `cgan_runtime.errors`). Nobody who made a mistake sees a traceback unless `--debug` is given.

A reader of stdout that goes away (`cgan-data list | head -1`) ends a command without a word, with the code that the
shell gives a program that SIGPIPE ended. The signal itself stays ignored: a server that closes a connection must be
an error that can be told.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, NoReturn, TextIO

from cyclopts import App, CycloptsError, Parameter

from cgan_runtime import __version__
from cgan_runtime.errors import CganError
from cgan_runtime.limits import MAX_SENTENCE, first_problem, printable
from cgan_runtime.progress import leads

__all__ = ["app", "run"]

# What a command needs beyond the base installation.
_EXTRAS: Final = {"cgan-data": "train", "cgan-train": "train", "cgan-export": "export", "cgan-bench": "bench"}
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
_EPILOGUE: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unusable input, 4 server unreachable or refusing, "
    "5 a check failed, 130 interrupted. With --debug an error shows its traceback."
)
# GNU OpenMP, which torch's Linux wheels use, reads this when torch is loaded, so it is set before. By default a
# thread that waits spins for a long time, and takes the core from the thread it waits for as soon as another
# program runs too. A user's own setting stays.
_SPIN: Final = ("GOMP_SPINCOUNT", "1000")
_SIGNALS: Final[list[int]] = []  # those that asked this command to stop
_SYSTEM: Final = {
    errno.ENOSPC: "no room left on the disk: free some space and run the command again",
    errno.EFBIG: "no room left on the disk: free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the command again",
    errno.EACCES: "permission denied: choose a place you may write to",
    errno.EPERM: "permission denied: choose a place you may write to",
    errno.EROFS: "the file system is read-only: choose a place you may write to",
}


def app(name: str, **options: Any) -> App:
    """A cyclopts application that leaves errors and exit codes to `run`; its help is the command's docstring.

    Args:
        name: of the command.
        options: cyclopts' own, where a command differs from the others.
    """
    settings: dict[str, Any] = {
        "default_parameter": Parameter(negative=(), show_default=False),  # docstrings name the defaults that matter
        "version": __version__,
        "help_format": "plaintext",
        "help_epilogue": _EPILOGUE,  # subcommands inherit it
    }
    return App(name=name, suppress_keyboard_interrupt=False, **{**settings, **options})


def run(
    command: App,
    argv: Sequence[str] | None = None,
    *,
    prepare: Callable[[Sequence[str]], list[str]] = list,
) -> NoReturn:
    """Execute the command and exit with its code (a command returns an int, or None for 0).

    Args:
        command: what to execute.
        argv: its words; those of the process by default.
        prepare: what becomes of the words first; it may refuse them.
    """
    os.environ.setdefault(*_SPIN)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # a file name that is not UTF-8 comes out as it is
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    _SIGNALS.clear()
    with contextlib.suppress(ValueError):  # only the main thread may; elsewhere both keep their meaning
        signal.signal(signal.SIGTERM, _interrupt)  # clean up after SIGTERM as after Ctrl-C
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # under `&` a shell has it ignored
            signal.signal(signal.SIGINT, _interrupt)
    command.suppress_keyboard_interrupt = False  # cyclopts would exit without a word
    sys.exit(_outcome(command, words, prepare, debug=debug))


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    _SIGNALS.append(number)
    raise KeyboardInterrupt


def _outcome(command: App, words: list[str], prepare: Callable[[Sequence[str]], list[str]], *, debug: bool) -> int:
    try:
        call: Callable[..., Any] = command
        result = call(prepare(words), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        return _end_quietly()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich, which prints help and tables, exits with 1 then
            return _end_quietly()
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost handler; --debug shows it all
        # A package that is interrupted while it loads says that it is not installed, or is loaded twice.
        interrupted = _SIGNALS and isinstance(error, CganError | ImportError)
        code, sentence = _explain(KeyboardInterrupt() if interrupted else error, command.name[0])
        if debug:
            traceback.print_exception(error)
        # Of several processes started by torchrun all refuse what is wrong with a command: the first says it.
        if not isinstance(error, CganError) or leads():
            try:
                print(f"{command.name[0]}: error: {sentence}", file=sys.stderr, flush=True)
            except BrokenPipeError:  # nobody reads stderr either: the code says it
                _discard(sys.stderr)
        return code


def _end_quietly() -> int:
    """The exit code where stdout has no reader any more; what is still buffered goes nowhere."""
    _discard(sys.stdout)
    return PIPE_CLOSED


def _discard(stream: TextIO) -> None:
    """What is still buffered goes nowhere: Python flushes it at its end, and would end with 120 if it could not."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _limit(error: CycloptsError) -> str | None:
    """The sentence for a value outside the limits in an option's annotation; cyclopts repeats pydantic's words."""
    from cyclopts import ValidationError as OptionError
    from pydantic import ValidationError

    if not isinstance(error, OptionError) or not isinstance(error.__cause__, ValidationError):
        return None
    _, given, needed = first_problem(error.__cause__)
    name = error.argument.name if error.argument is not None else "the value"
    return f"{name} {given} cannot be used: give {needed}."


def _explain(error: BaseException, command: str) -> tuple[int, str]:
    """Exit code and sentence of an error."""
    sentence = printable(" ".join(str(error).split()), MAX_SENTENCE)
    match error:
        case CycloptsError():
            return 2, _limit(error) or sentence
        case CganError():
            return error.exit_code, sentence
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted."
        case OSError():
            where = f"{printable(error.filename, MAX_SENTENCE)}: " if error.filename else ""
            return 1, f"{where}{_SYSTEM.get(error.errno or 0, error.strerror or sentence)}."
        case ModuleNotFoundError():
            extra = _EXTRAS.get(command, "all")
            return 1, f'the package {error.name!r} is not installed; run: pip install "cgan-deploy[{extra}]"'
        case _:  # a bug of ours, said as such
            kind = type(error).__name__
            return 1, f"unexpected error ({kind}: {sentence}); run again with --debug for the traceback."
