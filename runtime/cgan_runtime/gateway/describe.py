"""What is said of the server and its models: metadata, contract, configuration, statistics."""

from __future__ import annotations

from typing import Any, Final

import cgan_runtime
from cgan_runtime.gateway.served import ServedModel
from cgan_runtime.gateway.settings import Limits
from cgan_runtime.serving.signature import ServedTensor

__all__ = [
    "EXTENSIONS",
    "contract_of",
    "metadata_of",
    "public_config",
    "public_statistics",
    "server_metadata",
]

# The protocol's extensions that the gateway offers.
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "parameters", "statistics")
NAME: Final = "cgan-deploy"


def server_metadata() -> dict[str, Any]:
    """Of the server."""
    return {"name": NAME, "version": cgan_runtime.__version__, "extensions": list(EXTENSIONS)}


def metadata_of(model: ServedModel) -> dict[str, Any]:
    """Of a model, as the protocol has it; a free axis is -1."""
    return {
        "name": model.name,
        "versions": [str(model.route.version)],
        "platform": "python",
        "inputs": [_tensor(tensor) for tensor in model.inputs.values()],
        "outputs": [_tensor(tensor) for tensor in model.outputs],
    }


def contract_of(model: ServedModel, limits: Limits) -> dict[str, Any]:
    """All that a client needs to know of a model, in one object."""
    route = model.route
    return {
        "name": model.name,
        "version": str(route.version),
        **model.made_by,
        "bundle_digest": route.bundle_digest,
        "inputs": [{**_tensor(t), "optional": t.optional, **_values_of(t, model)} for t in model.inputs.values()],
        "outputs": [_tensor(tensor) for tensor in model.outputs],
        "limits": {"rows": route.max_batch, **limits.model_dump(mode="json")},
        "contract": route.contract.to_json(),
    }


def public_config(answer: Any, model: ServedModel) -> Any:
    """Triton's configuration of a model under its public name, with what executes it among the parameters."""
    answer.config.name = model.name
    answer.config.parameters["runtime"].string_value = model.route.runtime
    return answer


def public_statistics(answer: Any, model: ServedModel) -> Any:
    """Triton's statistics of a model under its public name and version."""
    for item in answer.model_stats:
        item.name, item.version = model.name, str(model.route.version)
    return answer


def _tensor(tensor: ServedTensor) -> dict[str, Any]:
    axes = [axis if isinstance(axis, int) else -1 for axis in tensor.wire_shape]
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [-1, *axes]}


def _values_of(tensor: ServedTensor, model: ServedModel) -> dict[str, Any]:
    """What the values of an input mean: the condition of the contract that it is, or the noise."""
    if tensor.condition is not None:
        return {"condition": tensor.condition.name}
    noise = {item.name: item.index for item in model.route.contract.noise}
    return {"noise": noise[tensor.name]} if tensor.name in noise else {}
