"""TensorRT's timing cache: what was measured in one build makes the next one of the same GPU much shorter.

One file for each (GPU, driver, TensorRT), in the user's cache folder. It is only ever a matter of time: a file that
is damaged or of another machine is passed over and said, and a write that fails costs the next build its saving.
TensorRT-RTX measures nothing when it builds, so it has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cgan_runtime.atomic import write_atomic
from cgan_runtime.cuda.driver import Device

from cgan_export.engines.api import Config

__all__ = ["default_path", "keep", "use"]

MAX_BYTES: Final = 256 << 20


def default_path(device: Device, version: str) -> Path:
    """The file of this GPU, driver and TensorRT in the user's cache folder."""
    import platformdirs

    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{device.name}-{device.target}-cuda{device.driver}-tensorrt{version}")
    return platformdirs.user_cache_path("cgan-deploy") / "timing" / f"{name}.cache"


def use(config: Config, path: Path, note: Callable[[str], None]) -> None:
    """Give the builder what the file holds; an empty cache where there is no file or it cannot be used."""
    content = _read(path)
    if content and _accepts(config, content):
        return
    if content is None or content:
        note(f"the timing cache {path} is damaged or of another GPU or TensorRT: it is replaced")
    _accepts(config, b"")


def keep(config: Config, path: Path, note: Callable[[str], None]) -> None:
    """Replace the file by what the builder knows now."""
    cache = config.get_timing_cache()
    if cache is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, bytes(memoryview(cache.serialize())))
    except OSError as error:
        note(f"the timing cache {path} cannot be written ({error.strerror or error}): the next build takes as long")


def _read(path: Path) -> bytes | None:
    """The content; empty where there is no file, None where it cannot be one."""
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except FileNotFoundError:
        return b""
    except OSError:
        return None


def _accepts(config: Config, content: bytes) -> bool:
    try:
        cache = config.create_timing_cache(content)
    except (RuntimeError, TypeError, ValueError):  # what the bindings raise for bytes that are no cache
        return False
    return cache is not None and bool(config.set_timing_cache(cache, False))
