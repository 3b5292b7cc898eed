"""The protocol over HTTP: health, metadata, versions, infer in JSON and in the binary extension."""

from __future__ import annotations

import json
from typing import Any, Final

from cgan_runtime.conformance.checking import Check, NotOfferedError, require
from cgan_runtime.conformance.messages import HEADER, Reply, binary_request, json_request, outputs_of, same_values
from cgan_runtime.conformance.target import Target

__all__ = ["HTTP_CHECKS"]

SEEDS: Final = [7]


def _answers(target: Target, path: str) -> None:
    reply = target.server.ask(path)
    require(reply.status == 200, "200", reply)


def _server_metadata(target: Target) -> None:
    plain = target.server.ask("/v2").json
    fits = all(isinstance(plain.get(key), str) for key in ("name", "version"))
    fits = fits and all(isinstance(item, str) for item in plain.get("extensions", [None]))
    require(fits, "name, version and a list of extensions", plain)


def _unknown_is_not_ready(target: Target) -> None:
    reply = target.server.ask("/v2/models/no-such-model/ready")
    require(400 <= reply.status < 500, "a status from 400 to 499", reply)


def _model_metadata(target: Target, path: str = "") -> None:
    reply = target.server.ask(f"{target.path}{path}")
    require(reply.status == 200, "200", reply)
    plain = reply.json
    require(plain.get("name") == target.model, f"the name {target.model}", plain.get("name"))
    require(isinstance(plain.get("platform"), str), "a platform", plain)
    for kind in ("inputs", "outputs"):
        items = plain.get(kind) or []
        fits = all(
            isinstance(item.get("datatype"), str) and all(isinstance(axis, int) for axis in item.get("shape", [""]))
            for item in items
        )
        require(bool(items) and fits, f"{kind} with datatype and shape", items)


def _versions(target: Target) -> list[str]:
    versions = target.server.ask(target.path).json.get("versions")
    if not versions:
        raise NotOfferedError("the model has no versions")
    return list(versions)


def _version_by_path(target: Target) -> None:
    for version in _versions(target):
        _model_metadata(target, f"/versions/{version}")
        path = f"{target.path}/versions/{version}/infer"
        reply = target.server.ask(path, json.dumps(json_request(target.tensors(SEEDS))).encode())
        require(reply.status == 200, "200", reply)
        require(reply.json.get("model_version") == version, f"model_version {version}", reply)


def _refused(reply: Reply, status: int | None = None) -> None:
    """An error is a 4xx, or this status, and JSON with one text `error`."""
    expected = str(status) if status is not None else "a status from 400 to 499"
    fits = reply.status == status if status is not None else 400 <= reply.status < 500
    require(fits, expected, reply)
    said = reply.json.get("error")
    require(isinstance(said, str) and bool(said), 'a body {"error": "..."}', reply)


def _unknown(target: Target, path: str, body: bytes | None = None) -> None:
    _refused(target.server.ask(path, body), 404)


def _unknown_version(target: Target) -> None:
    _versions(target)
    _unknown(target, f"{target.path}/versions/99999")


def _infer_in_json(target: Target) -> None:
    reply = target.infer(json_request(target.tensors(SEEDS)))
    require(reply.status == 200, "200", reply)
    kind = reply.headers.get("content-type", "")
    require(kind.startswith("application/json"), "Content-Type application/json", kind)
    require(reply.json.get("model_name") == target.model, f"model_name {target.model}", reply)
    found = outputs_of(reply)
    require(set(found) == set(target.outputs), f"the outputs {', '.join(target.outputs)}", ", ".join(found))
    for item in reply.json["outputs"]:
        datatype, shape = target.outputs[item["name"]]
        fits = item["datatype"] == datatype and len(item["shape"]) == len(shape)
        fits = fits and all(axis in (-1, given) for axis, given in zip(shape, item["shape"], strict=True))
        require(fits, f"{item['name']} as {datatype} {shape}", f"{item['datatype']} {item['shape']}")


def _id_comes_back(target: Target) -> None:
    reply = target.infer(json_request(target.tensors(SEEDS), id="a-7"))
    require(reply.json.get("id") == "a-7", "the id a-7", reply.json.get("id"))


def _outputs_asked_for(target: Target) -> None:
    for name in target.outputs:
        found = outputs_of(target.infer(json_request(target.tensors(SEEDS), outputs=[{"name": name}])))
        require(list(found) == [name], f"the output {name} alone", ", ".join(found))


def _nested_data(target: Target) -> None:
    request = json_request(target.tensors(SEEDS))
    flat = outputs_of(target.infer(request))
    for item, tensor in zip(request["inputs"], target.tensors(SEEDS), strict=True):
        item["data"] = tensor.array.tolist()
    _same(outputs_of(target.infer(request)), flat, "flat data")


