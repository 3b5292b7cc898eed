"""The parts that need no server: when to give up, the bound of the log, whose processes are whose."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Output, ScoreEncoding
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.serving.ports import Ports, claim_ports, private_ports
from cgan_runtime.serving.process_tree import OWNER_VARIABLE, look, orphans, own_mark, owner_runs
from cgan_runtime.serving.repository import RepositoryOptions
from cgan_runtime.supervision import kept, server_log
from cgan_runtime.supervision.golden_check import difference
from cgan_runtime.supervision.kept import Kept
from cgan_runtime.supervision.releases import Catalogue, release_of

from tests.helpers import free_ports


class Fake:
    """A process by what is asked of one."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.killed = False
        self.ready = False
        self.ill: str | None = None

    def is_ready(self) -> bool:
        return self.ready

    def trouble(self) -> str | None:
        return self.ill

    def failure(self, trouble: str) -> str:
        return f"{trouble} while starting: why not"

    def kill(self) -> None:
        self.killed = True


def kept_fakes(said: list[str]) -> tuple[Kept[Fake], list[Fake]]:
    started: list[Fake] = []

    def launch() -> Fake:
        started.append(Fake())
        return started[-1]

    return Kept(launch, start_seconds=60, say=said.append), started


def test_a_process_is_up_once_and_down_once_and_followed_by_another() -> None:
    said: list[str] = []
    process, started = kept_fakes(said)
    assert [process.tick() for _ in range(2)] == ["same", "same"]
    started[0].ready = True
    assert [process.tick() for _ in range(2)] == ["up", "same"]
    started[0].ill = "it ended"
    assert process.tick() == "down"
    assert started[0].killed
    assert process.process is None
    process.tick()
    started[1].ready = True
    assert process.tick() == "up"
    assert process.restarts == 1
    assert said[0] == "it ended; starting again"
    assert said[1].startswith("serving again after 0.0 s")


@pytest.mark.parametrize(("ill", "told"), [("it ended", "it ended"), (None, "it does not answer")])
def test_what_is_seen_of_a_process_is_told_before_what_others_suspect(ill: str | None, told: str) -> None:
    """The gateway may lose its connection before the end of Triton is seen: the user is told that it ended."""
    said: list[str] = []
    process, started = kept_fakes(said)
    process.tick()
    started[0].ready = True
    process.tick()
    process.suspect("it does not answer")
    started[0].ill = ill
    assert process.tick() == "down"
    assert said == [f"{told}; starting again"]


def test_five_failed_starts_are_the_end_and_one_that_serves_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FIRST_PAUSE_SECONDS", 0.0)
    process, started = kept_fakes([])

    def fail(times: int) -> None:
        for _ in range(times):
            process.tick()
            started[-1].ill = "it ended"
            assert process.tick() == "down"

    def serve() -> None:
        process.tick()
        started[-1].ready = True
        assert process.tick() == "up"

    serve()
    for _ in range(2):
        fail(1)  # served before
        fail(4)
        serve()
    fail(5)
    with pytest.raises(
        CganError, match="5 starts in a row failed, the last one so: it ended while starting: why not"
    ):
        fail(1)


def test_a_first_start_that_fails_is_not_tried_again() -> None:
    process, started = kept_fakes([])
    process.tick()
    started[0].ill = "it ended"
    with pytest.raises(CganError, match="it ended while starting: why not"):
        process.tick()
    assert started[0].killed


def test_one_that_is_never_ready_is_given_up() -> None:
    process, started = kept_fakes([])
    process.tick()
    started[0].began -= 61
    with pytest.raises(CganError, match="it was not ready after 60 s"):
        process.tick()


def test_the_log_keeps_its_bound_and_its_newest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_log, "FILE_BYTES", 1000)
    log = server_log.ServerLog(tmp_path / "log")
    for number in range(2000):
        log.write("triton", f"line {number} 100 % and %s")
    log.close()
    files = list((tmp_path / "log").iterdir())
    assert len(files) == 10
    assert sum(file.stat().st_size for file in files) <= 10_000
    assert log.path.read_text().splitlines()[-1].endswith("triton: line 1999 100 % and %s")


