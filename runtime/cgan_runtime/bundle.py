"""Read a bundle: nothing is used before every file's presence, kind, size and SHA-256 are checked."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path

from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import Artifact, File, Manifest, dumps, loads
from cgan_runtime.runners import Runner, runner_kind

__all__ = ["Bundle", "file_entry", "read_bundle", "write_manifest"]

MANIFEST = "bundle.json"
DEFAULT_BACKEND = "onnxruntime"
DEFAULT_PRECISION = "fp32"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose files were all checked when it was read."""

    path: Path
    manifest: Manifest
    digest: str

    def artifact(self, backend: str = DEFAULT_BACKEND, precision: str = DEFAULT_PRECISION) -> Artifact:
        """The artifact of one backend and precision.

        Raises:
            BundleError: the bundle has none; the message lists what it has.
        """
        for artifact in self.manifest.artifacts:
            if (artifact.backend, artifact.precision) == (backend, precision):
                return artifact
        have = ", ".join(f"{a.backend} {a.precision}" for a in self.manifest.artifacts)
        raise BundleError(f"{self.path} has no {backend} {precision} artifact, only: {have}.")

    def read(self, file: File) -> bytes:
        """The content of a file, hashed as it is read: what is returned is what the manifest promises."""
        data = (self.path / file.path).read_bytes()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise BundleError(_damaged(self.path / file.path))
        return data

    def runner(
        self,
        *,
        backend: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int = 0,
    ) -> Runner:
        """A runner for one artifact.

        Args:
            backend: a name of `RUNNERS`; onnxruntime by default.
            precision: fp32 by default.
            device: where it runs: "cpu", "cuda" or "cuda:1"; the backend's own choice by default.
            threads: CPU threads; 0 lets the backend choose.

        Raises:
            BundleError: the bundle has no such artifact, or it changed since the bundle was read.
            CganError: the backend is not installed or not known here; the message says what to install.
            UsageError: a device that the backend does not know.
        """
        artifact = self.artifact(backend or DEFAULT_BACKEND, precision or DEFAULT_PRECISION)
        kind = runner_kind(artifact.backend)
        if (reason := kind.absence()) is not None:
            raise CganError(f"{self.path / artifact.path} needs {kind.name}: {reason}")
        return kind.open(self.read(artifact), self.manifest.contract, device=device, threads=threads)

    def generator(
        self,
        *,
        backend: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int = 0,
    ) -> SeededGenerator:
        """The bundle as conditions and seeds to outputs; arguments and errors as for `runner`."""
        return SeededGenerator(self.runner(backend=backend, precision=precision, device=device, threads=threads))


def read_bundle(path: Path) -> Bundle:
    """Check the whole folder and return it.

    Raises:
        BundleError: not a bundle; a missing, extra, changed or truncated file; a link, a device or any other
            entry that is not a plain file.
    """
    _require_folder(path)
    entries = _entries(path)
    if MANIFEST not in entries:
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}.")
    manifest, digest = loads((path / MANIFEST).read_bytes(), str(path / MANIFEST))
    listed = {file.path: file for file in manifest.all_files}
    for name in sorted(set(entries) - set(listed) - {MANIFEST}):
        raise BundleError(
            f"{path / name} is not listed in {MANIFEST}; remove it, nothing unlisted may lie in a bundle."
        )
    for name, file in listed.items():
        if name not in entries:
            raise BundleError(f"{path / name} is missing; copy the bundle again or export the checkpoint again.")
        if entries[name] != file.bytes or _sha256(path / name) != file.sha256:
            raise BundleError(_damaged(path / name))
    return Bundle(path=path, manifest=manifest, digest=digest)


def file_entry(root: Path, name: str) -> File:
    """The manifest's entry of an existing file of a folder."""
    path = root / name
    return File(path=name, sha256=_sha256(path), bytes=path.stat().st_size)


def write_manifest(root: Path, manifest: Manifest) -> str:
    """Write bundle.json into an unfinished bundle folder; returns the digest."""
    text = dumps(manifest)
    (root / MANIFEST).write_text(text, encoding="utf-8")
    return str(json.loads(text)["digest"])


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if not path.exists():
        raise BundleError(f"{path} does not exist; a bundle folder as written by cgan-export is needed.")
    hint = f"; run: cgan-export {path}" if path.suffix in (".pt", ".pth", ".safetensors") else ""
    raise BundleError(f"{path} is a file, a bundle is a folder as written by cgan-export{hint}.")


def _entries(root: Path) -> dict[str, int]:
    """Relative path -> size of every plain file; anything else is refused. Links are not followed."""
    found: dict[str, int] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat()
        if stat.S_ISDIR(mode.st_mode):
            continue
        if not stat.S_ISREG(mode.st_mode):
            kind = "a link" if stat.S_ISLNK(mode.st_mode) else "not a plain file"
            raise BundleError(f"{path} is {kind}; a bundle holds plain files only, so copy the real file there.")
        found[path.relative_to(root).as_posix()] = mode.st_size
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(path: Path) -> str:
    return f"{path} is damaged (its SHA-256 does not match); copy the bundle again or export the checkpoint again."