def _same(found: dict[str, Any], expected: dict[str, Any], how: str) -> None:
    require(set(found) == set(expected), f"the outputs of {how}", ", ".join(found))
    for name, values in expected.items():
        same = found[name].shape == values.shape and same_values(found[name], values)
        require(same, f"{name} as with {how}", "other values")


def _needs_binary(target: Target) -> None:
    if "binary_tensor_data" not in target.extensions:
        raise NotOfferedError("the server does not name the extension binary_tensor_data")


def _binary(target: Target, *, inputs: bool, outputs: bool) -> None:
    """The same outputs as in JSON."""
    _needs_binary(target)
    tensors = target.tensors(SEEDS)
    names = {tensor.name for tensor in tensors} if inputs else set()
    more: dict[str, Any] = {"parameters": {"binary_data_output": True}} if outputs else {}
    reply = target.infer(*binary_request(tensors, names, **more))
    require(reply.status == 200, "200", reply)
    has_length = HEADER.lower() in reply.headers
    require(has_length is outputs, f"{'a' if outputs else 'no'} header {HEADER}", reply.headers.get(HEADER.lower()))
    _same(outputs_of(reply), outputs_of(target.infer(json_request(tensors))), "JSON")


def _mixed(target: Target) -> None:
    """The last input in binary and the others in JSON; the first output in binary and the others in JSON."""
    _needs_binary(target)
    tensors, (first, *others) = target.tensors(SEEDS), target.outputs
    asked = [{"name": first, "parameters": {"binary_data": True}}, *({"name": name} for name in others)]
    reply = target.infer(*binary_request(tensors, {tensors[-1].name}, outputs=asked))
    require(reply.status == 200, "200", reply)
    ways = {item["name"]: "data" not in item for item in reply.json["outputs"]}
    require(ways == {name: name == first for name in target.outputs}, f"{first} alone in binary", ways)
    _same(outputs_of(reply), outputs_of(target.infer(json_request(tensors))), "JSON")


def _wrong_binary(target: Target, *, size: int = 0, header: int = 0, cut: int = 0) -> None:
    """A size or a length that does not fit the body."""
    _needs_binary(target)
    tensors = target.tensors(SEEDS)
    body, headers = binary_request(tensors, {tensors[-1].name})
    head, tail = body[: int(headers[HEADER])], body[int(headers[HEADER]) :]
    plain = json.loads(head)
    plain["inputs"][-1]["parameters"]["binary_data_size"] += size
    head = json.dumps(plain).encode()
    headers[HEADER] = str(len(head) + header)
    _refused(target.infer((head + tail)[: len(head) + len(tail) - cut], headers))


HTTP_CHECKS: Final = (
    Check("http: the server is live", lambda t: _answers(t, "/v2/health/live")),
    Check("http: the server is ready", lambda t: _answers(t, "/v2/health/ready")),
    Check("http: the server has name, version and extensions", _server_metadata),
    Check("http: the model is ready", lambda t: _answers(t, f"{t.path}/ready")),
    Check("http: an unknown model is not ready", _unknown_is_not_ready),
    Check("http: the model has metadata", _model_metadata),
    Check("http: a version has metadata and answers by its path", _version_by_path),
    Check("http: an unknown model is 404", lambda t: _unknown(t, "/v2/models/no-such-model")),
    Check("http: an unknown version is 404", _unknown_version),
    Check("http: infer of an unknown model is 404", lambda t: _unknown(t, "/v2/models/no-such-model/infer", b"{}")),
    Check("http: infer answers every output as the metadata describes it", _infer_in_json),
    Check("http: the id of a request comes back", _id_comes_back),
    Check("http: outputs that are asked for come alone", _outputs_asked_for),
    Check("http: data may be nested", _nested_data),
    Check("binary: inputs after the JSON", lambda t: _binary(t, inputs=True, outputs=False)),
    Check("binary: outputs after the JSON", lambda t: _binary(t, inputs=False, outputs=True)),
    Check("binary: inputs and outputs", lambda t: _binary(t, inputs=True, outputs=True)),
    Check("binary: some tensors in JSON, some not", _mixed),
    Check("binary: a size that does not fit the shape is a 4xx", lambda t: _wrong_binary(t, size=-1, cut=1)),
    Check("binary: a size beyond the body is a 4xx", lambda t: _wrong_binary(t, size=1000)),
    Check("binary: a header length beyond the body is a 4xx", lambda t: _wrong_binary(t, header=10**6)),
    Check("binary: a body that is cut short is a 4xx", lambda t: _wrong_binary(t, cut=3)),
)
