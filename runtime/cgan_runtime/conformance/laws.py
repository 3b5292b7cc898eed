"""What this product promises beyond the protocol: the seed, rows on their own, the contract, the image model."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from cgan_runtime.conformance.checking import Check, NotOfferedError, require
from cgan_runtime.conformance.grpc_checks import call, stream
from cgan_runtime.conformance.messages import (
    Tensor,
    binary_request,
    grpc_outputs,
    grpc_request,
    json_request,
    outputs_of,
    same_values,
)
from cgan_runtime.conformance.target import Target
from cgan_runtime.contract import Contract, ImageEncoding, LabelEncoding
from cgan_runtime.encodings import encoder_of
from cgan_runtime.image_bytes import bytes_from_tensors
from cgan_runtime.images import png_bytes, read_image
from cgan_runtime.runners.base import Array

__all__ = ["LAW_CHECKS"]

LARGE: Final = [2**53 + 1, 2**64 - 1]


def _json(target: Target, tensors: list[Tensor]) -> dict[str, Array]:
    return outputs_of(target.infer(json_request(tensors)))


def _binary(target: Target, tensors: list[Tensor]) -> dict[str, Array]:
    names = {tensor.name for tensor in tensors}
    return outputs_of(target.infer(*binary_request(tensors, names, parameters={"binary_data_output": True})))


def _grpc(target: Target, tensors: list[Tensor]) -> dict[str, Array]:
    return grpc_outputs(call(target, "ModelInfer", grpc_request(target.model, tensors)))


def _stream(target: Target, tensors: list[Tensor]) -> dict[str, Array]:
    (answer,) = stream(target, [grpc_request(target.model, tensors)])
    return grpc_outputs(answer.infer_response)


def _equal(found: dict[str, Array], expected: dict[str, Array], what: str) -> None:
    require(set(found) == set(expected), f"the outputs {', '.join(expected)}", ", ".join(found))
    for name, values in expected.items():
        require(same_values(found[name], values), f"{name} {what}", "other values")


def _same_over(way: Callable[[Target, list[Tensor]], dict[str, Array]], target: Target) -> None:
    target.seeded()
    tensors = target.tensors([7])
    _equal(way(target, tensors), _json(target, tensors), "as over HTTP in JSON")


def _echo(way: Callable[[Target, list[Tensor]], dict[str, Array]], seeds: list[int], target: Target) -> None:
    target.seeded()
    rows = seeds[: target.max_batch]
    seen = way(target, target.tensors(rows))["seed"].ravel().tolist()
    require(seen == rows, f"the seeds {rows}", seen)


def _seed_as_text(target: Target) -> None:
    target.seeded()
    request = json_request(target.tensors([LARGE[1]]))
    request["inputs"][-1]["data"] = [str(LARGE[1])]
    seen = [int(seed) for seed in outputs_of(target.infer(request))["seed"].ravel()]
    require(seen == [LARGE[1]], f"the seed {LARGE[1]}", seen)


def _large_number(target: Target) -> None:
    target.seeded()
    reply = target.infer(json_request(target.tensors([LARGE[0]])))
    if 400 <= reply.status < 500:
        return
    seen = outputs_of(reply)["seed"].ravel().tolist()
    require(seen == [LARGE[0]], f"the seed {LARGE[0]} or a refusal", seen)


def _drawn(target: Target) -> None:
    contract = target.seeded()
    tensors = target.tensors(None, rows=1)
    if not contract.conditions:
        tensors = [Tensor("draw", "UINT32", np.zeros((1, 1), dtype=np.uint32))]
    first, second = (_json(target, tensors) for _ in range(2))
    seed, other = int(first["seed"].ravel()[0]), int(second["seed"].ravel()[0])
    require(seed < 2**53 and seed != other, "two different seeds below 2^53", [seed, other])
    _equal(_json(target, target.tensors([seed])), first, "of the drawn seed when it is sent")


def _other_seed(target: Target) -> None:
    if not target.seeded().noise:
        raise NotOfferedError("the generator has no noise")
    first, second = (_json(target, target.tensors([seed])) for seed in (7, 8))
    different = any(not same_values(first[name], second[name]) for name in first if name != "seed")
    require(different, "other values with another seed", "the same")


def _draws(target: Target) -> None:
    target.seeded()
    plain = _json(target, target.tensors([7]))
    draw = [Tensor("draw", "UINT32", np.full((1, 1), number, dtype=np.uint32)) for number in (0, 1)]
    _equal(_json(target, [*target.tensors([7]), draw[0]]), plain, "of draw 0 as without one")
    if target.seeded().noise:
        other = _json(target, [*target.tensors([7]), draw[1]])
        different = any(not same_values(other[name], plain[name]) for name in plain if name != "seed")
        require(different, "other values with draw 1", "the same")


def _rows(target: Target) -> None:
    target.seeded()
    if target.max_batch < 2:
        raise NotOfferedError("the model takes one row at a time")
    count = min(target.max_batch, 4)
    seeds = [7 + row for row in range(count)]
    together = _binary(target, target.tensors(seeds))
    for row, seed in enumerate(seeds):
        alone = _binary(target, target.tensors([seed], first=row))
        _equal({name: values[row : row + 1] for name, values in together.items()}, alone, f"of row {row} as alone")


def _contract(target: Target) -> None:
    target.seeded()
    reply = target.server.ask(f"{target.path}/contract")
    if reply.status == 404:
        raise NotOfferedError("there is no /contract; the contract is in /config")
    require(reply.status == 200, "200", reply)
    Contract.from_json(reply.json["contract"])


def _who_answered(target: Target) -> None:
    target.seeded()
    plain = target.infer(json_request(target.tensors([7]))).json
    given = plain.get("parameters", {})
    if not given:
        raise NotOfferedError("the answer has no parameters")
    wanted = {"model_digest", "artifact", "runtime"}
    require(wanted <= set(given), f"the parameters {', '.join(sorted(wanted))}", given)
    require(bool(plain.get("model_version")), "a model_version", plain.get("model_version"))


def _image_model(target: Target) -> None:
    """NAME_png makes the pixels that NAME's values stand for, from bytes, base64 and a data URL."""
    contract = target.seeded()
    png = f"{target.model}_png"
    if target.server.ask(f"/v2/models/{png}/ready").status != 200:
        raise NotOfferedError(f"there is no model {png}")
    takes = (ImageEncoding, LabelEncoding)
    outputs = [output for output in contract.outputs if isinstance(output.encoding, ImageEncoding)]
    if not outputs or not all(isinstance(c.encoding, takes) for c in contract.conditions) or contract.sides:
        raise NotOfferedError("the check knows generators of images and labels of a fixed size")
    files, values = {}, []
    for condition in contract.conditions:
        files[condition.name] = file = _file(condition)
        value = encoder_of(condition).encode(file, condition)
        datatype = "INT64" if isinstance(condition.encoding, LabelEncoding) else "FP32"
        values.append(Tensor(condition.name, datatype, np.asarray(value).reshape(1, *(np.shape(value) or (1,)))))
    seed = Tensor("seed", "UINT64", np.array([[7]], dtype=np.uint64))
    made = _binary(target, [*values, seed])[outputs[0].name]
    if not np.isfinite(made).all():
        raise NotOfferedError("the generator gives values that are no finite numbers")
    assert isinstance(outputs[0].encoding, ImageEncoding)  # noqa: S101 - chosen above
    expected = bytes_from_tensors(made, outputs[0].encoding)[0]
    for way in (bytes, _base64, _data_url):
        inputs = [Tensor(_wire_name(contract, name), "BYTES", _cell(way(file))) for name, file in files.items()]
        reply = target.server.ask(f"/v2/models/{png}/infer", *_body([*inputs, seed]))
        found = outputs_of(reply)[outputs[0].name].ravel()[0]
        data = found if found.startswith(b"\x89PNG") else base64.b64decode(found)
        pixels = np.asarray(read_image(data)).reshape(expected.shape)
        require(same_values(pixels, expected), f"the pixels of {target.model}", f"others ({way.__name__})")


