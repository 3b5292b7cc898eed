"""cgan-serve as a process: signals, ports that are taken, and what a killed one leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cgan_runtime.serving import leftovers
from cgan_runtime.serving.ports import Ports
from cgan_runtime.serving.process_tree import OWNER_VARIABLE

from tests.helpers import assert_one_sentence, free_ports, hear_ctrl_c, run_here
from tests.supervision.clients import Clients, ask_once

pytestmark = [pytest.mark.usefixtures("server_environment"), pytest.mark.slow]
Start = Callable[..., subprocess.Popen[str]]


def options(ports: Ports) -> list[str]:
    numbers = {"--http-port": ports.http, "--grpc-port": ports.grpc, "--metrics-port": ports.metrics}
    return [word for name, number in numbers.items() for word in (name, str(number))]


@pytest.fixture
def start(bundle_path: Path) -> Iterator[Start]:
    """Start the command and wait until it is ready."""
    with ExitStack() as started:

        def run(ports: Ports, *words: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("cgan-serve")), str(bundle_path), *options(ports), *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                preexec_fn=hear_ctrl_c,
            )
            started.callback(process.communicate)
            started.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: ")
            return process

        yield run


def marked(owner: int) -> list[int]:
    """Processes that this launcher started, whatever they are, less those that ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ended = " Z " in (folder / "stat").read_text().rpartition(")")[2][:4]
            if not ended and f"{OWNER_VARIABLE}={owner}_".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def files(owner: int) -> list[Path]:
    return [*Path("/dev/shm").glob(f"cgan_serve_{owner}_*"), *Path("/tmp").glob(f"cgan-serve-{owner}_*")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_answers_what_was_accepted(start: Start, number: signal.Signals) -> None:
    ports = free_ports()
    process = start(ports)
    with Clients(f"127.0.0.1:{ports.grpc}") as clients:
        clients.wait_for(10)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert "error" not in error
    assert "served for" in error
    # Who never got a connection was not accepted; one that waits in the queue of the closed port is told "reset".
    lost = [failure for failure in clients.failures if "failed to connect" not in failure]
    assert not any("Socket closed" in failure or "reset" in failure for failure in lost), lost
    assert not marked(process.pid)
    assert not files(process.pid)


def test_after_a_killed_one_the_next_start_leaves_nothing(start: Start) -> None:
    """Triton and the gateway are stopped first, so that they cannot end by themselves."""
    ports = free_ports()
    process = start(ports)
    left = marked(process.pid)
    assert len(left) == 7  # tritonserver, five processes of its models, the gateway
    for number in left:
        os.kill(number, signal.SIGSTOP)
    process.kill()
    process.communicate(timeout=30)
    assert files(process.pid)
    again = start(ports)
    assert not marked(process.pid)
    assert not files(process.pid)
    assert marked(again.pid)
    assert ask_once(f"127.0.0.1:{ports.grpc}")


def test_a_killed_launcher_takes_its_processes_along(start: Start) -> None:
    process = start(free_ports())
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while marked(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_second_one_on_the_same_ports_is_refused_and_takes_nothing(start: Start, bundle_path: Path) -> None:
    ports = free_ports()
    process = start(ports)
    before = (marked(process.pid), files(process.pid))
    for which, word in (("http", ""), ("grpc", "--bare"), ("metrics", "")):
        same = Ports(**{**vars(free_ports()), which: getattr(ports, which)})
        done = run_here("cgan-serve", bundle_path, *options(same), *word.split())
        assert_one_sentence(done, 1, f"port {getattr(ports, which)} on 127.0.0.1 cannot be used", f"--{which}-port")
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
    leftovers.sweep()
    assert (marked(process.pid), files(process.pid)) == before
    assert ask_once(f"127.0.0.1:{ports.grpc}")


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("--grpc-port", "8000"), 2, "the ports for HTTP and gRPC are both 8000"),
        (("--bare", "--deadline", "5"), 2, "leave them out with --bare"),
        (("--api-keys", "/nowhere/keys"), 3, "/nowhere/keys is not a file"),
        (("--tls-cert", "/dev/null"), 3, "is not a file"),
    ],
)
def test_options_that_do_not_fit(bundle_path: Path, words: tuple[str, ...], code: int, part: str) -> None:
    assert_one_sentence(run_here("cgan-serve", bundle_path, *words), code, part)


def test_without_its_packages_the_sentence_names_the_extra(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = run_here("cgan-serve", bundle_path)
    assert_one_sentence(done, 1, "aiohttp is not installed", 'pip install "cgan-deploy[serve]"')


def test_what_the_gateway_cannot_use_is_its_own_sentence(bundle_path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("short\n")
    done = run_here("cgan-serve", bundle_path, *options(free_ports()), "--api-keys", keys)
    assert_one_sentence(done, 1, f"error: {keys} has a key of fewer than 16 characters")
