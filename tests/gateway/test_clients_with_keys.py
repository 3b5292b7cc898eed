"""Our own clients and a gateway that wants a key and speaks TLS: the same images, and a sentence where it fails."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cgan_bench.load.measure import LoadPlan, run_in_loop
from cgan_runtime import AsyncClient
from cgan_runtime.bundle import Bundle
from cgan_runtime.conformance.__main__ import main as conformance
from cgan_runtime.errors import ServerError
from cgan_runtime.images import read_image
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.examples import command_line, curl_line, python_snippet
from cgan_runtime.serving.server import TritonServer

from tests.certificates import certificate
from tests.gateway.asking import IMAGE
from tests.gateway.gateway_process import GatewayProcess, engine_of, route_of
from tests.helpers import assert_one_sentence, free_ports, run_command, run_here

KEY = "a-key-of-sixteen-letters"


@pytest.fixture(scope="module")
def guarded(
    server: TritonServer,
    bundle: Bundle,
    server_environment: ServerEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """The addresses of a gateway with a key and TLS, its certificate, and in.png."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text(f"{KEY}\n")
    (folder / "in.png").write_bytes(IMAGE)
    file, key = certificate(folder)
    settings = {"api_keys": folder / "keys", "tls_certificate": file, "tls_key": key}
    with GatewayProcess(free_ports(), folder / "gateway.log", **settings) as gateway:
        gateway.tell(routes=(route_of(bundle, server_environment),))
        gateway.tell(engine=engine_of(server))
        http, grpc = gateway.settings.http_port, gateway.settings.grpc_port
        yield SimpleNamespace(http=f"https://127.0.0.1:{http}", grpc=f"grpcs://127.0.0.1:{grpc}", trusted=file)


