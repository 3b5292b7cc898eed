"""What servers leave that were killed: processes, shared memory, temporary folders. Those of running ones stay."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Final

from cgan_runtime.serving.process_tree import look, orphans, own_mark, owner_runs

__all__ = ["region_prefix", "remove_regions", "sweep", "working_folder"]

SHM_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - Triton's own place for its stubs' shared memory
SHM_PREFIX: Final = "cgan_serve_"  # then the owner's mark, the number of the start and Triton's own name
FOLDER_PREFIX: Final = "cgan-serve-"  # then the owner's mark
GONE_SECONDS: Final = 5.0
OWNER: Final = re.compile(r"^cgan[-_]serve[-_](\d+_\d+)[-_]")


def working_folder() -> Path:
    """A new folder of this process for the model repository."""
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{own_mark()}-"))


def region_prefix(start: int) -> str:
    """How the names of all shared memory begin that start number `start` of a Triton by this process makes."""
    return f"{SHM_PREFIX}{own_mark()}_{start}_"


def remove_regions(prefix: str) -> None:
    """Remove the shared memory of a Triton that ended."""
    for region in SHM_FOLDER.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def sweep() -> None:
    """End the processes, and remove the files, of launchers that are gone."""
    killed = list(orphans())
    for process in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS
    while any((seen := look(process)) and seen.state != "Z" for process in killed) and time.monotonic() < deadline:
        time.sleep(0.02)
    folders = Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*")
    for left in (*SHM_FOLDER.glob(f"{SHM_PREFIX}*"), *folders):
        owner = OWNER.match(left.name)
        if owner is not None and not owner_runs(owner[1]):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
