"""The server that is asked, and a model of it: found by the address alone."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from cgan_runtime.access import grpc_credentials, key_refused, quiet_grpc, tls_context, unreachable
from cgan_runtime.address import Address
from cgan_runtime.conformance.checking import NotOfferedError
from cgan_runtime.conformance.messages import Reply, Tensor
from cgan_runtime.contract import Condition, Contract
from cgan_runtime.errors import ServerError, UsageError

__all__ = ["Server", "Target", "find_target"]

TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Server:
    """Addresses, and requests as they are.

    Attributes:
        address: of HTTP.
        grpc: HOST:PORT, with TLS where HTTP has it.
        authorization: the header with the key, in small letters as gRPC's metadata have them; empty for none.
    """

    address: Address
    grpc: str
    authorization: dict[str, str] = field(default_factory=dict, repr=False)

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None
    ) -> Reply:
        """The answer, whatever its status.

        Raises:
            ServerError: no answer.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=sent, method=method)  # noqa: S310 - the user's own address, http or https by address_of
        for name, value in self.authorization.items():
            request.add_unredirected_header(name, value)  # the key is for this server alone
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context) as answer:  # noqa: S310 - the same
                return _reply(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error)
        except (OSError, ValueError) as error:
            raise ServerError(unreachable(self.address, error)) from error

    @property
    def url(self) -> str:
        """Of HTTP, without a slash at the end."""
        return self.address.url

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        return tls_context() if self.address.is_tls else None

    @cached_property
    def stub(self) -> Any:
        """The gRPC calls. Their metadata is `metadata`."""
        if self.address.is_tls:
            quiet_grpc()
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        if self.address.is_tls:
            channel = grpc.secure_channel(self.grpc, grpc_credentials(), options=options)
        else:
            channel = grpc.insecure_channel(self.grpc, options=options)
        return service_pb2_grpc.GRPCInferenceServiceStub(channel)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The same header for gRPC."""
        return tuple(self.authorization.items())


@dataclass(frozen=True)
class Target:
    """A model of the server, as its metadata and its contract describe it.

    Attributes:
        server: which.
        model: name of the model.
        inputs: name -> datatype and shape with -1 for free axes, as the metadata gives them.
        outputs: likewise.
        contract: of the generator; None where the server tells none, or the inputs are not conditions and a seed.
        max_batch: rows of one request.
    """

    server: Server
    model: str
    inputs: dict[str, tuple[str, list[int]]]
    outputs: dict[str, tuple[str, list[int]]]
    contract: Contract | None
    max_batch: int = 1
    extensions: frozenset[str] = field(default=frozenset())

    @property
    def path(self) -> str:
        """Of the model."""
        return f"/v2/models/{self.model}"

    def infer(self, body: Any, headers: dict[str, str] | None = None) -> Reply:
        """The answer to a request: a value that becomes JSON, or bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.server.ask(f"{self.path}/infer", data, headers)

    def tensors(self, seeds: list[int] | None, first: int = 0, rows: int | None = None) -> list[Tensor]:
        """Inputs of one request: row i is the same whenever `first` + i is.

        Args:
            seeds: one a row; None to send none.
            first: number of the first row.
            rows: how many where there are no seeds.
        """
        count = rows if seeds is None else len(seeds)
        numbers = range(first, first + (count or 1))
        if self.contract is None:
            made = [
                Tensor(name, kind, _zeros(kind, [abs(axis) for axis in shape]))
                for name, (kind, shape) in self.inputs.items()
            ]
        else:
            made = [_condition(c, self.contract, numbers) for c in self.contract.conditions]
        if seeds is not None and self.contract is not None:
            made.append(Tensor("seed", "UINT64", np.array(seeds, dtype=np.uint64)[:, None]))
        return made

    def seeded(self) -> Contract:
        """The contract of a model that takes a seed.

        Raises:
            NotOfferedError: it has none, or takes none.
        """
        if self.contract is None:
            raise NotOfferedError(f"model {self.model} has no contract with a seed")
        return self.contract


