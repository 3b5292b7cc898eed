"""What a server asks of its callers, an API key, and what they ask of it, a certificate; and why one did not fit.

The key comes from the environment: the words of a command are seen by every user of the machine. The certificates
of an authority of one's own come from the variable of OpenSSL, which curl and Python read too; gRPC alone does not.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Any, Final

from cgan_runtime.address import Address
from cgan_runtime.errors import UsageError
from cgan_runtime.progress import note

__all__ = [
    "connection_fault",
    "grpc_credentials",
    "headers_for",
    "key_refused",
    "quiet_grpc",
    "tls_context",
    "trusted_file",
    "unreachable",
]

KEY_VARIABLE: Final = "CGAN_API_KEY"
TRUST_VARIABLE: Final = "SSL_CERT_FILE"

_warned: set[str] = set()

# The words of OpenSSL (HTTP) and of BoringSSL (gRPC), in the order in which they are looked for.
_FAULTS: Final = (
    (
        r"hostname mismatch|IP address mismatch|not in peer certificate|Hostname Verification Check failed",
        "its certificate is of another host than {host}; give a name that stands in the certificate",
    ),
    (
        r"certificate has expired|certificate is not yet valid",
        "its certificate is not valid today; it needs a new one, or a clock is wrong",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "its certificate is signed by no authority that is trusted here; set the environment variable "
        f"{TRUST_VARIABLE} to a PEM file with the certificate of the authority",
    ),
    (r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE", "the port does not speak TLS; give {plain}"),
    (r"UNEXPECTED_EOF|closed \(EOF\)", "it ended the connection; if the port does not speak TLS, give {plain}"),
    (r"selected ALPN|Failed parsing HTTP/2", "the port does not speak gRPC; give that of gRPC, or {http}"),
)


def headers_for(address: Address, key: str | None = None) -> dict[str, str]:
    """`authorization` with the key, for HTTP headers and gRPC metadata; empty without a key.

    A key that others on the way can read is noted on stderr, once for each host.

    Args:
        address: where it will be sent.
        key: instead of the one in CGAN_API_KEY.

    Raises:
        UsageError: a key that no header can hold.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
    if not key:
        return {}
    if not re.fullmatch("[ -~]+", key):  # the key itself is not shown
        raise UsageError(f"the API key is not one line of ASCII; set {KEY_VARIABLE} to one key.")
    if not address.is_tls and not address.is_loopback and address.host not in _warned:
        _warned.add(address.host)
        note(
            f"warning: the API key is sent to {address.host} unencrypted; where others can read the network, use "
            f"{address.scheme}s:// with a server that has a certificate (cgan-serve --tls-cert)."
        )
    return {"authorization": f"Bearer {key}"}


def trusted_file() -> Path | None:
    """The certificates that SSL_CERT_FILE names; None: those that the libraries trust by themselves.

    Raises:
        UsageError: it holds no certificate.
    """
    named = os.environ.get(TRUST_VARIABLE)
    if not named:
        return None
    try:
        ssl.create_default_context(cafile=named)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{TRUST_VARIABLE} names {named}, which is no PEM file with certificates ({error.strerror or error})."
        ) from error
    return Path(named)


def tls_context() -> ssl.SSLContext:
    """Trust what SSL_CERT_FILE names, else what the system trusts.

    Raises:
        UsageError: see `trusted_file`.
    """
    return ssl.create_default_context(cafile=trusted_file())


def grpc_credentials(root_certificates: bytes | None = None) -> Any:
    """The same for gRPC, as grpc.ChannelCredentials; without SSL_CERT_FILE its own list counts.

    Args:
        root_certificates: PEM, instead of that file.

    Raises:
        UsageError: see `trusted_file`.
    """
    import grpc

    if root_certificates is None and (named := trusted_file()) is not None:
        root_certificates = named.read_bytes()
    return grpc.ssl_channel_credentials(root_certificates)


def quiet_grpc() -> None:
    """Call it before gRPC is loaded, where TLS is spoken: else it writes of every failed handshake to stderr."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def key_refused(url: str, *, had_key: bool) -> str:
    """The sentence for HTTP 401 and gRPC UNAUTHENTICATED."""
    if had_key:
        return f"{url} did not accept the API key; set {KEY_VARIABLE} to one that the server knows."
    return f"{url} wants an API key; set the environment variable {KEY_VARIABLE}."


def connection_fault(address: Address, said: str) -> str | None:
    """What is wrong and what to do, from the words of a library; None where waiting or another server may help."""
    other = {
        "host": address.host,
        "plain": f"{address.scheme.removesuffix('s')}://{address.authority}",
        "http": f"{'https' if address.is_tls else 'http'}://{address.authority}",
    }
    return next((meaning.format(**other) for words, meaning in _FAULTS if re.search(words, said, re.I)), None)


def unreachable(address: Address, said: object) -> str:
    """The sentence for a server to which no connection came about.

    Args:
        address: of the server.
        said: the error of a library, or its words.
    """
    text = " ".join(str(said).split())
    if (fault := connection_fault(address, text)) is not None:
        return f"{address.url} cannot be used: {fault}."
    question = "is cgan-serve running there?"
    if address.scheme == "grpc" and "Socket closed" in text:
        question = "does the port speak grpcs:// or HTTP, or did the server end?"
    return f"{address.url} cannot be reached ({text[:200]}); {question}"
