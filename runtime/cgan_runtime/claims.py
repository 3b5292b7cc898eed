"""One process at a time writes to a place: the first one wins, the others say so at once, and stop or wait."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cgan_runtime.errors import CganError

__all__ = ["claim"]


@contextlib.contextmanager
def claim(path: Path, *, wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Keep other processes from claiming `path` during the block.

    The lock is one of the kernel, so it ends with the process, however that ends. Its file `.NAME.lock` lies beside
    `path` and is removed at the end. Folders that have to be made for it go again if nothing else came into them.

    Args:
        path: a file or folder that need not exist.
        wait: for what everybody needs and nobody needs twice: called where another process has it, to say so; then
            the block begins when that process has ended or is done. It looks first at what is there by then.

    Raises:
        CganError: another process, or another claim of this one, has it, and there is no `wait`.
        OSError: the folder of `path` cannot be made or written.
    """
    import filelock

    path = path.resolve()
    made = [folder for folder in path.parents if not folder.exists()]  # the innermost first
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name if len(path.name.encode()) < 200 else hashlib.sha256(path.name.encode()).hexdigest()
    file = path.with_name(f".{name}.lock")
    lock = filelock.FileLock(file)
    with contextlib.suppress(NotImplementedError):  # a file system without locks
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            if wait is None:
                raise CganError(
                    f"another process is writing to {path}; wait until it has ended, or choose another place."
                ) from error
            wait()
            lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            file.unlink(missing_ok=True)  # still held: whoever waits on the removed file notices and starts afresh
        lock.release()
        with contextlib.suppress(OSError):  # no longer empty
            for folder in made:
                folder.rmdir()
