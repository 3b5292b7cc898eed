"""The gateway's log: one JSON object per line, without what was sent or answered."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

__all__ = ["log_as_json"]

BATCH_SECONDS: Final = 0.1


class _JsonLines(logging.Formatter):
    """One object per record; `fields` of a record are its own keys, `ids` those of the trace."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            **({"message": text} if (text := record.getMessage()) else {}),
            **getattr(record, "fields", {}),
            **getattr(record, "ids", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Named(logging.Filter):
    """Gives each record the trace of its moment; it is written later."""

    def __init__(self, ids: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self._ids = ids

    def filter(self, record: logging.LogRecord) -> bool:
        record.ids = self._ids()
        return True


class _Batches(logging.StreamHandler[TextIO]):
    """Writes what a request has to say after it was answered: each write wakes the process that reads the log.

    Warnings are written at once, with everything before them.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record)
        if record.levelno >= logging.WARNING:
            self.flush()
        elif len(self._kept) == 1:
            try:
                asyncio.get_running_loop().call_later(BATCH_SECONDS, self.flush)
            except RuntimeError:  # there is no loop yet, or no longer
                self.flush()

    def flush(self) -> None:
        kept, self._kept = self._kept, []
        if kept:
            self.stream.write("".join(f"{self.format(record)}\n" for record in kept))
        super().flush()


def log_as_json(ids: Callable[[], dict[str, str]] | None = None) -> None:
    """Write every log to stderr so; `ids` gives the trace that is being worked on, where there are traces."""
    handler = _Batches(sys.stderr)
    handler.setFormatter(_JsonLines())
    if ids is not None:
        handler.addFilter(_Named(ids))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
