"""Addresses of servers, and what is sent to them."""

from __future__ import annotations

import os

import pytest
from cgan_runtime import access
from cgan_runtime.address import Address, address_of
from cgan_runtime.errors import UsageError

KEY = "a-key-of-sixteen-letters"


@pytest.mark.parametrize(
    ("url", "authority", "is_grpc", "is_tls", "is_loopback"),
    [
        ("http://127.0.0.1:8000/", "127.0.0.1:8000", False, False, True),
        ("https://models.example:443", "models.example:443", False, True, False),
        ("grpc://localhost:8001", "localhost:8001", True, False, True),
        ("grpcs://[2001:db8::1]:8001", "[2001:db8::1]:8001", True, True, False),
        ("http://[::1]:1", "[::1]:1", False, False, True),
        ("http://localhost.example:1", "localhost.example:1", False, False, False),
    ],
)
def test_an_address_says_how_a_server_is_spoken_to(
    url: str, authority: str, is_grpc: bool, is_tls: bool, is_loopback: bool
) -> None:
    read = address_of(url)
    assert (read.authority, read.url) == (authority, url.rstrip("/"))
    assert (read.is_grpc, read.is_tls, read.is_loopback) == (is_grpc, is_tls, is_loopback)


@pytest.mark.parametrize(
    "url",
    [
        "a:1",
        "http://a",
        "http://a:0",
        "http://a:x",
        "http://a:99999",
        "ftp://a:1",
        "http://:1",
        "http://a:1/v2",
        "http://a:1?x",
    ],
)
def test_what_is_no_address_is_refused_with_the_forms_that_are(url: str) -> None:
    with pytest.raises(
        UsageError, match="^" + url.replace("?", r"\?") + " is not a server address here; give http:"
    ):
        address_of(url)
    with pytest.raises(UsageError, match=r"give http://HOST:PORT or https://HOST:PORT\.$"):
        address_of(url, ("http", "https"))


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(UsageError, match=r"^https://\.\.\.@a:1 is not") as caught:
        address_of("https://me:secret@a:1")
    assert "secret" not in str(caught.value)


def test_a_key_without_tls_is_warned_of_once_for_each_host_and_never_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_warned", set())
    monkeypatch.setenv("CGAN_API_KEY", f"{KEY}\n")
    for url in ("http://127.0.0.1:1", "grpc://localhost:1", "https://a:1", "grpcs://a:1"):
        assert access.headers_for(address_of(url)) == {"authorization": f"Bearer {KEY}"}
    assert capsys.readouterr().err == ""
    for _ in range(2):
        access.headers_for(address_of("grpc://a:1"))
        access.headers_for(address_of("http://b:1"))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: the API key is sent to a unencrypted")
    assert "grpcs://" in first
    assert "sent to b unencrypted" in second
    assert "https://" in second
    assert KEY not in first + second


def test_without_a_key_nothing_is_sent_and_nothing_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert not os.environ.get("CGAN_API_KEY"), "tests run without a key"
    assert access.headers_for(Address(scheme="http", host="a", port=1)) == {}
    assert access.headers_for(address_of("http://a:1"), " ") == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("key", ["first-line-of-a-key\nsecond: line", "schlüssel-von-sechzehn"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="the API key is not one line of ASCII") as caught:
        access.headers_for(address_of("https://a:1"), key)
    assert key.splitlines()[0] not in str(caught.value)


# From OpenSSL 3.0 and grpcio 1.80; those that a test cannot cause with a certificate of a moment.
@pytest.mark.parametrize(
    ("said", "means"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1016)",
            "not va",
        ),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is",
            "another h",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer", "no authority"),
        ("TLS/SSL connection has been closed (EOF) (_ssl.c:992)", "if the port does not speak TLS"),
        ("last error: UNKNOWN: ipv4:127.0.0.1:1: Hostname Verification Check failed.", "another host than a;"),
        ("last error: INTERNAL: Failed parsing HTTP/2 (Expected SETTINGS frame", "or https://a:1"),
    ],
)
def test_the_words_of_a_library_become_what_to_do(said: str, means: str) -> None:
    assert means in access.unreachable(address_of("grpcs://a:1"), said)


def test_what_is_not_about_the_address_stays_unreachable() -> None:
    sentence = access.unreachable(address_of("https://a:1"), OSError(111, "Connection refused"))
    assert (
        sentence == "https://a:1 cannot be reached ([Errno 111] Connection refused); is cgan-serve running there?"
    )
