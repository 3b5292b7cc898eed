"""A load test over real sockets: what travels, what is told apart, and what the command ends with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from cgan_bench.load import rows
from cgan_bench.load.clients import FailedError, client_of
from cgan_bench.load.requests import Served, inputs_of
from cgan_bench.workload import conditions_for
from cgan_runtime.bundle import Bundle
from cgan_runtime.image_bytes import bytes_from_tensors
from cgan_runtime.images import read_image
from cgan_runtime.serving.server import TritonServer

from tests.bench.fake_servers import FROM_CALL, Fault, grpc_server, http_server
from tests.helpers import assert_one_sentence, free_ports, run_here

Start = Callable[[Fault], AbstractContextManager[str]]
BOTH = pytest.mark.parametrize("start", [http_server, grpc_server], ids=["http", "grpc"])
SHORT = ("--model", "toy", "--seconds", "0.6", "--json")


@pytest.fixture(autouse=True)
def _on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests share the machine, so a late generator proves nothing here."""
    monkeypatch.setattr(rows, "MOST_LATE", 1.0)


@BOTH
def test_a_good_server_is_measured(start: Start, tmp_path: Path) -> None:
    page = tmp_path / "load.html"
    with start("none") as url:
        done = run_here(
            "cgan-bench",
            "--url",
            url,
            *SHORT,
            "--concurrency",
            "2",
            "--rate",
            "100",
            "--html",
            page,
            "--batch",
            "1,3",
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    titles = ["2 clients", "100/s poisson"]
    assert [(row["batch"], row["title"]) for row in found["rows"]] == [
        (n, title) for n in (1, 3) for title in titles
    ]
    for row in found["rows"]:
        assert (row["wrong"], row["refused"], row["failed"], row["valid"]) == (0, 0, {}, True)
        assert row["images_per_s"] == pytest.approx(row["batch"] * row["answered_per_s"])
        assert len(row["latencies_ms"]) >= 10
    assert found["generator_shares_machine"]
    assert "shared its" in page.read_text()


@BOTH
def test_one_other_bit_in_one_answer_ends_with_5(start: Start) -> None:
    with start("wrong") as url:
        done = run_here("cgan-bench", "--url", url, *SHORT, "--concurrency", "2")
    assert_one_sentence(done, 5, "2 clients at batch 1", "1 answer had other bits")
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["wrong"], row["valid"]) == (1, False)


@BOTH
def test_the_same_tensors_in_another_order_are_the_same_answer(start: Start) -> None:
    with start("reordered") as url:
        done = run_here("cgan-bench", "--url", url, *SHORT)
    assert done.returncode == 0, done.stderr


@BOTH
def test_a_full_server_refuses_and_that_is_no_failure(start: Start) -> None:
    with start("full") as url:
        done = run_here("cgan-bench", "--url", url, *SHORT, "--rate", "40", "--arrivals", "even")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["refused"] > 5
    assert row["failed"] == {}


@pytest.mark.parametrize(("start", "kind"), [(http_server, "HTTP 500"), (grpc_server, "INTERNAL")])
def test_failed_requests_end_with_1_after_the_result(start: Start, kind: str) -> None:
    with start("fails") as url:
        done = run_here("cgan-bench", "--url", url, *SHORT, "--rate", "40", "--arrivals", "even")
    assert_one_sentence(done, 1, "requests failed under load", kind)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["failed"] == {kind: row["failed"][kind]}
    assert row["refused"] == 0


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_is_gone_is_no_refusal(scheme: str) -> None:
    """gRPC says UNAVAILABLE for both."""

    async def call() -> None:
        client = client_of(f"{scheme}://127.0.0.1:{free_ports().http}", "toy")
        try:
            await client.call(client.request({"seed": np.zeros((1, 1), np.uint64)}))
        finally:
            await client.close()

    with pytest.raises(FailedError) as failed:
        asyncio.run(call())
    assert failed.value.kind == "connection lost"


@BOTH
def test_two_servers_take_turns_and_are_compared(start: Start) -> None:
    with start("none") as first, start("none") as second:
        done = run_here("cgan-bench", "--url", first, "--url", second, *SHORT, "--concurrency", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    one, other = found["rows"]
    assert (one["server"], other["server"]) == (first, second)
    assert one["difference_to_reference"] is None
    assert set(other["difference_to_reference"]) == {"median_ms", "q1_ms", "q3_ms"}
    assert found["same_answers"] == [True]


def test_a_wrong_answer_of_the_second_server_ends_with_5() -> None:
    with http_server("none") as first, http_server("wrong") as second:
        done = run_here("cgan-bench", "--url", first, "--url", second, *SHORT)
    assert_one_sentence(done, 5, "1 client, B at batch 1")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("model", ["facades", "facades_png", "facades_core"])
def test_triton_answers_under_load_as_it_does_alone(server: TritonServer, scheme: str, model: str) -> None:
    ports = server.options.ports
    url = f"{scheme}://127.0.0.1:{ports.http if scheme == 'http' else ports.grpc}"
    words = ("--model", model, "--concurrency", "3", "--batch", "2", "--seconds", "1", "--json")
    done = run_here("cgan-bench", "--url", url, *words)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["wrong"], row["failed"]) == (0, {})
    assert row["latencies_ms"]


def test_files_and_tensors_are_the_same_request(bundle: Bundle) -> None:
    """What NAME_png is sent shows the pixels of what NAME is sent."""
    contract = bundle.manifest.contract
    seeds = [3, 5]
    sent = inputs_of(Served(model="m_png", kind="files", contract=contract), seeds)
    tensors = conditions_for(contract, seeds)["condition"]
    encoding = contract.conditions[0].encoding
    for data, pixels in zip(sent["image"].ravel(), bytes_from_tensors(tensors, encoding), strict=True):  # type: ignore[arg-type]  # an image's
        assert np.array_equal(np.asarray(read_image(data, "image")), pixels)
    assert sent["seed"].tolist() == [[3], [5]]


def test_the_faults_begin_after_the_requests_that_are_asked_alone() -> None:
    from cgan_bench.load.measure import REQUESTS

    assert REQUESTS <= FROM_CALL
