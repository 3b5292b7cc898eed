"""Read a bundle: nothing is used before every file's presence, kind, size and SHA-256 are checked."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.limits import printable
from cgan_runtime.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, Artifact, File, Manifest, dumps, loads
from cgan_runtime.own_plans import is_own
from cgan_runtime.plain_file import open_plain, read_plain, refuse_other_kinds
from cgan_runtime.runners import Runner, RunnerKind, runner_kind

__all__ = ["Bundle", "file_entry", "read_bundle", "require_replaceable", "write_manifest"]

DEFAULT_BACKEND = "onnxruntime"
DEFAULT_PRECISION = "fp32"
HASHING_THREADS = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle whose files were all checked when it was read.

    Attributes:
        path: the folder.
        manifest: what bundle.json says.
        digest: of the manifest, and so of everything.
        is_signed: whether a signature was required when it was read, and held.
        held: content of files for their first `read`, by path, see `read_bundle`.
    """

    path: Path
    manifest: Manifest
    digest: str
    is_signed: bool = False
    held: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def model_digest(self) -> str:
        """Of what the generator is by definition, whatever engines lie beside it; it names the model in images."""
        return self.manifest.model_digest

    def artifact(
        self, backend: str = DEFAULT_BACKEND, precision: str = DEFAULT_PRECISION, device: str | None = None
    ) -> Artifact:
        """The artifact of one backend and precision; of several engines the first that runs on the device here.

        Raises:
            BundleError: the bundle has none, and the message lists what it has; or none that was built for the
                device and the versions here, and the message says for what the first was built.
            CganError: this release has no runner for it, or what it needs is not installed.
        """
        found = [a for a in self.manifest.artifacts if (a.backend, a.precision) == (backend, precision)]
        if not found:
            have = ", ".join(f"{a.backend} {a.precision}" for a in self.manifest.artifacts)
            raise BundleError(f"{self.path} has no {backend} {precision} artifact, only: {have}.")
        if found[0].plan is None:
            return found[0]
        kind = self._installed(found[0])
        reasons = [kind.misfit(artifact.plan, device) for artifact in found if artifact.plan is not None]
        if None not in reasons:
            raise BundleError(f"{self.path / found[0].path}: {reasons[0]}: run cgan-export --rebuild {self.path}")
        return found[reasons.index(None)]

    def read(self, file: File | str) -> bytes:
        """The content of a file, hashed as it is read: what is returned is what the manifest promises.

        Args:
            file: an entry of the manifest, or the path of one.

        Raises:
            BundleError: the file changed since the bundle was read.
            KeyError: no file of the manifest.
        """
        if isinstance(file, str):
            file = {entry.path: entry for entry in self.manifest.all_files}[file]
        if (held := self.held.pop(file.path, None)) is not None:
            return held
        data = read_plain(self.path / file.path, file.bytes)
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            raise BundleError(_damaged(self.path / file.path))
        return data

    def require_trusted(self, artifact: Artifact) -> RunnerKind:
        """What runs an artifact; program code only where it was built here or its signature was required.

        Raises:
            BundleError: it may hold program code, was not built here, and no signature was required.
            CganError: this release has no runner for it.
        """
        kind = runner_kind(artifact.backend)
        if kind.runs_code and not (self.is_signed or is_own(artifact.sha256)):
            raise BundleError(
                f"{self.path / artifact.path} may hold program code, which {kind.name} would run; it was not built "
                "here, so it is used only from a bundle whose signature is checked: give --require-signature "
                "PUBLIC_KEY."
            )
        return kind

    def _installed(self, artifact: Artifact) -> RunnerKind:
        """What runs an artifact, once it is known to be installed."""
        kind = runner_kind(artifact.backend)
        if (reason := kind.absence()) is not None:
            raise CganError(f"{self.path / artifact.path} needs {kind.name}: {reason}")
        return kind

    def runner(
        self,
        *,
        backend: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int = 0,
        in_flight: int = 1,
    ) -> Runner:
        """A runner for one artifact.

        Args:
            backend: a name of `RUNNERS`; onnxruntime by default.
            precision: fp32 by default.
            device: where it runs: "cpu", "cuda" or "cuda:1", with ONNX Runtime also "tensorrt" or "tensorrt:1"; the
                backend's own choice by default.
            threads: CPU threads; 0 lets the backend choose.
            in_flight: see `RunnerKind.open`; more than one is for several threads with TensorRT or OpenVINO.

        Raises:
            BundleError: the bundle has no such artifact, or it changed since the bundle was read; or it may hold
                program code and no signature was required.
            CganError: the backend is not installed or not known here; the message says what to install.
            UsageError: a device that the backend does not know.
        """
        artifact = self.artifact(backend or DEFAULT_BACKEND, precision or DEFAULT_PRECISION, device)
        self.require_trusted(artifact)
        kind = self._installed(artifact)
        return kind.open(
            self.read(artifact),
            self.manifest.contract,
            precision=artifact.precision,
            device=device,
            threads=threads,
            in_flight=in_flight,
        )

    def generator(
        self,
        *,
        backend: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int = 0,
        in_flight: int = 1,
    ) -> SeededGenerator:
        """The bundle as conditions and seeds to outputs; arguments and errors as for `runner`."""
        return SeededGenerator(
            self.runner(backend=backend, precision=precision, device=device, threads=threads, in_flight=in_flight)
        )


