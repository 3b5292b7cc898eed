"""What TensorRT says while it works: its messages, kept instead of printed, and how far a build has come.

Both are classes of ours below a class of the bindings, made when the module is known.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any, Final

from cgan_runtime.limits import printable

from cgan_export.engines.api import TensorRT

__all__ = ["BuildProgress", "Messages", "build_progress", "messages", "plain_words"]

LONGEST: Final = 400
SEVERE: Final = ("ERROR", "INTERNAL_ERROR")


class Messages:
    """Keeps the errors that TensorRT logs; nothing reaches the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        """Called by TensorRT."""
        if severity.name in SEVERE:
            self.errors.append(message)

    @property
    def last_error(self) -> str:
        """In one line; a general sentence where nothing was logged."""
        return plain_words(self.errors[-1]) if self.errors else "it gave no reason"


class BuildProgress:
    """Passes on how far each phase of a build is; an exception, Ctrl-C included, ends the build and is kept.

    It must not be raised into TensorRT, which has no way to handle it.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self.stopped_by: BaseException | None = None
        self._show = show
        self._steps: dict[str, int] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT, as the next two."""
        self._steps[phase_name] = num_steps
        if parent_phase is None:
            self.step_complete(phase_name, 0)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Whether to go on."""
        try:
            self._show(f"{phase_name.lower()}: step {step} of {self._steps.get(phase_name, step)}")
        except BaseException as error:  # noqa: BLE001 - raised again once TensorRT has ended the build
            self.stopped_by = error
        return self.stopped_by is None

    def phase_finish(self, phase_name: str) -> None:
        """Forget the phase."""
        self._steps.pop(phase_name, None)


def messages(trt: TensorRT) -> Messages:
    """A logger for this module."""
    made: Messages = types.new_class("Log", (Messages, trt.ILogger))()
    return made


def build_progress(trt: TensorRT, show: Callable[[str], None]) -> BuildProgress:
    """A progress monitor for this module."""
    made: BuildProgress = types.new_class("Monitor", (BuildProgress, trt.IProgressMonitor))(show)
    return made


def plain_words(message: str) -> str:
    """What TensorRT says, in one line and without the places in its source: they help nobody here."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # The line after "Invalid Node - NAME" says why; CUDA's complaint about a missing driver comes after it.
    line = lines[1] if len(lines) > 1 and lines[0].startswith("Invalid Node") else (lines or [""])[0]
    line = re.sub(r"^[\w:\[\]. ]*Error Code \d+: ", "", line)
    line = re.sub(r"\s*In \w+ at \S+?:\d+\)?", "", line).replace("API Usage Error (", "")
    return printable(line.strip(' .)"'), LONGEST)
