"""The address of a server: http://HOST:PORT or grpc://HOST:PORT, and https:// or grpcs:// with TLS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cgan_runtime.errors import UsageError

__all__ = ["SCHEMES", "Address", "address_of"]

SCHEMES: Final = ("http", "grpc", "https", "grpcs")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens, and how it is spoken to.

    Attributes:
        scheme: one of SCHEMES.
        host: a name or a number, without brackets.
        port: 1 to 65535.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """HOST:PORT, as clients take it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole of it, without a slash at the end."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_grpc(self) -> bool:
        """Whether gRPC is spoken, and not HTTP."""
        return self.scheme.startswith("grpc")

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme.endswith("s")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, by a number or a name that never means another one."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def address_of(url: str, schemes: Sequence[str] = SCHEMES) -> Address:
    """Read an address.

    Args:
        url: as a user wrote it.
        schemes: those that are possible here.

    Raises:
        UsageError: another scheme, no port, or more than scheme, host and port.
    """
    try:
        parts = urlsplit(url.rstrip("/"))
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket that is not closed
        parts, host, port = urlsplit(""), None, None
    more = "@" in parts.netloc or any((parts.path, parts.query, parts.fragment))
    if parts.scheme not in schemes or not host or not port or more:
        shown = re.sub(r"//[^/]*@", "//...@", url)  # a password may stand there
        *others, last = (f"{scheme}://HOST:PORT" for scheme in schemes)
        forms = f"{', '.join(others)} or {last}" if others else last
        raise UsageError(f"{shown} is not a server address here; give {forms}.")
    return Address(scheme=parts.scheme, host=host, port=port)
