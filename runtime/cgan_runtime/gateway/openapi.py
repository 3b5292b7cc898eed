"""The HTTP side as an OpenAPI document, for the models that are served now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import cgan_runtime
from cgan_runtime.gateway.served import ServedModel
from cgan_runtime.serving.signature import ServedTensor

__all__ = ["openapi"]

DIGITS: Final = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"}
# Elements of `data` by datatype; whole numbers from 2**53 on are text.
ELEMENTS: Final[dict[str, Any]] = {
    "FP32": {"type": "number"},
    "INT64": {"type": "integer"},
    "UINT64": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**53 - 1}, DIGITS]},
    "UINT32": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**32 - 1}, DIGITS]},
    "BOOL": {"type": "boolean"},
    "BYTES": {"type": "string"},
}
ERROR: Final = {
    "description": "One sentence: what was given, what is needed, what to do.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    },
}
REFUSED: Final = ("400", "401", "404", "408", "413", "415", "500", "503")


def openapi(models: Iterable[ServedModel]) -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    paths: dict[str, Any] = {
        "/v2": {"get": _get("Name, version and extensions of the server")},
        "/v2/health/live": {"get": _get("The server runs", empty=True)},
        "/v2/health/ready": {"get": _get("Every model answers", empty=True)},
        "/v2/models/stats": {"get": _get("Statistics of every model")},
    }
    for model in models:
        path = f"/v2/models/{model.name}"
        paths[path] = {"get": _get("Inputs and outputs")}
        paths[f"{path}/ready"] = {"get": _get("The model answers", empty=True)}
        paths[f"{path}/contract"] = {"get": _get("Everything a client needs to know, in one object")}
        paths[f"{path}/config"] = {"get": _get("Triton's configuration")}
        paths[f"{path}/stats"] = {"get": _get("Triton's statistics")}
        paths[f"{path}/infer"] = {"post": _infer(model)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cgan-deploy",
            "version": cgan_runtime.__version__,
            "description": "Open Inference Protocol v2. The binary extension is not described here.",
        },
        "paths": paths,
    }


def _get(summary: str, *, empty: bool = False) -> dict[str, Any]:
    good: dict[str, Any] = {"description": summary}
    if not empty:
        good["content"] = {"application/json": {"schema": {"type": "object"}}}
    answers = {"200": good, **dict.fromkeys(("401", "404"), ERROR)}
    answers["503"] = {"description": "Not now."}
    return {"summary": summary, "responses": answers}


def _infer(model: ServedModel) -> dict[str, Any]:
    inputs = [_input(tensor, model.route.max_batch) for tensor in model.inputs.values()]
    schema = {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "maxLength": 256},
            "inputs": {"type": "array", "minItems": 1, "maxItems": len(inputs), "items": {"anyOf": inputs}},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": [output.name for output in model.outputs]}},
                },
            },
            "parameters": {"type": "object"},
        },
    }
    answer = {"description": "Every output that was asked for", "content": {"application/json": {"schema": {}}}}
    return {
        "summary": f"Infer with {model.name}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": answer, **dict.fromkeys(REFUSED, ERROR)},
    }


def _input(tensor: ServedTensor, max_batch: int) -> dict[str, Any]:
    axes = [{"const": axis} if isinstance(axis, int) else {"type": "integer"} for axis in tensor.wire_shape]
    rows = {"type": "integer", "minimum": 1, "maximum": max_batch}
    return {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": tensor.datatype},
            "shape": {"type": "array", "prefixItems": [rows, *axes], "minItems": len(axes) + 1, "items": False},
            "data": {"type": "array", "items": ELEMENTS[tensor.datatype]},
        },
    }
