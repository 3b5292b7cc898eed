"""The log that is kept after a server ended: what Triton, the gateway and the supervisor wrote, of a bound size."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
from pathlib import Path
from typing import Final, final

__all__ = ["LOG_FILE", "ServerLog"]

LOG_FILE: Final = "server.log"  # then server.log.1 for what came before it, and so on
FILE_BYTES: Final = 6_400_000
OLDER_FILES: Final = 9  # with the first one: 10 files, 64 MB


class _Files(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names both
        """A full disk stops the log and not the server."""


@final
class ServerLog:
    """Lines of several writers in one place, each with the time and who wrote it.

    Args:
        folder: made if it is missing; only this user may read it, for a log may tell what people ask for.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / LOG_FILE
        self._files = _Files(self.path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")
        self._files.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))

    def write(self, writer: str, line: str) -> None:
        """Add one line."""
        self._files.handle(logging.LogRecord(writer, logging.INFO, str(self.path), 0, line.rstrip(), None, None))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # of a full disk
            self._files.close()
