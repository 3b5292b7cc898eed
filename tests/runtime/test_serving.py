"""The server as a client and an operator meet it."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError, ServerError, UsageError
from cgan_runtime.images import read_image
from cgan_runtime.serving import environment
from cgan_runtime.serving.repository import RepositoryOptions, require_distinct_models, write_repository
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.triton_client import TritonClient
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.helpers import assert_one_sentence, free_ports, hear_ctrl_c, png, run_command, run_here, smooth_images

IMAGE = smooth_images(1, seed=5)[0]


def post(server: TritonServer, model: str, inputs: list[dict[str, object]]) -> tuple[int, dict[str, object]]:
    """A JSON request as curl would send it."""
    body = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(f"{server.http_url}/v2/models/{model}/infer", data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def seed_input(*seeds: int) -> dict[str, object]:
    return {"name": "seed", "datatype": "UINT64", "shape": [len(seeds), 1], "data": list(seeds)}


def condition_input(rows: int) -> dict[str, object]:
    data = np.zeros((rows, 3, 64, 64)).ravel().tolist()
    return {"name": "condition", "datatype": "FP32", "shape": [rows, 3, 64, 64], "data": data}


def test_the_configurations_are_valid_for_triton(bundle: Bundle, tmp_path: Path) -> None:
    names = write_repository(tmp_path, bundle, RepositoryOptions())
    assert names == ("facades_core", "facades", "facades_png")
    for name in names:
        text = (tmp_path / name / "config.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert config.name == name
        assert config.HasField("dynamic_batching")
        assert not config.dynamic_batching.default_queue_policy.max_queue_size
    assert not (tmp_path / "facades_core" / "1" / "model.onnx").is_symlink()


def test_a_seed_is_echoed_and_drawn_when_there_is_none(server: TritonServer) -> None:
    status, answer = post(server, "facades", [condition_input(2), seed_input(7, 2**53 - 1)])
    outputs = {item["name"]: item for item in answer["outputs"]}  # type: ignore[attr-defined]  # parsed JSON
    assert status == 200
    assert outputs["seed"]["data"] == [7, 2**53 - 1]
    status, first = post(server, "facades", [condition_input(1)])
    drawn = {item["name"]: item["data"] for item in first["outputs"]}  # type: ignore[attr-defined]  # parsed JSON
    assert status == 200
    assert drawn["seed"][0] < 2**53
    _, again = post(server, "facades", [condition_input(1), seed_input(drawn["seed"][0])])
    assert {item["name"]: item["data"] for item in again["outputs"]} == drawn  # type: ignore[attr-defined]  # parsed JSON


def test_one_bad_request_among_good_ones_fails_alone(server: TritonServer) -> None:
    client = TritonClient(f"grpc://{server.grpc_url}")
    good = np.array([[png(IMAGE)]], dtype=object)
    bad = np.array([[b"these are words"]], dtype=object)
    seed = np.array([[7]], dtype=np.uint64)
    expected = client.infer("facades_png", {"image": good, "seed": seed}, ["picture"])["picture"][0, 0]
    for _ in range(3):
        with pytest.raises(ServerError, match="image is not an image that can be read"):
            client.infer("facades_png", {"image": bad, "seed": seed}, ["picture"])
        answer = client.infer("facades_png", {"image": good, "seed": seed}, ["picture"])["picture"][0, 0]
        assert answer == expected
    client.close()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([seed_input(7)], "condition"),
        ([{**condition_input(1), "shape": [1, 3, 32, 128]}, seed_input(7)], "condition"),
        ([condition_input(9), seed_input(*range(9))], "batch"),
        ([condition_input(1), seed_input(7), {**seed_input(1), "name": "sed"}], "sed"),
    ],
)
def test_a_bad_request_is_a_4xx_with_an_error_and_no_path(
    server: TritonServer, inputs: list[dict[str, object]], words: str
) -> None:
    status, answer = post(server, "facades", inputs)
    assert 400 <= status < 500, answer
    assert words in str(answer["error"])
    assert "Traceback" not in str(answer["error"])
    assert "/" not in str(answer["error"]).replace("http://", "")


@pytest.mark.parametrize("value", [-1, "seven", 1.5, 2**64])
def test_a_seed_that_is_none_is_refused_and_the_server_goes_on(server: TritonServer, value: object) -> None:
    """Triton's own JSON reader answers 500 here; what matters is that no other seed is used instead."""
    status, answer = post(server, "facades", [condition_input(1), {**seed_input(0), "data": [value]}])
    assert status >= 400
    assert "unsigned" in str(answer["error"])
    assert post(server, "facades", [condition_input(1), seed_input(7)])[0] == 200


