"""The gateway's log: one JSON object per line, without what was sent or answered."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["log_as_json"]


class _JsonLines(logging.Formatter):
    """One object per record; `fields` of a record are its own keys, `ids` those of the trace."""

    def __init__(self, ids: Callable[[], dict[str, str]] | None) -> None:
        super().__init__()
        self._ids = ids

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            **({"message": text} if (text := record.getMessage()) else {}),
            **getattr(record, "fields", {}),
            **({} if self._ids is None else self._ids()),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json(ids: Callable[[], dict[str, str]] | None = None) -> None:
    """Write every log to stderr so; `ids` gives the trace that a line belongs to, where there are traces."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(ids))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
