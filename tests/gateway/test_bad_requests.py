"""Whatever a caller sends: one sentence and the right code, and a good request afterwards gives the same image."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import socket
import zlib
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.gateway.gateway_process import GatewayProcess, call
from tests.helpers import png, smooth_images

IMAGE = png(smooth_images(1, seed=5)[0])
ROW = np.zeros((1, 3, 64, 64), dtype="<f4")


def send(gateway: GatewayProcess, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.settings.http_port, timeout=60)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
        binary = answer.getheader("Inference-Header-Content-Length")
        return answer.status, json.loads(text[: int(binary)] if binary else text)
    finally:
        connection.close()


def infer(
    gateway: GatewayProcess, *inputs: dict[str, Any], model: str = "facades", **more: Any
) -> tuple[int, dict[str, Any]]:
    return send(gateway, f"/v2/models/{model}/infer", json.dumps({"inputs": inputs, **more}).encode())


def condition(**changed: Any) -> dict[str, Any]:
    data = {"data": ROW.ravel().tolist()} if "parameters" not in changed else {}
    return {"name": "condition", "datatype": "FP32", "shape": [1, 3, 64, 64], **data, **changed}


def seed(value: Any = 7, **changed: Any) -> dict[str, Any]:
    return {"name": "seed", "datatype": "UINT64", "shape": [1, 1], "data": [value], **changed}


def values(answer: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item["data"] for item in answer["outputs"]}


def good(gateway: GatewayProcess) -> tuple[int, dict[str, Any]]:
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": [base64.b64encode(IMAGE).decode()]}
    return infer(gateway, image, seed(), model="facades_png")


@pytest.fixture(autouse=True)
def _the_gateway_goes_on(gateway: GatewayProcess) -> Any:
    """A good request before and after each test gives the same image."""
    first = good(gateway)
    yield
    assert good(gateway) == first
    assert first[0] == 200


NESTED = (
    b'{"inputs":[{"name":"condition","datatype":"FP32","shape":[1],"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}"
)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(gzip.compress(NESTED), 400, "not JSON that can be read", id="deep"),
        pytest.param(gzip.compress(b" " * 200_000_000, 9), 413, "when it is inflated", id="bomb"),
        pytest.param(gzip.compress(b"{}")[:-4], 400, "cut short", id="cut gzip"),
        pytest.param(b"{}", 400, "is not gzip", id="no gzip"),
    ],
)
def test_a_hostile_gzip_is_refused(gateway: GatewayProcess, body: bytes, status: int, words: str) -> None:
    seen, answer = send(gateway, "/v2/models/facades/infer", body, Content_Encoding="gzip")
    assert (seen, words in answer["error"]) == (status, True), answer


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shape": [100_000_000, 3, 64, 64], "data": [0]}, "values, 1228800000000 are needed"),
        ({"shape": [2**31, 3, 64, 64]}, "whole numbers from 0 to 2147483647"),
        ({"shape": [-1, 3, 64, 64]}, "whole numbers"),
        ({"shape": [0, 3, 64, 64], "data": []}, "condition 0, seed 1"),
        ({"shape": [1, 3, 32, 128]}, r"[N, 3, 64, 64] is needed"),
        ({"shape": "64"}, "needs a shape"),
        ({"shape": [1.0, 3, 64, 64]}, "whole numbers"),
        ({"datatype": "FP16"}, "one of FP32"),
        ({"datatype": "INT64", "data": [0] * 12288}, "FP32 is needed"),
        ({"data": [1e999]}, ""),
        ({"data": [1e39] * 12288}, "not finite"),
        ({"data": [255.0] * 12288}, "far outside its range of -1 to 1"),
        ({"data": ["0"] * 12288}, "not only numbers"),
        ({"data": [[0], [0, 1]]}, "nested unevenly"),
        ({"data": {}}, "no list data"),
        ({"name": 7}, "the name of an input"),
        ({"parameters": {"binary_data_size": 49152}}, "0 are left"),
        ({"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}}, "shared memory"),
        ({"parameters": [], "data": []}, "must be a JSON object"),
    ],
)
def test_a_bad_tensor_is_a_400_that_names_it(gateway: GatewayProcess, changed: dict[str, Any], words: str) -> None:
    body = json.dumps({"inputs": [condition(**changed), seed()]}).replace("Infinity", "1e999").encode()
    status, answer = send(gateway, "/v2/models/facades/infer", body)
    assert status == 400, answer
    assert words in answer["error"]
    assert "condition" in answer["error"] or "input" in answer["error"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1, "out of range"),
        (1.5, "not a whole number"),
        (1.0, "not a whole number"),
        (True, "not a whole number"),
        (None, "not a whole number"),
        ("seven", "not a whole number"),
        ("-7", "not a whole number"),
        ("1e3", "not a whole number"),
        ("0x10", "not a whole number"),
        ("07", "begins with 0"),
        ("", "not a whole number"),
        ("١٢", "not a whole number"),
        (2**53, 'a string of digits, "9007199254740992"'),
        (2**64 - 1, "many JSON libraries round"),
        (str(2**64), "out of range"),
    ],
)
def test_a_seed_that_is_none_is_refused(gateway: GatewayProcess, value: Any, words: str) -> None:
    status, answer = infer(gateway, condition(), seed(value))
    assert (status, words in answer["error"]) == (400, True), answer


@pytest.mark.parametrize("value", [0, 2**53 - 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1])
def test_a_seed_as_text_is_the_same_seed_as_in_binary(gateway: GatewayProcess, value: int) -> None:
    """Over gRPC the eight bytes travel as they are; text and numbers must give the same image and the same echo."""
    status, answer = infer(gateway, condition(), seed(str(value)))
    assert status == 200, answer
    assert values(answer)["seed"] == [value if value < 2**53 else str(value)]
    message = pb.ModelInferRequest(model_name="facades")
    message.inputs.add(name="condition", datatype="FP32", shape=ROW.shape)
    message.inputs.add(name="seed", datatype="UINT64", shape=[1, 1])
    message.raw_input_contents.extend([ROW.tobytes(), value.to_bytes(8, "little")])
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        found = pb.ModelInferResponse.FromString(call(channel, "ModelInfer", message.SerializeToString()))
    raw = dict(zip([output.name for output in found.outputs], found.raw_output_contents, strict=True))
    assert int.from_bytes(raw["seed"], "little") == value
    assert np.array_equal(np.frombuffer(raw["picture"], "<f4"), np.array(values(answer)["picture"], dtype="<f4"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"[]", 'a list "inputs"'),
        (b'{"inputs": {}}', 'a list "inputs"'),
        (b'{"inputs": []}', "condition is missing"),
        (b'{"inputs": [7]}', "each input must be"),
        (b'{"inputs": [], "imputs": []}', "field 'imputs'"),
        (b'{"inputs": [], "id": 7}', "id must be text"),
        (b'{"inputs": [], "outputs": {}}', "outputs must be a list"),
        (b'{"inputs": [], "parameters": {"timeout": -1}}', "microseconds"),
        (b'{"inputs": [NaN]}', "not JSON"),
        (b'{"inputs": ["\xff"]}', "not JSON"),
        (b"9" * 100_000, "not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_a_400(gateway: GatewayProcess, body: bytes, words: str) -> None:
    status, answer = send(gateway, "/v2/models/facades/infer", body)
    assert (status, words in answer["error"]) == (400, True), answer


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([seed()], "condition is missing; facades takes condition, seed, draw"),
        ([condition(), condition(), seed()], "given twice"),
        ([condition(), {**seed(), "name": "sed"}], "'sed' is no input of facades"),
        ([condition(), seed(shape=[2, 1], data=[1, 2])], "the same number of rows"),
        (
            [condition(shape=[9, 3, 64, 64], data=[0] * 9 * 12288), seed(shape=[9, 1], data=[0] * 9)],
            "takes 1 to 8",
        ),
    ],
)
def test_inputs_that_do_not_fit_together(gateway: GatewayProcess, inputs: list[dict[str, Any]], words: str) -> None:
    status, answer = infer(gateway, *inputs)
    assert (status, words in answer["error"]) == (400, True), answer


@pytest.mark.parametrize("length", ["-1", "x", "99999999", "1e3"])
def test_a_wrong_length_of_the_header_is_a_400(gateway: GatewayProcess, length: str) -> None:
    status, answer = send(gateway, "/v2/models/facades/infer", b"{}", Inference_Header_Content_Length=length)
    assert status == 400
    assert "Inference-Header-Content-Length" in answer["error"]


def test_paths_that_manage_triton_are_not_there(gateway: GatewayProcess) -> None:
    for path in (
        "/v2/repository/index",
        "/v2/repository/models/facades/unload",
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "/metrics",
        "/v2/models/facades_core/../../logging",
    ):
        status, answer = send(gateway, path, b"{}")
        assert status in (404, 405), path
        assert set(answer) == {"error"}
    with grpc.insecure_channel(gateway.grpc_url) as channel:
        for method in ("RepositoryModelUnload", "SystemSharedMemoryRegister", "TraceSetting", "LogSettings"):
            with pytest.raises(grpc.RpcError) as caught:
                call(channel, method)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_model_or_version_is_a_404(gateway: GatewayProcess) -> None:
    status, answer = infer(gateway, condition(), model="fassades")
    assert (status, answer["error"]) == (
        404,
        "'fassades' is not served here; there is facades, facades_core, facades_png.",
    )
    status, answer = infer(gateway, condition(), model="facades/versions/2")
    assert (status, "version 1 is" in answer["error"]) == (404, True)


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (b"\xff\xff\xff", "INVALID_ARGUMENT", "not a ModelInferRequest"),
        (pb.ModelInferRequest(model_name="nope").SerializeToString(), "NOT_FOUND", "is not served here"),
        (
            pb.ModelInferRequest(model_name="facades", raw_input_contents=[b""]).SerializeToString(),
            "INVALID_ARGUMENT",
            "raw_input_contents has 1 items",
        ),
        (b"\x3a\x00" * 10, "INVALID_ARGUMENT", ""),
    ],
)
def test_a_bad_message_is_an_error_of_grpc(gateway: GatewayProcess, message: bytes, code: str, words: str) -> None:
    with grpc.insecure_channel(gateway.grpc_url) as channel, pytest.raises(grpc.RpcError) as caught:
        call(channel, "ModelInfer", message)
    error: Any = caught.value
    if message.startswith(b"\x3a"):
        assert error.code().name in ("INVALID_ARGUMENT", "NOT_FOUND")
    else:
        assert error.code().name == code
    assert words in error.details()


def test_a_file_that_is_no_image_is_the_models_own_sentence(gateway: GatewayProcess) -> None:
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "data": ["these are words"]}
    status, answer = infer(gateway, image, seed(), model="facades_png")
    assert status == 400
    assert answer["error"].startswith("image is not an image that can be read")


def test_an_image_in_json_is_base64_whatever_was_sent(gateway: GatewayProcess) -> None:
    """A PNG sent as binary and wanted as JSON: text, as JSON holds no bytes."""
    packed = len(IMAGE).to_bytes(4, "little") + IMAGE
    size = {"binary_data_size": len(packed)}
    image = {"name": "image", "datatype": "BYTES", "shape": [1, 1], "parameters": size}
    head = json.dumps({"inputs": [image, seed()]}).encode()
    path = "/v2/models/facades_png/infer"
    status, answer = send(gateway, path, head + packed, Inference_Header_Content_Length=str(len(head)))
    assert status == 200, answer
    assert values(answer)["picture"][0].startswith("iVBOR")


def test_deflate_and_gzip_are_read(gateway: GatewayProcess) -> None:
    body = json.dumps({"inputs": [condition(), seed()]}).encode()
    plain = send(gateway, "/v2/models/facades/infer", body)
    assert plain[0] == 200
    assert send(gateway, "/v2/models/facades/infer", gzip.compress(body), Content_Encoding="gzip") == plain
    assert send(gateway, "/v2/models/facades/infer", zlib.compress(body), Content_Encoding="deflate") == plain
    assert send(gateway, "/v2/models/facades/infer", body, Content_Encoding="br")[0] == 415


def test_a_body_of_many_tiny_chunks_is_read(gateway: GatewayProcess) -> None:
    """Each small chunk took stack memory of Triton's own HTTP server, and 3 MB of them ended it."""
    body = json.dumps({"inputs": [condition(data=[0.5] * 12288), seed()]}).encode()
    with socket.create_connection(("127.0.0.1", gateway.settings.http_port), 60) as connection:
        head = b"POST /v2/models/facades/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        chunks = b"".join(b"1\r\n" + body[at : at + 1] + b"\r\n" for at in range(len(body)))
        blanks = b"1\r\n \r\n" * 500_000
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + blanks + chunks + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
