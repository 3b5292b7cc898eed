"""Signatures of bundles, by the OpenSSF Model Signing library, with keys and without a network.

`model.sig` in a bundle is a detached statement of the SHA-256 of every other file, bundle.json included, signed by
a private elliptic-curve key. `model_signing verify key BUNDLE --signature BUNDLE/model.sig --public_key KEY` of the
library reads it too. What is compared with the statement are the hashes that a bundle's files are held to whenever
they are read, so what is signed is what is executed.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.limits import printable
from cgan_runtime.manifest import SIGNATURE
from cgan_runtime.plain_file import read_plain

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["require_private_key", "require_signed", "sign"]

MAX_SIGNATURE_BYTES: Final = 1_000_000
_PRIVATE: Final = "an elliptic-curve key as PEM is needed: openssl ecparam -name prime256v1 -genkey -noout -out KEY"
_PUBLIC: Final = "the public half of an elliptic-curve key is needed: openssl ec -in KEY -pubout"


def sign(root: Path, hashes: Mapping[str, str], private_key: Path) -> None:
    """Write `model.sig` into an unfinished bundle folder.

    Args:
        root: the folder.
        hashes: relative path -> SHA-256 of every file.
        private_key: a PEM file without a password.

    Raises:
        UsageError: the key cannot be used.
        CganError: the package model-signing is not installed.
    """
    config = _signer(private_key).set_hashing_config(_Hashes(root.name, hashes))
    config.sign(root, root / SIGNATURE)


def require_private_key(private_key: Path) -> None:
    """Stop where `sign` could not sign, before hours of work.

    Raises:
        UsageError: the key cannot be used.
        CganError: the package model-signing is not installed.
    """
    _signer(private_key)


def require_signed(root: Path, hashes: Mapping[str, str], public_key: Path) -> None:
    """Hold the files of a bundle to its signature.

    Args:
        root: the folder.
        hashes: relative path -> SHA-256 that every file is held to.
        public_key: a PEM file; the signature must be of the private key that belongs to it.

    Raises:
        UsageError: the key cannot be used.
        BundleError: there is no signature, or it is of another key, or of other files.
        CganError: the package model-signing is not installed.
    """
    library = _import_model_signing()
    try:
        config = library.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except Exception as error:  # OSError, or one of several of the cryptography package
        raise UsageError(f"{public_key} cannot be used as a public key: {_PUBLIC}.") from error
    if not (root / SIGNATURE).exists():
        raise BundleError(f"{root} is not signed: ask for a signed one, or sign it (docs/bundle.md, Signatures).")
    data = read_plain(root / SIGNATURE, MAX_SIGNATURE_BYTES)
    try:
        with tempfile.NamedTemporaryFile(suffix=".sig") as copy, contextlib.redirect_stdout(sys.stderr):
            copy.write(data or b"")
            copy.flush()
            config.set_hashing_config(_Hashes(root.name, hashes)).verify(root, Path(copy.name))
    except Exception as error:  # ValueError, InvalidSignature, and whatever a damaged file leads to
        reason = f": {printable(error)}" if isinstance(error, ValueError) else ""
        raise BundleError(
            f"{root} is not what the owner of {public_key} signed{reason}; take it from its source again."
        ) from error


class _Hashes:
    """What the library asks for hashes, answered with those we have: no file is read a second time."""

    def __init__(self, name: str, hashes: Mapping[str, str]) -> None:
        self._name, self._hashes = name, hashes

    def hash(self, *_: object, **__: object) -> Any:
        manifest = _import_model_signing().manifest
        told = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
        digest = manifest.hashing.Digest
        items = [
            manifest.FileManifestItem(path=PurePosixPath(path), digest=digest("sha256", bytes.fromhex(sha256)))
            for path, sha256 in self._hashes.items()
        ]
        return manifest.Manifest(self._name, items, manifest.SerializationType.from_args(told))

    def add_ignored_paths(self, *_: object, **__: object) -> None:
        """Nothing is ignored: the signature file is in no manifest, and every other file is in it."""


def _signer(private_key: Path) -> Any:
    library = _import_model_signing()
    try:
        return library.signing.Config().use_elliptic_key_signer(private_key=private_key)
    except Exception as error:  # OSError, or one of several of the cryptography package
        raise UsageError(f"{private_key} cannot be used to sign, or has a password: {_PRIVATE}.") from error


def _import_model_signing() -> ModuleType:
    try:
        import model_signing
        import model_signing.manifest
        import model_signing.signing
        import model_signing.verifying
    except ImportError as error:
        raise CganError('model-signing is not installed; run: pip install "cgan-deploy[signing]"') from error
    return model_signing