def test_models_cannot_be_loaded_or_unloaded_from_outside(server: TritonServer) -> None:
    for action in ("load", "unload"):
        request = urllib.request.Request(
            f"{server.http_url}/v2/repository/models/facades/{action}", data=b"{}", method="POST"
        )
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request, timeout=10)
        assert refusal.value.code == 403
        refusal.value.close()


def start_command(bundle_path: Path, *words: str) -> tuple[subprocess.Popen[str], int, int]:
    ports = free_ports()
    program = Path(sys.executable).with_name("cgan-serve")
    numbers = ("--http-port", ports.http, "--grpc-port", ports.grpc, "--metrics-port", ports.metrics)
    process = subprocess.Popen(
        [str(program), str(bundle_path), *map(str, numbers), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    return process, ports.http, ports.grpc


def read_until_ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip().startswith("--url grpc://"):
            break
    return "".join(lines)


def leftovers(process: subprocess.Popen[str]) -> list[str]:
    found = [str(p) for p in Path("/dev/shm").glob(f"cgan_serve_{process.pid}_*")]
    return found + [str(p) for p in Path("/tmp").glob(f"cgan-serve-{process.pid}_*")]


@pytest.mark.usefixtures("server_environment")
@pytest.mark.parametrize(("number", "word"), [(signal.SIGTERM, ""), (signal.SIGINT, "--bare")])
def test_the_printed_lines_work_and_a_signal_leaves_nothing(
    bundle_path: Path, tmp_path: Path, number: signal.Signals, word: str
) -> None:
    """Behind the gateway, and Triton alone."""
    process, http, _ = start_command(bundle_path, *word.split())
    text = read_until_ready(process)
    (tmp_path / "in.png").write_bytes(png(IMAGE))
    curl = text[text.index("answer=$(") : text.index("\n\nor in Python")]
    snippet = text[text.index("import numpy") : text.index("\n\nor: cgan-translate")]
    answers = []
    for words in (["bash", "-c", curl], [sys.executable, "-c", snippet]):
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        answers.append((tmp_path / "out.png").read_bytes())
        (tmp_path / "out.png").unlink()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert answers[0] == answers[1]
    assert read_image(answers[0]).size == (64, 64)
    assert process.returncode == 0, error
    assert "error" not in error
    assert leftovers(process) == []
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", http), timeout=5):
        pass


@pytest.mark.usefixtures("server_environment")
def test_a_port_in_use_is_one_sentence(bundle_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_here("cgan-serve", bundle_path, "--http-port", str(port))
    assert_one_sentence(done, 1, f"HTTP port {port} on 127.0.0.1 cannot be used", "--http-port")


def test_no_bundle_and_no_such_bundle(tmp_path: Path) -> None:
    assert_one_sentence(run_here("cgan-serve"), 2, "a bundle is needed")
    assert_one_sentence(run_here("cgan-serve", tmp_path / "x"), 3, "does not exist")


def test_a_repository_for_another_machine(bundle_path: Path, tmp_path: Path) -> None:
    done = run_here("cgan-serve", bundle_path, "--triton-repo", tmp_path / "repository")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "repository" / "facades_core" / "1" / "model.onnx").is_file()
    again = run_here("cgan-serve", bundle_path, "--triton-repo", tmp_path / "repository")
    assert_one_sentence(again, 2, "exists already")


def test_a_missing_library_of_the_stub_is_one_sentence(
    server_environment: environment.ServerEnvironment, tmp_path: Path
) -> None:
    """A program in the stub's place whose library was taken away, as on a machine without libpython."""
    folder = tmp_path / "backends" / "python"
    folder.mkdir(parents=True)
    (tmp_path / "lib.c").write_text("int f(void) { return 0; }")
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }")
    library, stub = tmp_path / "libpython3.so.1.0", folder / "triton_python_backend_stub"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "lib.c"], check=True)
    subprocess.run(["cc", "-o", stub, tmp_path / "main.c", library], check=True)
    library.unlink()
    with pytest.raises(
        CganError, match=r"needs .*libpython3\.so\.1\.0; install it \(Debian: apt install libpython"
    ):
        environment._require_libraries(tmp_path)
    environment._require_libraries(server_environment.root)


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "TRITON_WHEEL", "no-such-package-of-ours==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said: list[str] = []
    with pytest.raises(CganError, match="pip install no-such-package-of-ours==0 failed: ERROR"):
        environment.make_environment(tmp_path / "environment", say=said.append)
    assert "making the server environment" in said[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("most_bytes", [10, 300_000], ids=["venv", "ensurepip"])
def test_an_environment_on_a_full_disk_leaves_nothing(most_bytes: int, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    done = subprocess.run(
        [str(Path(sys.executable).with_name("cgan-serve")), "--setup"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert_one_sentence(done, 1, "no room left on the disk")
    assert list(tmp_path.iterdir()) == []


def test_two_first_starts_make_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock both would fetch the same packages."""
    commands: list[str] = []
    said: list[str] = []

    def slow(_: list[str], what: str) -> None:
        commands.append(what)
        time.sleep(0.2)

    monkeypatch.setattr(environment, "_command", slow)
    monkeypatch.setattr(environment, "_link_backend", lambda _: None)
    monkeypatch.setattr(environment, "_require_libraries", lambda _: None)
    with ThreadPoolExecutor(2) as pool:
        starts = [
            pool.submit(environment.make_environment, tmp_path / "environment", said.append) for _ in range(2)
        ]
        roots = {start.result().root for start in starts}
    assert roots == {tmp_path / "environment"}
    assert len(commands) == len(set(commands)) == 4
    assert len([line for line in said if "another process is making" in line]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["environment"]


@pytest.mark.parametrize(
    ("backend", "needs"), [("onnxruntime", "onnxruntime>="), ("tensorrt_rtx", "tensorrt-rtx>=")]
)
def test_the_environment_has_what_executes_the_artifacts_of_its_backend(
    backend: str, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environment, "_command", lambda words, _: installed.extend(words))
    monkeypatch.setattr(environment, "_link_backend", lambda _: None)
    monkeypatch.setattr(environment, "_require_libraries", lambda _: None)
    made = environment.make_environment(say=lambda _: None, backend=backend)
    assert [word for word in installed if word.startswith(("onnxruntime", "tensorrt"))] == [
        next(word for word in environment.model_packages(backend) if word.startswith(needs))
    ]
    assert {"numpy>=1.26,<2", "pillow>=11,<14"} <= set(installed)
    others = [other for other in ("onnxruntime", "tensorrt", "tensorrt_rtx") if other != backend]
    assert environment.find_environment(backend=backend) == made
    assert all(environment.find_environment(backend=other) is None for other in others), "each has one of its own"


def test_a_missing_client_library_names_the_extra(tmp_path: Path) -> None:
    """The command with tritonclient hidden from it."""
    (tmp_path / "tritonclient.py").write_text("raise ImportError('hidden', name='tritonclient')")
    (tmp_path / "in.png").write_bytes(png(IMAGE))
    words = (tmp_path / "in.png", "--url", "grpc://127.0.0.1:9", "--model", "facades")
    done = run_command("cgan-translate", *words, PYTHONPATH=str(tmp_path))
    assert_one_sentence(done, 1, 'pip install "cgan-deploy[serve]"')


def test_bundles_whose_models_share_a_name_are_refused(bundle: Bundle, bundle_path: Path, tmp_path: Path) -> None:
    done = run_here("cgan-serve", bundle_path, bundle_path, "--triton-repo", tmp_path / "repository")
    assert_one_sentence(done, 2, "would both serve a model facades_core", "--name")
    assert not (tmp_path / "repository").exists()
    png = replace(bundle, manifest=bundle.manifest.model_copy(update={"name": "facades_png"}))
    with pytest.raises(UsageError, match="would both serve a model facades_png"):
        require_distinct_models([bundle, png])
