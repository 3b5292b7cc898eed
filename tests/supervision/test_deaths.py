"""Whatever dies or stops is noticed within a second and served again, and no answer is another one."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError
from cgan_runtime.gateway.settings import Event
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.supervision.supervisor import Supervisor

from tests.soak.base import Said
from tests.soak.deaths import KINDS, die, processes, settled
from tests.supervision.clients import ask_once, ask_until, picture_of, settings_of_a_test
from tests.supervision.versions import heavier


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> bytes:
    return picture_of(bundle.path)


# An engine a second time in a row: Triton's own repair did nothing then.
@pytest.mark.parametrize(("what", "number"), [*KINDS, *KINDS[3:4] * 2])
def test_what_dies_or_stops_is_started_again(
    supervised: Supervisor, said: Said, expected: bytes, what: str, number: signal.Signals
) -> None:
    death = die(supervised, said, what, number)
    assert death.answers == {expected}
    assert what == "gateway" or death.failures == ()
    told = [re.sub("grpcs?://", "", failure) for failure in death.failures]
    assert not any("Traceback" in failure or "/" in failure for failure in told), told


def test_both_at_once(supervised: Supervisor, expected: bytes) -> None:
    before = supervised.engine.restarts + supervised.gateway.restarts
    found = processes(supervised)
    for what in ("gateway", "tritonserver", "facades_core"):
        os.kill(found[what], signal.SIGKILL)
    settled(supervised, before + 2)
    assert ask_until(supervised.grpc_url, 10)[0] == expected


def test_a_model_that_does_not_answer_the_gateway_is_a_reason(supervised: Supervisor, expected: bytes) -> None:
    triton, gateway, before = supervised.engine.process, supervised.gateway.process, supervised.engine.restarts
    assert triton is not None
    assert gateway is not None
    gateway.events.put(Event(suspect=("facades", triton.start - 1)))  # an earlier Triton: too late
    time.sleep(0.5)
    assert supervised.engine.process is triton
    gateway.events.put(Event(suspect=("facades", triton.start)))
    settled(supervised, before + 1 + supervised.gateway.restarts)
    assert supervised.engine.process is not triton
    assert ask_until(supervised.grpc_url, 10)[0] == expected


def test_a_changed_copy_is_written_again(supervised: Supervisor, bundle: Bundle, expected: bytes) -> None:
    """What the next Triton loads is what was hashed when the bundle was read."""
    copy = supervised.repository / "facades_core" / "1" / "model.onnx"
    code = supervised.repository / "facades_core" / "1" / "model.py"
    copy.write_bytes(heavier(copy.read_bytes(), 2))
    code.write_text("raise SystemExit")
    before = supervised.engine.restarts + supervised.gateway.restarts
    os.kill(processes(supervised)["tritonserver"], signal.SIGKILL)
    settled(supervised, before + 1)
    assert ask_until(supervised.grpc_url, 10)[0] == expected
    assert copy.read_bytes() == (bundle.path / "model.onnx").read_bytes()


@pytest.fixture
def breakable(bundle: Bundle, server_environment: ServerEnvironment) -> Iterator[Supervisor]:
    server = Supervisor([bundle], server_environment, settings_of_a_test())
    yield server
    server.stop()


def test_starts_that_fail_again_and_again_end_the_server(
    breakable: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakable.start()
    monkeypatch.setattr(breakable.engine, "_launch", lambda: (_ for _ in ()).throw(CganError("no room.")))
    monkeypatch.setattr("cgan_runtime.supervision.kept.FIRST_PAUSE_SECONDS", 0.01)
    os.kill(processes(breakable)["tritonserver"], signal.SIGKILL)
    with pytest.raises(CganError, match=r"5 starts in a row failed, the last one so: no room\."):
        breakable.wait()
    breakable.stop()
    assert not breakable._thread.is_alive()
    assert not breakable.repository.parent.exists()


def test_a_first_start_that_fails_is_one_sentence(breakable: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakable, "_gateway_command", ["/bin/false"])
    with pytest.raises(CganError, match=r"the gateway \(process \d+\) ended with status 1 while starting"):
        breakable.start()
    assert not breakable.repository.parent.exists()


def test_the_log_is_kept(supervised: Supervisor) -> None:
    text = supervised.log_path.read_text()
    assert "triton: " in text
    assert "cgan-serve: " in text
    assert supervised.log_path.parent.stat().st_mode & 0o777 == 0o700
    assert ask_once(supervised.grpc_url)
    assert np.frombuffer(ask_once(supervised.grpc_url), np.float32).shape == (3 * 64 * 64,)
