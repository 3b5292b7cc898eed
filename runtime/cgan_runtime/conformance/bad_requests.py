"""Requests over HTTP that are wrong, one by one: each is a 4xx with `{"error": "..."}`, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from cgan_runtime.conformance.checking import Check, NotOfferedError, require
from cgan_runtime.conformance.messages import json_request
from cgan_runtime.conformance.target import Target

__all__ = ["BAD_REQUEST_CHECKS"]

Body = dict[str, Any]


def _check(title: str, spoil: Callable[[Body, Target], Any]) -> Check:
    """A check that a good request, spoilt by `spoil`, is refused; it returns the body or changes it."""

    def ask(target: Target) -> None:
        good = json_request(target.tensors([7]))
        body = json.loads(json.dumps(good))
        spoilt = spoil(body, target)
        reply = target.infer(body if spoilt is None else spoilt)
        require(400 <= reply.status < 500, "a status from 400 to 499", reply)
        said = reply.json.get("error")
        require(isinstance(said, str) and bool(said), 'a body {"error": "..."}', reply)

    return Check(f"http: {title} is a 4xx", ask)


def _set(body: Body, key: str, value: Any) -> None:
    body["inputs"][-1][key] = value


def _too_many_rows(_: Body, target: Target) -> Body:
    if target.contract is None:
        raise NotOfferedError("without a contract no request of many rows can be made")
    return json_request(target.tensors([7] * (target.max_batch + 1)))


def _method(target: Target) -> None:
    reply = target.server.ask(f"{target.path}/infer", method="GET")
    require(400 <= reply.status < 500, "a status from 400 to 499", reply)


def _good_again(target: Target) -> None:
    """The same bytes before and after every bad request of this file."""
    good = json_request(target.tensors([7]))
    before = target.infer(good)
    require(before.status == 200, "200", before)
    for check in BAD_REQUEST_CHECKS[:-1]:
        try:
            check.ask(target)
        except Exception:  # noqa: BLE001, S112 - whether it was refused well is the check's own line
            continue
    after = target.infer(good)
    require(after.body == before.body, "the same answer as before the bad requests", after)


BAD_REQUEST_CHECKS: Final = (
    _check("no JSON", lambda *_: b"{"),
    _check("JSON that is no object", lambda *_: b"[]"),
    _check("a body of nothing", lambda *_: b""),
    _check("a request without inputs", lambda *_: {}),
    _check("an empty list of inputs", lambda body, _: body.update(inputs=[])),
    _check("an input that the model does not have", lambda body, _: _set(body, "name", "no-such-input")),
    _check("an input twice", lambda body, _: body["inputs"].append(body["inputs"][-1])),
    _check("an input without a name", lambda body, _: body["inputs"][-1].pop("name") and None),
    _check("another datatype", lambda body, _: _set(body, "datatype", "FP64")),
    _check("a datatype that does not exist", lambda body, _: _set(body, "datatype", "FP7")),
    _check("a shape of too few axes", lambda body, _: _set(body, "shape", [1])),
    _check("a negative axis", lambda body, _: _set(body, "shape", [-1, 1])),
    _check("more values than the shape has", lambda body, _: body["inputs"][-1]["data"].append(0)),
    _check("fewer values than the shape has", lambda body, _: _set(body, "data", [])),
    _check("a text where a number is needed", lambda body, _: _set(body, "data", ["seven"])),
    _check("an output that the model does not have", lambda b, _: b.update(outputs=[{"name": "no-such-output"}])),
    _check("an id that is no text", lambda body, _: body.update(id=7)),
    _check("more rows than the model takes", _too_many_rows),
    Check("http: GET of infer is a 4xx", _method),
    Check("http: after bad requests a good one has the same answer", _good_again),
)
