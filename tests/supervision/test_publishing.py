"""Another version behind the same name: no request fails, and what is not sound is never served."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle, read_bundle, write_manifest
from cgan_runtime.errors import BundleError, CganError, CheckFailedError, ServerError, UsageError
from cgan_runtime.serving.ports import state_folder
from cgan_runtime.supervision.control import Request, ask, control_socket
from cgan_runtime.supervision.golden_check import check_golden
from cgan_runtime.supervision.publishing import Publisher
from cgan_runtime.supervision.supervisor import Supervisor

from tests.helpers import assert_one_sentence, run_here
from tests.soak.reloads import Versions, publish, reloads_of
from tests.supervision.clients import ask_once, ask_until, picture_of


@pytest.fixture(scope="module")
def pictures(bundle: Bundle, versions: dict[str, Path]) -> dict[str, bytes]:
    sound = {"first": bundle.path, "second": versions["second"], "third": versions["third"]}
    found = {name: picture_of(path) for name, path in sound.items()}
    assert len(set(found.values())) == 3
    return found


@pytest.fixture(scope="module")
def controlled(supervised: Supervisor) -> Iterator[Supervisor]:
    with control_socket(supervised, Publisher(supervised)):
        yield supervised


def loaded(server: Supervisor, count: int) -> bool:
    """Whether Triton comes to hold the models of so many versions."""
    deadline = time.monotonic() + 15
    while len(server.catalogue.loaded) != count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_versions_follow_one_another_and_no_request_fails(
    controlled: Supervisor, bundle: Bundle, versions: dict[str, Path]
) -> None:
    """Four sound ones, the last of which is the second again, and a damaged one."""
    sound = (bundle.path, versions["second"], versions["third"])
    named = Versions(sound=sound, damaged=versions["damaged"], liar=versions["liar"])
    report = reloads_of(controlled, named, 5, lambda _: None)
    assert report.failures == []
    assert (report.figures["published"], report.figures["refused"]) == (4, 1)
    assert report.figures["requests"] > 0
    assert loaded(controlled, 1)


def test_an_answer_names_its_version_and_a_restart_keeps_it(
    controlled: Supervisor, versions: dict[str, Path], pictures: dict[str, bytes]
) -> None:
    with urllib.request.urlopen(f"{controlled.http_url}/v2/models/facades/contract", timeout=10) as reply:
        told = json.loads(reply.read())
    assert told["model_digest"] == read_bundle(versions["second"]).model_digest
    assert controlled.engine.process is not None
    before = controlled.engine.restarts
    os.kill(controlled.engine.process.process_id, signal.SIGKILL)
    while controlled.engine.restarts == before:
        time.sleep(0.02)
    assert ask_until(controlled.grpc_url, 10)[0] == pictures["second"]
    (served,) = controlled.status()["bundles"]
    assert told["version"] == str(served["version"]) == "5"


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("damaged", BundleError, "is damaged"),
        ("liar", CheckFailedError, "not what the bundle promises"),
        ("missing", BundleError, "does not exist"),
    ],
)
def test_what_is_not_sound_is_refused_and_the_old_one_serves(
    controlled: Supervisor,
    versions: dict[str, Path],
    pictures: dict[str, bytes],
    name: str,
    kind: type[CganError],
    words: str,
) -> None:
    before = sorted(path.name for path in controlled.repository.iterdir())
    with pytest.raises(kind, match=words):
        publish(controlled.settings.http_port, versions.get(name, Path("/nowhere")))
    assert ask_once(controlled.grpc_url) == pictures["second"]
    assert sorted(path.name for path in controlled.repository.iterdir()) == before


def test_another_contract_needs_a_word(controlled: Supervisor, versions: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(versions["third"], tmp_path / "other"))
    manifest = read_bundle(root).manifest
    (condition,) = manifest.contract.conditions
    renamed = condition.model_copy(update={"meaning": "another"})
    contract = manifest.contract.model_copy(update={"conditions": (renamed,)})
    write_manifest(root, manifest.model_copy(update={"contract": contract}))
    with pytest.raises(UsageError, match=r"another contract than facades version 5.*--allow-new-contract"):
        publish(controlled.settings.http_port, root)


def test_the_same_bundle_again_changes_nothing(controlled: Supervisor, versions: dict[str, Path]) -> None:
    assert "is this bundle already; nothing was changed" in publish(
        controlled.settings.http_port, versions["second"]
    )


def test_a_check_leaves_no_open_file(controlled: Supervisor) -> None:
    """Each command that publishes has a thread of its own, and a server lives through many of them."""
    triton = controlled.engine.process
    assert triton is not None
    (release,) = controlled.catalogue.served
    (artifact,) = release.core.files.values()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(check_golden, triton.grpc_url, release.models[1], release.bundle, artifact).result(60)
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 10


def test_commands_speak_to_the_server(
    controlled: Supervisor, bundle: Bundle, versions: dict[str, Path], pictures: dict[str, bytes]
) -> None:
    port = ("--http-port", str(controlled.settings.http_port))
    done = run_here("cgan-serve", "rollback", "facades", *port)
    assert done.returncode == 0, done.stderr
    assert ask_once(controlled.grpc_url) == pictures["first"]
    done = run_here("cgan-serve", "status", *port)
    assert "facades version 4" in done.stdout
    told = json.loads(run_here("cgan-serve", "status", "--json", *port).stdout)
    assert told["bundles"][0]["path"] == str(bundle.path.resolve())
    assert_one_sentence(run_here("cgan-serve", "publish", versions["damaged"], *port), 3, "is damaged")
    assert_one_sentence(run_here("cgan-serve", "publish", versions["liar"], *port), 5, "promises")
    assert_one_sentence(run_here("cgan-serve", "rollback", "faces", *port), 2, "no bundle faces", "facades")
    nobody = ("--http-port", "1")
    assert_one_sentence(run_here("cgan-serve", "publish", versions["second"], *nobody), 4, "HTTP port 1")


def test_nobody_else_may_use_the_socket(controlled: Supervisor) -> None:
    folder = state_folder(controlled.settings.http_port)
    assert (folder / "control").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_without_a_server_the_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(ServerError, match="no cgan-serve of this user runs on HTTP port 8000"):
        ask(8000, Request(action="status"))
