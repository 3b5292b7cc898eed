"""The gateway as clients and operators meet it, in front of a real Triton."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from cgan_runtime.bundle import Bundle
from cgan_runtime.gateway.settings import Engine, Limits
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.server import TritonServer
from cgan_runtime.source import open_source
from cgan_runtime.triton_client import TritonClient
from tritonclient.grpc import service_pb2 as pb

from tests.certificates import certificate
from tests.gateway.asking import IMAGE, get, png_inputs, wait_until
from tests.gateway.gateway_process import GatewayProcess, call, engine_of, route_of
from tests.helpers import free_ports


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_answer_through_the_gateway_is_the_one_of_triton(
    gateway: GatewayProcess, server: TritonServer, bundle: Bundle, scheme: str
) -> None:
    addresses = {
        "http": (gateway.http_url, server.http_url),
        "grpc": (f"grpc://{gateway.grpc_url}", f"grpc://{server.grpc_url}"),
    }
    through, direct = (TritonClient(address) for address in addresses[scheme])
    rng = np.random.default_rng(3)
    seeds = np.array([[7], [2**64 - 1], [2**53 + 1]], dtype=np.uint64)
    rows = {"condition": rng.uniform(-1, 1, (3, 3, 64, 64)).astype(np.float32), "seed": seeds}
    requests: tuple[tuple[str, dict[str, Any]], ...] = (
        ("facades", rows),
        ("facades_png", {"image": np.array([[IMAGE]] * 3, dtype=object), "seed": seeds}),
    )
    for model, inputs in requests:
        one, two = (client.infer(model, inputs, ["picture", "seed"]) for client in (through, direct))
        assert all(np.array_equal(one[name], two[name]) for name in one)
    assert through.contract("facades_core") == bundle.manifest.contract
    through.close()
    direct.close()


def test_every_answer_says_which_model_artifact_and_runtime_made_it(
    gateway: GatewayProcess, bundle: Bundle, server_environment: ServerEnvironment
) -> None:
    runtime = server_environment.describe("onnxruntime")
    assert runtime.startswith("onnxruntime 1.")
    wanted = {"model_digest": bundle.model_digest, "artifact": "onnxruntime/fp32", "runtime": runtime}
    over_http = tritonclient.http.InferenceServerClient(gateway.http_url.removeprefix("http://"))
    answer = over_http.infer("facades_png", png_inputs(tritonclient.http)).get_response()
    assert (answer["parameters"], answer["model_name"], answer["model_version"]) == (wanted, "facades_png", "1")
    over_http.close()
    with tritonclient.grpc.InferenceServerClient(gateway.grpc_url) as client:
        message = client.infer("facades_png", png_inputs(tritonclient.grpc)).get_response()
    assert {key: value.string_param for key, value in message.parameters.items()} == wanted
    assert (message.model_name, message.model_version) == ("facades_png", "1")
    for url in (gateway.http_url, f"grpc://{gateway.grpc_url}"):
        with open_source(bundle=None, url=url, model="facades") as source:
            assert {"model_digest": source.digest, "artifact": source.artifact, "runtime": source.runtime} == wanted


def test_a_stream_answers_in_order_and_goes_on_after_a_bad_request(gateway: GatewayProcess) -> None:
    answers: list[tuple[Any, Any]] = []
    with tritonclient.grpc.InferenceServerClient(gateway.grpc_url) as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        for number in range(12):
            model = "nothing" if number == 5 else "facades_png"
            client.async_stream_infer(model, png_inputs(tritonclient.grpc, number), request_id=str(number))
        client.stop_stream()
    assert [None if result is None else result.get_response().id for result, _ in answers] == [
        None if number == 5 else str(number) for number in range(12)
    ]
    assert "is not served here" in str(answers[5][1])
    assert [int(result.as_numpy("seed")[0, 0]) for result, _ in answers if result] == [
        n for n in range(12) if n != 5
    ]


def test_what_a_client_needs_to_know_is_one_call(gateway: GatewayProcess, bundle: Bundle) -> None:
    status, body = get(f"{gateway.http_url}/v2/models/facades_png/contract")
    found = json.loads(body)
    assert status == 200
    assert found["contract"] == bundle.manifest.contract.to_json()
    assert [(item["name"], item["datatype"], item["optional"]) for item in found["inputs"]] == [
        ("image", "BYTES", False),
        ("seed", "UINT64", True),
        ("draw", "UINT32", True),
        ("base64", "BOOL", True),
    ]
    assert found["limits"]["rows"] == 8
    _, core = get(f"{gateway.http_url}/v2/models/facades_core/contract")
    assert [item.get("noise") for item in json.loads(core)["inputs"]] == [None, 0, 1, 2]


def test_metadata_configuration_and_statistics_are_under_the_public_name(gateway: GatewayProcess) -> None:
    with tritonclient.grpc.InferenceServerClient(gateway.grpc_url) as client:
        over_grpc = client.get_model_metadata("facades", as_json=True)
        config = client.get_model_config("facades", as_json=True)["config"]
        statistics = client.get_inference_statistics("facades").model_stats[0]
    over_http = json.loads(get(f"{gateway.http_url}/v2/models/facades")[1])
    assert [tensor["name"] for tensor in over_http["inputs"]] == ["condition", "seed", "draw"]
    assert [tensor["name"] for tensor in over_grpc["inputs"]] == ["condition", "seed", "draw"]
    assert (config["name"], statistics.name, statistics.version) == ("facades", "facades", "1")
    served = json.loads(get(f"{gateway.http_url}/v2/models/facades/config")[1])
    assert (served["name"], served["max_batch_size"], served["input"][0]["dims"]) == ("facades", 8, [3, 64, 64])
    assert len(json.loads(get(f"{gateway.http_url}/v2/models/stats")[1])["model_stats"]) == 3


def test_health_is_the_truth(own_gateway: Any, server: TritonServer) -> None:
    """Ready means that the models answer: not while Triton is away, nor with an address where there is none."""
    gateway = own_gateway()
    assert get(f"{gateway.http_url}/v2/health/ready")[0] == 200
    assert get(f"{gateway.http_url}/v2/models/facades_core/ready")[0] == 200
    gateway.tell(down=True)
    assert get(f"{gateway.http_url}/v2/health/ready")[0] == 503
    assert get(f"{gateway.http_url}/v2/models/facades/ready")[0] == 503
    gateway.tell(
        engine=Engine(epoch=2, **dict.fromkeys(("http", "grpc", "metrics"), f"127.0.0.1:{free_ports().http}"))
    )
    wait_until(lambda: get(f"{gateway.http_url}/v2/health/ready")[0] == 503)
    assert get(f"{gateway.http_url}/v2/health/live")[0] == 200
    gateway.tell(engine=engine_of(server, epoch=3))
    wait_until(lambda: get(f"{gateway.http_url}/v2/health/ready")[0] == 200)


def test_a_request_that_comes_while_triton_is_away_is_answered_when_it_is_back(
    own_gateway: Any, server: TritonServer
) -> None:
    gateway = own_gateway()
    gateway.tell(down=True)
    client = TritonClient(f"grpc://{gateway.grpc_url}")
    inputs = {"image": np.array([[IMAGE]], dtype=object), "seed": np.array([[7]], dtype=np.uint64)}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.infer, "facades_png", inputs, ["seed"])
        time.sleep(0.5)
        assert not asked.done()
        gateway.tell(engine=engine_of(server, epoch=2))
        assert asked.result(30)["seed"][0, 0] == 7
    client.close()


def test_another_version_is_named_and_the_old_one_is_idle_at_once(
    own_gateway: Any, bundle: Bundle, server_environment: ServerEnvironment
) -> None:
    gateway = own_gateway()
    route = route_of(bundle, server_environment)
    inner = {kind: name for kind, name in route.models.items() if kind != "png"}
    gateway.tell(routes=(route.model_copy(update={"version": 2, "models": inner}),))
    assert gateway.wait_for(lambda event: event.idle).idle == ("facades_png",)
    assert json.loads(get(f"{gateway.http_url}/v2/models/facades/versions/2")[1])["versions"] == ["2"]
    assert get(f"{gateway.http_url}/v2/models/facades/versions/1")[0] == 404
    assert get(f"{gateway.http_url}/v2/models/facades_png")[0] == 404


def test_the_end_of_the_supervisor_lets_accepted_requests_end(own_gateway: Any, server: TritonServer) -> None:
    gateway = own_gateway()
    gateway.tell(down=True)
    client = TritonClient(f"grpc://{gateway.grpc_url}")
    inputs = {"image": np.array([[IMAGE]], dtype=object), "seed": np.array([[7]], dtype=np.uint64)}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.infer, "facades_png", inputs, ["seed"])
        wait_until(lambda: b"cgan_inside 1.0" in get(gateway.metrics_url)[1])
        gateway.tell(engine=engine_of(server, epoch=2))
        assert gateway.stop() == 0
        assert asked.result(30)["seed"][0, 0] == 7
    client.close()


def test_keys_are_needed_over_both_protocols_but_not_by_probes(own_gateway: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# of tests\nfirst-key-of-sixteen\nsecond-key-of-sixteen\n")
    gateway = own_gateway(api_keys=keys)
    url = f"{gateway.http_url}/v2/models/facades"
    assert get(url)[0] == 401
    assert "Authorization: Bearer KEY" in json.loads(get(url)[1])["error"]
    assert get(url, Authorization="Bearer first-key-of-sixteem")[0] == 401
    assert get(url, Authorization="Bearer second-key-of-sixteen")[0] == 200
    assert get(f"{gateway.http_url}/v2/health/ready")[0] == 200
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "ServerMetadata")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert call(channel, "ServerMetadata", key="first-key-of-sixteen")
        stream: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer"
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(stream(iter([b""]), timeout=10))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_tls_is_spoken_over_both_protocols(own_gateway: Any, tmp_path: Path) -> None:
    file, key = certificate(tmp_path)
    gateway = own_gateway(tls_certificate=file, tls_key=key)
    trusted = ssl.create_default_context(cafile=file)
    assert get(f"https://127.0.0.1:{gateway.settings.http_port}/v2/health/ready", trusted)[0] == 200
    with grpc.secure_channel(gateway.grpc_url, grpc.ssl_channel_credentials(file.read_bytes())) as channel:
        assert pb.ServerLiveResponse.FromString(call(channel, "ServerLive")).live
    with pytest.raises((urllib.error.URLError, http.client.HTTPException, ConnectionError)):
        get(f"{gateway.http_url}/v2/health/live")


def test_who_never_begins_with_tls_is_left_over_grpc_too(own_gateway: Any, tmp_path: Path) -> None:
    file, key = certificate(tmp_path)
    gateway = own_gateway(tls_certificate=file, tls_key=key, limits=Limits(idle_seconds=1))
    with socket.create_connection(("127.0.0.1", gateway.settings.grpc_port), timeout=10) as connection:
        assert connection.recv(1) == b""


def test_metrics_are_those_of_the_gateway_of_triton_and_of_the_stages_of_the_models(
    gateway: GatewayProcess,
) -> None:
    client = TritonClient(f"grpc://{gateway.grpc_url}")
    inputs = {"image": np.array([[IMAGE]] * 2, dtype=object), "seed": np.array([[7], [8]], dtype=np.uint64)}
    client.infer("facades_png", inputs, ["seed"])
    time.sleep(1.1)  # the models tell once a second, when a request comes
    client.infer("facades_png", inputs, ["seed"])
    client.close()
    page = get(gateway.metrics_url)[1].decode()
    assert 'cgan_rows_total{model="facades_png",version="1"}' in page
    assert "cgan_queue_seconds_bucket" in page
    assert "nv_inference_request_success" in page
    found = re.findall(r'cgan_stage_seconds_total\{model="facades_png",stage="(\w+)"\} ([\d.e-]+)', page)
    spent = {stage: float(seconds) for stage, seconds in found}
    assert set(spent) == {"read", "noise", "core", "answer"}
    assert all(0 < seconds < 60 for seconds in spent.values()), spent


def test_the_log_is_json_and_holds_nothing_of_what_was_sent(gateway: GatewayProcess) -> None:
    request = urllib.request.Request(f"{gateway.http_url}/v2/models/facades_png/infer", data=b'{"secret": 1}')
    request.add_header("X-Request-Id", "my-own-id")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    assert caught.value.headers["X-Request-Id"] == "my-own-id"
    caught.value.close()
    wait_until(lambda: '"my-own-id"' in gateway.log.read_text())  # it comes through a pipe
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    (mine,) = [line for line in lines if line.get("request") == "my-own-id"]
    assert (mine["status"], mine["method"], mine["path"]) == (400, "POST", "/v2/models/facades_png/infer")
    assert "secret" not in gateway.log.read_text()