def _file(condition: Any) -> bytes:
    if isinstance(condition.encoding, LabelEncoding):
        return b"0"
    channels, height, width = condition.shape
    pixels = np.random.default_rng(7).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return png_bytes(pixels[:, :, 0] if channels == 1 else pixels)


def _wire_name(contract: Contract, name: str) -> str:
    from cgan_runtime.serving.wire import png_inputs

    return next(wire for wire, condition in png_inputs(contract).items() if condition.name == name)


def _cell(data: bytes) -> Array:
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = data
    return cell


def _body(tensors: list[Tensor]) -> tuple[bytes, dict[str, str]]:
    return binary_request(tensors, {t.name for t in tensors}, parameters={"binary_data_output": True})


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data) if data.startswith(b"\x89PNG") else data


def _data_url(data: bytes) -> bytes:
    return b"data:image/png;base64," + base64.b64encode(data) if data.startswith(b"\x89PNG") else data


LAW_CHECKS: Final = (
    Check("ours: the contract in one call", _contract),
    Check("ours: the seed comes back, in JSON", lambda t: _echo(_json, [7, 2**53 - 1], t)),
    Check("ours: a seed beyond 2^53 comes back, in binary", lambda t: _echo(_binary, LARGE, t)),
    Check("ours: a seed beyond 2^53 comes back, over gRPC", lambda t: _echo(_grpc, LARGE, t)),
    Check("ours: a seed beyond 2^53 as a string of digits, in JSON", _seed_as_text),
    Check("ours: a seed beyond 2^53 as a number is exact or refused", _large_number),
    Check("ours: a drawn seed makes its values again", _drawn),
    Check("ours: another seed makes other values", _other_seed),
    Check("ours: draw 0 is the values of the seed, draw 1 others", _draws),
    Check("ours: the same seed gives the same values in binary", lambda t: _same_over(_binary, t)),
    Check("ours: the same seed gives the same values over gRPC", lambda t: _same_over(_grpc, t)),
    Check("ours: the same seed gives the same values in a stream", lambda t: _same_over(_stream, t)),
    Check("ours: a row of a batch is the row alone", _rows),
    Check("ours: an answer names model digest, artifact, runtime and version", _who_answered),
    Check("ours: the image model makes the same image, from bytes, base64 and a data URL", _image_model),
)
