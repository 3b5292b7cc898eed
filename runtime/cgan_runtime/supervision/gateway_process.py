"""The gateway as a process: start it, tell it what is served and where, hear what it says, end it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, final

from pydantic import ValidationError

from cgan_runtime.gateway.settings import Command, Event, GatewaySettings
from cgan_runtime.serving.process_tree import OWNER_VARIABLE, look, own_mark

__all__ = ["GATEWAY_COMMAND", "GatewayProcess"]

GATEWAY_COMMAND: Final = (sys.executable, "-m", "cgan_runtime.gateway")
PING_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 10.0  # of a gateway that is alive, as the system sees it, and hangs


@final
class GatewayProcess:
    """A gateway that was started; `is_ready` says whether its ports accept connections.

    Args:
        settings: how it serves.
        command: the program and its arguments.
        say: told each line that it writes to stderr.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        command: Sequence[str] = GATEWAY_COMMAND,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.began = time.monotonic()
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._reason = ""
        self._listening = False
        self._drain_seconds = settings.drain_seconds
        self._number = 0
        self._unanswered: dict[int, float] = {}
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            command,
            env={**os.environ, OWNER_VARIABLE: own_mark()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, after draining
        )
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        for work in (self._hear, self._write, lambda: self._read(say)):
            threading.Thread(target=work, daemon=True).start()
        self._send(Command(number=0, settings=settings))

    @property
    def process_id(self) -> int:
        """The process id of the gateway."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether its ports accept connections."""
        return self._listening

    def trouble(self) -> str | None:
        """What is wrong with it, in words; None where it runs and answers."""
        who = f"the gateway (process {self.process_id})"
        if (status := self._process.poll()) is not None:
            how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            return f"{who} {how}"
        if (seen := look(self.process_id)) is None or not seen.works:
            return f"{who} was stopped"
        with self._changed:
            oldest = min(self._unanswered.values(), default=None)
        if oldest is not None and time.monotonic() - oldest > SILENT_SECONDS:
            return f"{who} has not answered for {SILENT_SECONDS:.0f} s"
        return None

    def failure(self, trouble: str) -> str:
        """Why it never served: what it said, else what was seen."""
        with self._changed:
            return self._reason or f"{trouble} while starting; the log tells more."

    def tell(self, **content: Any) -> int:
        """Send a command; returns its number."""
        with self._changed:
            self._number += 1
            number = self._number
            self._unanswered[number] = time.monotonic()
        self._send(Command(number=number, **content))
        return number

    def ping(self) -> None:
        """Ask for a sign of life, where none is under way."""
        with self._changed:
            quiet = not self._unanswered
        if quiet:
            self.tell()

    def wait_done(self, number: int, seconds: float) -> bool:
        """Wait until a command has taken effect; whether it did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: number not in self._unanswered, seconds)

    def end(self) -> int:
        """Let it answer what it accepted, then end it; returns its exit status."""
        self._outgoing.put(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._drain_seconds + 5)
        return self.kill()

    def kill(self) -> int:
        """End it at once, with whatever it started; returns its exit status."""
        with contextlib.suppress(ProcessLookupError):  # nothing was left
            os.killpg(self.process_id, signal.SIGKILL)
        self._outgoing.put(None)
        return self._process.wait()

    def _send(self, command: Command) -> None:
        self._outgoing.put(command.model_dump_json().encode() + b"\n")

    def _write(self) -> None:
        """Write what is to be sent: in a thread, for a gateway that does not read would stop who watches it."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(OSError):  # it ended: whoever watches it sees that
            while (line := self._outgoing.get()) is not None:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _hear(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValidationError):  # a library that prints is no reason to end
                    self._note(Event.model_validate_json(line))

    def _note(self, event: Event) -> None:
        with self._changed:
            self._listening |= event.listening
            self._reason = event.failed or self._reason
            if event.done is not None:
                self._unanswered.pop(event.done, None)
            self._changed.notify_all()
        self.events.put(event)

    def _read(self, say: Callable[[str], object]) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe was asked for
        with self._process.stderr as lines:
            for line in lines:
                say(line.decode(errors="replace").rstrip())
