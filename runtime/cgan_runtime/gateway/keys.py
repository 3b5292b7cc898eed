"""API keys: who may call."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.gateway.refusal import Refusal

__all__ = ["Keys"]

MIN_LENGTH = 16


class Keys:
    """The keys of a file, one per line; lines that begin with # are comments. None at all: everybody may call.

    Args:
        path: the file.

    Raises:
        CganError: it cannot be read.
        UsageError: it has no key, or a short one.
    """

    def __init__(self, path: Path | None) -> None:
        self._digests: frozenset[bytes] = frozenset()
        self.needed = path is not None
        if path is None:
            return
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CganError(f"{path} cannot be read as a file of API keys: {error}.") from error
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise UsageError(f"{path} has no API key; write one per line.")
        if any(len(key) < MIN_LENGTH for key in keys):
            raise UsageError(f"{path} has a key of fewer than {MIN_LENGTH} characters, which can be guessed.")
        self._digests = frozenset(_digest(key) for key in keys)

    def check(self, authorization: str | None) -> None:
        """Stop a call without a key of the file.

        Args:
            authorization: the value of the header, or of the metadata, `authorization`.

        Raises:
            Refusal: no key, or another one.
        """
        if not self.needed:
            return
        scheme, _, key = (authorization or "").partition(" ")
        # Digests are looked up: how long that takes says nothing about a key.
        if scheme.lower() != "bearer" or _digest(key.strip()) not in self._digests:
            raise Refusal(
                "an API key is needed: send the header Authorization: Bearer KEY.", status=401, reason="no_key"
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
