"""The health check of the images, asked of servers that are ready or not, with TLS or without."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY
from tests.gateway.gateway_process import GatewayProcess
from tests.helpers import free_ports

READY = DEPLOY / "docker" / "ready.py"


def exit_code(port: int) -> int:
    return subprocess.run([sys.executable, READY, str(port)], check=False, timeout=60).returncode


@contextmanager
def stand_in(status: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that answers the question with a status; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (400, 1)])
def test_only_200_means_ready(status: int, code: int) -> None:
    with stand_in(status) as port:
        assert exit_code(port) == code


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_server_with_tls_is_asked_so(status: int, code: int, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=example.org"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    with stand_in(status, tls) as port:
        assert exit_code(port) == code


def test_nobody_there_is_not_ready() -> None:
    assert exit_code(free_ports().http) == 1


def test_a_real_server_is_ready(gateway: GatewayProcess) -> None:
    assert exit_code(gateway.settings.http_port) == 0
