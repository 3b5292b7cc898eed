"""Engines that this user built on this machine: they run without a signature, those of others do not.

A TensorRT plan holds program code. Each one that is built here leaves an empty file named by its SHA-256 in the
user's cache folder; whoever can write there can run programs as this user anyway.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["is_own", "remember_own"]


def remember_own(sha256: str) -> None:
    """Note that a plan was built here.

    Raises:
        OSError: the cache folder cannot be written.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / sha256).touch()


def is_own(sha256: str) -> bool:
    """Whether a plan was built here by this user."""
    return (_folder() / sha256).is_file()


def _folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("cgan-deploy") / "plans"
