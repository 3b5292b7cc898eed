"""The last two files of a bundle folder: bundle.json, and the signature over everything."""

from __future__ import annotations

from pathlib import Path

from cgan_runtime.bundle import file_entry, write_manifest
from cgan_runtime.manifest import MANIFEST, Manifest
from cgan_runtime.signing import sign

__all__ = ["seal"]


def seal(root: Path, manifest: Manifest, sign_with: Path | None) -> str:
    """Write them into an unfinished folder, the signature where a private key (PEM) is given; returns the digest.

    Raises:
        UsageError: a key that cannot be used.
        CganError: bundle.json would be larger than any reader takes.
    """
    digest = write_manifest(root, manifest)
    if sign_with is not None:
        files = (*manifest.all_files, file_entry(root, MANIFEST))
        sign(root, {file.path: file.sha256 for file in files}, sign_with)
    return digest
