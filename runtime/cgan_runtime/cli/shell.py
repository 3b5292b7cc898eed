"""Run a console command the way every command here behaves.

stdout carries results, stderr progress and the one-line error; the exit code tells what kind of error it was
(see `cgan_runtime.errors`). Nobody who made a mistake sees a traceback unless `--debug` is given.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cyclopts import App, CycloptsError, Parameter

from cgan_runtime.errors import CganError

__all__ = ["app", "run"]

INTERRUPTED = 130


def app(name: str) -> App:
    """A cyclopts application that leaves errors and exit codes to `run`; its help is the command's docstring."""
    return App(
        name=name,
        default_parameter=Parameter(negative=(), show_default=False),  # docstrings name the defaults that matter
        version=importlib.metadata.version("cgan-deploy"),
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # Ctrl-C is ours: one line, exit code 130
    )


def run(command: App, argv: Sequence[str] | None = None) -> NoReturn:
    """Execute the command with `argv` (the process's own by default) and exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    sys.exit(_outcome(command, words, debug=debug))


def _outcome(command: App, words: list[str], *, debug: bool) -> int:
    try:
        result = _call(command, words)
        return result if isinstance(result, int) else 0
    except BrokenPipeError:  # the reader of our stdout went away; its business
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost handler; --debug shows it all
        code, sentence = _explain(error)
        if debug:
            traceback.print_exc()
        print(f"{command.name[0]}: error: {sentence}", file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence of an error."""
    match error:
        case CycloptsError():
            return 2, " ".join(str(error).split())
        case CganError():
            return error.exit_code, str(error)
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted."
        case OSError():
            return 1, _os_sentence(error)
        case _:  # a bug of ours, said as such
            kind = type(error).__name__
            return 1, f"unexpected error ({kind}: {error}); run again with --debug for the traceback."


def _call(command: App, words: list[str]) -> Any:
    call: Callable[..., Any] = command
    return call(words, exit_on_error=False, print_error=False, result_action="return_value")


def _os_sentence(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return f"{where}no room left on the disk; free some space and run the command again."
    return f"{where}{error.strerror or error}."