def test_a_log_on_a_full_disk_stops_no_server(tmp_path: Path) -> None:
    (tmp_path / server_log.LOG_FILE).symlink_to("/dev/full")
    log = server_log.ServerLog(tmp_path)
    log.write("triton", "nobody will read this")
    log.close()


def test_the_same_ports_are_claimed_once() -> None:
    ports = free_ports()
    with claim_ports("127.0.0.1", ports):
        other = Ports(http=free_ports().http, grpc=ports.grpc, metrics=free_ports().metrics)
        with (
            pytest.raises(CganError, match=rf"gRPC port {ports.grpc} .*another cgan-serve has it.*--grpc-port"),
            claim_ports("127.0.0.1", other),
        ):
            pass
    with claim_ports("127.0.0.1", ports):
        pass
    with (
        pytest.raises(UsageError, match="gRPC and metrics are both"),
        claim_ports("127.0.0.1", Ports(metrics=8001)),
    ):
        pass
    assert len(set(private_ports().named.values())) == 3


def test_an_orphan_is_a_process_whose_owner_is_gone() -> None:
    """Not one whose owner runs, nor one whose owner's number another process has now."""
    mine = own_mark()
    owner = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    marks = {"own": mine, "gone": f"{int(owner.stdout)}_1", "reused": f"{os.getpid()}_1"}
    started = {name: subprocess.Popen(["sleep", "60"], env={OWNER_VARIABLE: mark}) for name, mark in marks.items()}
    try:
        time.sleep(0.2)  # until each of them is `sleep`, with its environment
        found = set(orphans())
        assert {name for name, process in started.items() if process.pid in found} == {"gone", "reused"}
        assert owner_runs(mine)
    finally:
        for process in started.values():
            process.kill()
            process.wait()
    assert look(started["own"].pid) is None


def test_only_a_release_that_nobody_needs_is_retired(bundle: Bundle) -> None:
    first, second, third = (release_of(bundle, version, RepositoryOptions()) for version in (1, 2, 3))
    catalogue = Catalogue([first])
    with pytest.raises(UsageError, match="nothing to go back to: facades is still its version 1"):
        catalogue.previous("facades")
    assert catalogue.serve(second) is None
    assert catalogue.retire(frozenset({"facades.2"})) == []
    assert catalogue.retire(frozenset({"facades", "facades_core"})) == [first]
    assert catalogue.keeps(first)
    assert catalogue.serve(third) is first
    assert not catalogue.keeps(first)
    catalogue.pinned = second
    assert catalogue.retire() == []
    catalogue.pinned = None
    assert catalogue.retire() == [second]
    assert catalogue.loaded == [third]
    assert catalogue.previous("facades") is second


@pytest.mark.parametrize(("error", "fits"), [(0.0, True), (0.9e-4, True), (1.1e-4, False), (np.nan, False)])
def test_a_score_is_held_to_the_limit_of_its_bundle(bundle: Bundle, error: float, fits: bool) -> None:
    (artifact,) = bundle.manifest.artifacts
    output = Output(name="score", shape=(), encoding=ScoreEncoding())
    limit = artifact.fidelity["parity_max_abs"].model_copy(update={"limit": 1e-4})
    held = artifact.model_copy(update={"fidelity": {"score.parity_relative": limit}})
    stored = np.array(50.0, dtype=np.float32)
    given = np.array([50.0 * (1 + error)], dtype=np.float64)
    assert (difference(given, stored, output, held, "score.") is None) == fits


@pytest.mark.parametrize(("levels", "fits"), [(0, True), (1, True), (2, False)])
def test_an_image_may_be_a_level_off(bundle: Bundle, levels: int, fits: bool) -> None:
    (artifact,), (output,) = bundle.manifest.artifacts, bundle.manifest.contract.outputs
    stored = np.full((64, 64, 3), 100, dtype=np.uint8)
    given = np.full((3, 64, 64), (100 + levels) / 127.5 - 1, dtype=np.float32)
    assert (difference(given, stored, output, artifact, "") is None) == fits