def read_bundle(
    path: Path, *, require_signature: Path | None = None, hold: tuple[str, str] | None = None
) -> Bundle:
    """Check the whole folder and return it.

    Names and sizes are checked before a file is read; the manifest is read first, and is small.

    Args:
        path: the folder.
        require_signature: a public key; the bundle must be signed with the private key that belongs to it.
        hold: backend and precision of an artifact that is used next: its content stays in memory from the check to
            the first `read`, so that a large file is read and hashed once.

    Raises:
        BundleError: not a bundle; a missing, extra, changed or truncated file; a link, a device or any other
            entry that is not a plain file; no signature of this key where one is required.
        UsageError: a key that cannot be read.
        CganError: a signature is required and the package that checks it is not installed.
    """
    _require_folder(path)
    if not (path / MANIFEST).is_symlink() and not (path / MANIFEST).exists():
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}.")
    data = read_plain(path / MANIFEST, MAX_MANIFEST_BYTES)
    manifest, digest = loads(data or b"", str(path / MANIFEST))
    listed = {file.path: file for file in manifest.all_files}
    sizes = _sizes(path, {MANIFEST, SIGNATURE, *listed})
    for name, file in listed.items():
        if name not in sizes:
            raise BundleError(f"{path / name} is missing; copy the bundle again or export the checkpoint again.")
        if sizes[name] != file.bytes:
            raise BundleError(_damaged(path / name))
    if require_signature is not None:
        from cgan_runtime.signing import require_signed

        hashes = {MANIFEST: hashlib.sha256(data or b"").hexdigest()} | {n: f.sha256 for n, f in listed.items()}
        require_signed(path, hashes, require_signature)
    kept = {a.path for a in manifest.artifacts if (a.backend, a.precision) == hold and a.plan is None}
    with ThreadPoolExecutor(max_workers=HASHING_THREADS) as pool:  # hashing lets other threads run
        contents = pool.map(lambda file: _checked(path, file, keep=file.path in kept), listed.values())
        held = {name: data for name, data in zip(listed, contents, strict=True) if data is not None}
    return Bundle(path=path, manifest=manifest, digest=digest, is_signed=require_signature is not None, held=held)


def _checked(root: Path, file: File, *, keep: bool) -> bytes | None:
    """Read a file of the bundle and hash it; its content where it is kept.

    Raises:
        BundleError: it is not what the manifest promises.
    """
    with open_plain(root / file.path) as (stream, size):
        if size != file.bytes:
            raise BundleError(_damaged(root / file.path))
        data = stream.read(size) if keep else None
        digest = hashlib.sha256(data) if data is not None else hashlib.file_digest(stream, "sha256")
        if digest.hexdigest() != file.sha256:
            raise BundleError(_damaged(root / file.path))
    return data


def require_replaceable(path: Path) -> None:
    """Let a folder be replaced that is empty, or a bundle with nothing else in it; it may be damaged.

    Raises:
        UsageError: it is something else, or holds files that the bundle does not list.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    try:
        _require_folder(path)
        data = read_plain(path / MANIFEST, MAX_MANIFEST_BYTES) or b""
        document = json.loads(data)
        entries = [*document["artifacts"], *document["files"]]
        listed = {str(entry["path"]) for entry in entries} if "schema_version" in document else set()
    except (BundleError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a bundle, so --force does not replace it; choose another name.") from error
    try:
        _sizes(path, {MANIFEST, SIGNATURE, *listed})
    except BundleError as error:
        raise UsageError(f"{path} is not replaced: {error}") from error


def file_entry(root: Path, name: str) -> File:
    """The manifest's entry of an existing file of a folder."""
    path = root / name
    return File(path=name, sha256=_sha256(path), bytes=path.stat().st_size)


def write_manifest(root: Path, manifest: Manifest) -> str:
    """Write bundle.json into an unfinished bundle folder; returns the digest.

    Raises:
        CganError: it would be larger than any reader takes.
    """
    text = dumps(manifest)
    if len(text.encode()) > MAX_MANIFEST_BYTES:
        raise CganError(
            f"{MANIFEST} would have {len(text.encode())} bytes, more than the {MAX_MANIFEST_BYTES} that are read: "
            "the checkpoint's names or training facts are too long."
        )
    (root / MANIFEST).write_text(text, encoding="utf-8")
    return str(json.loads(text)["digest"])


def _require_folder(path: Path) -> None:
    if path.is_dir():
        return
    if not path.exists():
        raise BundleError(f"{path} does not exist; a bundle folder as written by cgan-export is needed.")
    hint = f"; run: cgan-export {path}" if path.suffix in (".pt", ".pth", ".safetensors") else ""
    raise BundleError(f"{path} is a file, a bundle is a folder as written by cgan-export{hint}.")


def _sizes(root: Path, wanted: Set[str]) -> dict[str, int]:
    """Relative path -> size of the plain files in a folder; what is not wanted is refused at sight.

    Links are not followed, and only folders that lead to a wanted file are opened, so a folder that holds
    a million entries, or is nested a thousand times, costs nothing.
    """
    folders = {parent.as_posix() for name in wanted for parent in PurePosixPath(name).parents}
    found: dict[str, int] = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(root / inside) as entries:
            for entry in entries:
                name, mode = f"{inside}{entry.name}", entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(mode.st_mode) and name in folders:
                    waiting.append(f"{name}/")
                    continue
                if not stat.S_ISDIR(mode.st_mode):
                    refuse_other_kinds(root / name, mode.st_mode)
                if name not in wanted or stat.S_ISDIR(mode.st_mode):
                    raise BundleError(
                        f"{root / printable(name)} is not listed in {MANIFEST}; remove it, nothing unlisted may "
                        "lie in a bundle."
                    )
                found[name] = mode.st_size
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(path: Path) -> str:
    return f"{path} is damaged (its SHA-256 does not match); copy the bundle again or export the checkpoint again."