def find_target(server: Server, model: str | None) -> Target:
    """The model of that name, or the first one with a contract and a seed, else the first one.

    Raises:
        ServerError: no answer, no model of that name, or the key is missing or another one.
        UsageError: the server does not tell its models, or the model is one of files.
    """
    if server.ask("/v2").status == 401:
        raise ServerError(key_refused(server.url, had_key=bool(server.authorization)))
    listed = [model] if model else _names(server)
    if not listed:
        raise UsageError(f"{server.url} does not tell which models it has; name one with --model.")
    targets = [_target(server, name) for name in listed]
    chosen = next((t for t in targets if t.contract is not None), targets[0])
    if (
        chosen.contract is None
        and "seed" in chosen.inputs
        and "BYTES" in {kind for kind, _ in chosen.inputs.values()}
    ):
        raise UsageError(f"model {chosen.model} takes files; name the model of tensors, which checks this one too.")
    return chosen


def _names(server: Server) -> list[str]:
    """From the statistics or the repository index, which are Triton's, or openapi.json, which is the gateway's."""
    statistics = server.ask("/v2/models/stats")
    if statistics.status == 200 and "model_stats" in statistics.json:
        return sorted({str(item["name"]) for item in statistics.json["model_stats"]})
    index = server.ask("/v2/repository/index", b"{}", method="POST")
    if index.status == 200:
        return sorted({str(item["name"]) for item in index.json if item.get("state", "READY") == "READY"})
    api = server.ask("/openapi.json")
    paths = api.json.get("paths", {}) if api.status == 200 else {}
    words = (path.split("/") for path in paths)
    return sorted({w[3] for w in words if w[1:3] == ["v2", "models"] and w[-1] == "infer" and "{" not in w[3]})


def _target(server: Server, model: str) -> Target:
    described = server.ask(f"/v2/models/{model}")
    if described.status != 200:
        raise ServerError(f"{server.url} has no model {model}: it answers {described}.")
    tensors = [
        {item["name"]: (item["datatype"], item["shape"]) for item in described.json[kind]}
        for kind in ("inputs", "outputs")
    ]
    contract, config = server.ask(f"/v2/models/{model}/contract"), server.ask(f"/v2/models/{model}/config")
    settings = config.json if config.status == 200 else {}
    found = contract.json["contract"] if contract.status == 200 else None
    if found is None and "contract" in settings.get("parameters", {}):
        found = json.loads(settings["parameters"]["contract"]["string_value"])
    contract_fits = "seed" in tensors[0] and "BYTES" not in {kind for kind, _ in tensors[0].values()}
    return Target(
        server=server,
        model=model,
        inputs=tensors[0],
        outputs=tensors[1],
        contract=Contract.from_json(found) if found is not None and contract_fits else None,
        max_batch=int(settings.get("max_batch_size", 1)) or 1,
        extensions=frozenset(server.ask("/v2").json.get("extensions", ())),
    )


def _condition(condition: Condition, contract: Contract, numbers: range) -> Tensor:
    """Rows that differ from each other, in the range of the condition."""
    if condition.dtype == "int64":
        classes = (condition.last_class or 0) + 1
        return Tensor(condition.name, "INT64", np.array([[n % classes] for n in numbers], dtype=np.int64))
    smallest = contract.sides.min if contract.sides is not None else 1
    shape = [axis if isinstance(axis, int) else smallest for axis in condition.shape] or [1]
    low, high = condition.range or (-1.0, 1.0)
    rows = [np.random.default_rng(n).uniform(low, high, shape).astype(np.float32) for n in numbers]
    return Tensor(condition.name, "FP32", np.clip(np.stack(rows), np.float32(low), np.float32(high)))


def _zeros(datatype: str, shape: list[int]) -> Any:
    from tritonclient.utils import triton_to_np_dtype

    if datatype == "BYTES":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, dtype=triton_to_np_dtype(datatype))


def _reply(answer: Any) -> Reply:
    return Reply(answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read())