@pytest.fixture
def allowed(guarded: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, with the key and the certificate in the environment."""
    monkeypatch.setenv("CGAN_API_KEY", KEY)
    monkeypatch.setenv("SSL_CERT_FILE", str(guarded.trusted))
    return guarded


def translate(guarded: Any, url: str, target: Path, **variables: str) -> Any:
    words = (guarded.trusted.parent / "in.png", "--url", url, "--model", "facades", "--seed", "7", "-o", target)
    return run_here("cgan-translate", *words, **variables)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_translate_makes_the_image_that_it_makes_without(
    protocol: str, allowed: Any, server: TritonServer, tmp_path: Path
) -> None:
    plain = translate(allowed, server.http_url, tmp_path / "plain.png")
    done = translate(allowed, getattr(allowed, protocol), tmp_path / "out.png")
    assert (plain.returncode, done.returncode, done.stderr) == (0, 0, "")
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_clients_of_the_load_test_get_the_answers_of_a_server_without(
    protocol: str, allowed: Any, server: TritonServer
) -> None:
    plain = {"http": server.http_url, "grpc": f"grpc://{server.grpc_url}"}[protocol]
    plan = LoadPlan(urls=(plain, getattr(allowed, protocol)), model="facades_png", levels=())
    (block,) = run_in_loop(plan, lambda _: None)
    assert block.equal
    assert KEY not in repr(plan)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_load_test_names_what_is_missing(protocol: str, guarded: Any) -> None:
    words = ("--url", getattr(guarded, protocol), "--model", "facades", "--concurrency", "1")
    done = run_here("cgan-bench", *words, SSL_CERT_FILE=str(guarded.trusted))
    assert_one_sentence(done, 4, "wants an API key; set the environment variable CGAN_API_KEY")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("key", "says"),
    [("", "wants an API key; set the environment"), ("not-that-key-at-all", "did not accept the API")],
)
def test_a_key_that_is_missing_or_wrong_is_one_sentence(
    protocol: str, key: str, says: str, guarded: Any, tmp_path: Path
) -> None:
    url, variables = getattr(guarded, protocol), {"CGAN_API_KEY": key, "SSL_CERT_FILE": str(guarded.trusted)}
    done = translate(guarded, url, tmp_path / "out.png", **variables)
    assert_one_sentence(done, 4, f"{url} {says}", "CGAN_API_KEY")
    assert "not-that-key" not in done.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("url", "trust", "code", "says"),
    [
        ("http://127.0.0.1:{http}", "cert.pem", 4, "does the port speak gRPC or https://"),
        ("grpc://127.0.0.1:{grpc}", "cert.pem", 4, "does the port speak grpcs:// or HTTP"),
        ("https://127.0.0.1:{plain_http}", "cert.pem", 4, "the port does not speak TLS, give http://127.0.0.1:"),
        ("grpcs://127.0.0.1:{plain_grpc}", "cert.pem", 4, "the port does not speak TLS; give grpc://127.0.0.1:"),
        ("grpcs://127.0.0.1:{http}", "cert.pem", 4, "the port does not speak gRPC; give that of gRPC, or https://"),
        ("grpc://127.0.0.1:{plain_http}", "cert.pem", 4, "does the port speak grpcs:// or HTTP"),
        ("https://127.0.0.1:{http}", "", 4, "set the environment variable SSL_CERT_FILE"),
        ("grpcs://127.0.0.1:{grpc}", "", 4, "set the environment variable SSL_CERT_FILE"),
        ("https://localhost:{http}", "cert.pem", 4, "its certificate is of another host than localhost"),
        ("grpcs://localhost:{grpc}", "cert.pem", 4, "its certificate is of another host than localhost"),
        ("https://127.0.0.1:{http}", "nothing.pem", 2, "SSL_CERT_FILE names"),
        ("grpcs://127.0.0.1:{grpc}", "key.pem", 2, "SSL_CERT_FILE names"),
    ],
)
def test_a_connection_that_cannot_be_is_one_sentence_with_what_to_do(
    url: str, trust: str, code: int, says: str, guarded: Any, server: TritonServer, tmp_path: Path
) -> None:
    plain = server.options.ports
    ports = {"http": guarded.http.rpartition(":")[2], "grpc": guarded.grpc.rpartition(":")[2]}
    given = url.format(**ports, plain_http=plain.http, plain_grpc=plain.grpc)
    trusted = str(guarded.trusted.with_name(trust)) if trust else ""
    done = translate(guarded, given, tmp_path / "out.png", CGAN_API_KEY=KEY, SSL_CERT_FILE=trusted)
    assert_one_sentence(done, code, says)
    assert not (tmp_path / "out.png").exists()


def test_grpc_itself_writes_nothing_beside_the_sentence(guarded: Any, tmp_path: Path) -> None:
    """As a process: gRPC writes past Python's stderr."""
    words = ("--url", guarded.grpc, "--model", "facades", "-o", tmp_path / "out.png")
    done = run_command("cgan-translate", guarded.trusted.parent / "in.png", *words)
    assert_one_sentence(done, 4, "SSL_CERT_FILE")
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_lines_that_cgan_serve_prints_make_the_same_image(
    allowed: Any, bundle: Bundle, server: TritonServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With curl, with tritonclient, and the address of the command."""
    monkeypatch.chdir(tmp_path)
    for name in ("CURL_CA_BUNDLE", "SSL_CERT_DIR"):  # curl would take them in place of SSL_CERT_FILE
        monkeypatch.delenv(name, raising=False)
    Path("in.png").write_bytes(IMAGE)
    contract = bundle.manifest.contract
    printing = SimpleNamespace(http_url=allowed.http, grpc_url=allowed.grpc.removeprefix("grpcs://"))
    assert translate(allowed, server.http_url, tmp_path / "plain.png").returncode == 0
    curl = curl_line(printing, "facades_png", contract, key=True) or ""
    snippet = python_snippet(printing, "facades_png", contract, key=True)
    for words in (["sh", "-c", curl], [sys.executable, "-c", snippet]):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert read_image(Path("out.png")).tobytes() == read_image(Path("plain.png")).tobytes()
        Path("out.png").unlink()
    monkeypatch.setenv("CGAN_API_KEY", "not-that-key-at-all")
    done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert "an API key is needed" in done.stderr
    assert f"--url {allowed.grpc} --model facades" in command_line(printing, "facades", contract)


def test_the_conformance_suite_takes_the_key_from_the_same_place(
    allowed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [allowed.http, "--grpc", allowed.grpc.removeprefix("grpcs://")]
    with pytest.raises(SystemExit) as ended:
        conformance([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [check for check in found["checks"] if check["state"] != "ok"] == []
    assert ended.value.code == 0
    monkeypatch.delenv("CGAN_API_KEY")
    with pytest.raises(SystemExit) as ended:
        conformance(words)
    assert ended.value.code == 4
    assert f"{allowed.http} wants an API key; set the environment variable CGAN_API_KEY." in capsys.readouterr().err


def test_the_client_for_asyncio_takes_both_from_the_environment(allowed: Any) -> None:
    async def ask(key: str | None) -> tuple[int, ...]:
        async with AsyncClient(allowed.grpc, key=key) as client:
            return (await client.generate("facades_png", {"image": [IMAGE]}, [7])).seeds

    assert asyncio.run(ask(None)) == (7,)
    with pytest.raises(ServerError, match="wants an API key"):
        asyncio.run(ask(""))
    with pytest.raises(ServerError, match="did not accept the API key"):
        asyncio.run(ask("not-that-key-at-all"))
