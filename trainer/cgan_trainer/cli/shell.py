"""What every command does the same: one sentence on stderr and an exit code, never a traceback.

Exit codes: 0 ok, 1 failed, 2 usage, 3 bad input, 130 interrupted. `--debug` anywhere shows the traceback.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import cyclopts

from cgan_trainer.errors import TrainerError
from cgan_trainer.progress import leads

__all__ = ["run"]

_SYSTEM = {
    errno.ENOSPC: "the disk is full: free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up: free some space and run the command again",
    errno.EACCES: "permission denied: choose a place you may write to",
    errno.EPERM: "permission denied: choose a place you may write to",
    errno.EROFS: "the file system is read-only: choose a place you may write to",
}


def run(
    app: cyclopts.App,
    argv: Sequence[str] | None = None,
    *,
    prepare: Callable[[Sequence[str]], list[str]] = list,
) -> NoReturn:
    """Run a command and exit with its code (a command returns an int, or None for 0).

    Args:
        app: the command.
        argv: its words; those of the process by default.
        prepare: what becomes of the words first; it may refuse them.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    with contextlib.suppress(ValueError):  # only the main thread may; elsewhere SIGTERM keeps its meaning
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up after SIGTERM as after Ctrl-C
    app.suppress_keyboard_interrupt = False  # cyclopts would exit without a word
    try:
        code = app(prepare(words), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    # The last net under every command; what is caught is told in one sentence and ends the process.
    except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - see above
        if debug:
            traceback.print_exception(problem)
        code, sentence = _verdict(problem)
        # Of several processes started by torchrun all refuse what is wrong with a command: the first says it.
        if not isinstance(problem, TrainerError) or leads():
            print(f"{app.name[0]}: {sentence}", file=sys.stderr)
    raise SystemExit(code or 0)


def _verdict(problem: BaseException) -> tuple[int, str]:
    sentence = " ".join(str(problem).split())
    match problem:
        case KeyboardInterrupt():
            return 130, "interrupted"
        case cyclopts.CycloptsError():
            return 2, f"error: {sentence}"
        case TrainerError():
            return problem.exit_code, f"error: {sentence}"
        case OSError(errno=int(number)) if number in _SYSTEM:
            where = f"{problem.filename}: " if problem.filename else ""
            return 1, f"error: {where}{_SYSTEM[number]}"
        case ModuleNotFoundError():
            return 1, f'error: the package {problem.name!r} is not installed: pip install "cgan-deploy[train]"'
        case _:
            return 1, (
                f"unexpected error: {type(problem).__name__}: {sentence}; run again with --debug for the traceback"
            )
