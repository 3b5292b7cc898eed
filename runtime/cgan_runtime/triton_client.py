"""A server that speaks the Open Inference Protocol, over HTTP or gRPC, behind one small client.

`TritonGenerator` is a `SeededModel`: conditions and seeds go to model `<name>`, so the server fills the noise.
`TritonRunner` is a `Runner`: conditions and noise go to `<name>_core`, so the server only executes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final, final

import numpy as np

from cgan_runtime.access import grpc_credentials, headers_for, key_refused, quiet_grpc, trusted_file, unreachable
from cgan_runtime.address import Address, address_of
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError, ServerError, UsageError
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.serving.wire import OUR_SENTENCE, artifact_of

__all__ = ["TritonClient", "TritonGenerator", "TritonRunner"]

DATATYPES: Final = {
    "float32": "FP32",
    "int64": "INT64",
    "uint64": "UINT64",
    "uint32": "UINT32",
    "bool": "BOOL",
    "object": "BYTES",
}
TIMEOUT_SECONDS: Final = 60.0
# How gRPC itself, and no server, says UNAVAILABLE.
_NO_CONNECTION: Final = re.compile("connect|socket|GOAWAY|DNS", re.IGNORECASE)


@final
class TritonClient:
    """One connection. HTTP clients must stay in the thread that made them; gRPC ones need not.

    Args:
        url: ``http://HOST:PORT`` or ``grpc://HOST:PORT``; ``https://`` or ``grpcs://`` with TLS, where
            SSL_CERT_FILE may name the certificates to trust.
        key: the API key; that of the environment variable CGAN_API_KEY by default.

    Raises:
        UsageError: another form of URL, a key that no header can hold, or SSL_CERT_FILE without a certificate.
        CganError: tritonclient is not installed.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self._address = address = address_of(url)
        self.url = address.url
        self._headers = headers_for(address, key)
        self._library = _import_tritonclient(address)
        self._closed: type[Exception] | tuple[()] = ()
        if address.is_grpc:
            credentials = grpc_credentials() if address.is_tls else None
            self._client = self._library.InferenceServerClient(address.authority, creds=credentials)
        else:
            from geventhttpclient.response import HTTPParseError

            self._closed = HTTPParseError
            # Made first: what the library's constructor raises is followed by a traceback of its destructor.
            context = _gevent_context() if address.is_tls else None
            # Both time-outs: the library's default of 60 s for the connection would be a long wait for a typo.
            self._client = self._library.InferenceServerClient(
                address.authority,
                connection_timeout=10.0,
                network_timeout=TIMEOUT_SECONDS,
                ssl=address.is_tls,
                ssl_context_factory=lambda **_: context,
            )

    def settings(self, model: str) -> dict[str, str]:
        """What cgan-serve wrote into the model's configuration: contract, name, digests of model and bundle, ...

        Raises:
            ServerError: unreachable, no such model, or a model that cgan-serve did not write.
        """
        config = self._call("get_model_config", model)
        if self._address.is_grpc:
            found = {key: value.string_value for key, value in config.config.parameters.items()}
        else:
            found = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        if "contract" not in found:
            raise ServerError(f"model {model} at {self.url} carries no contract; was it written by cgan-serve?")
        return found

    def contract(self, model: str) -> Contract:
        """The contract that the served model carries.

        Raises:
            ServerError: as `settings`, or a contract of another version.
        """
        try:
            return Contract.model_validate_json(self.settings(model)["contract"])
        except ValueError as error:
            raise ServerError(
                f"model {model} at {self.url} has a contract that this release cannot read."
            ) from error

    def infer(self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Named outputs of one request.

        Raises:
            UsageError: an array of a dtype that no model takes.
            ServerError: unreachable, timed out, or refused; the message says which and why.
        """
        sent = []
        for name, value in inputs.items():
            if str(value.dtype) not in DATATYPES:
                raise UsageError(f"{name} is {value.dtype}; one of {', '.join(DATATYPES)} is needed.")
            item = self._library.InferInput(name, list(value.shape), DATATYPES[str(value.dtype)])
            item.set_data_from_numpy(np.ascontiguousarray(value))
            sent.append(item)
        wanted = [self._library.InferRequestedOutput(name) for name in outputs]
        answer = self._call("infer", model, sent, outputs=wanted)
        return {name: answer.as_numpy(name) for name in outputs}

    def close(self) -> None:
        """Close the connection: an idle HTTP connection would delay the server's draining."""
        self._client.close()

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._address.is_grpc:
            options["client_timeout"] = TIMEOUT_SECONDS
        try:
            return getattr(self._client, method)(*arguments, headers=self._headers, **options)
        except OSError as error:  # HTTP: refused, timed out, name not found, a certificate that does not fit
            raise ServerError(unreachable(self._address, error)) from error
        except self._closed as error:  # HTTP: the connection ended, or what came is no HTTP
            raise ServerError(
                f"{self.url} did not answer in HTTP ({error}); does the port speak gRPC or https://, "
                "or did the server end?"
            ) from error
        except self._library.InferenceServerException as error:
            text = " ".join((error.message() or "no message").split()).removeprefix(OUR_SENTENCE)
            status = error.status() or ""
            if "UNAUTHENTICATED" in status or status == "401":
                raise ServerError(key_refused(self.url, had_key=bool(self._headers))) from error
            if "DEADLINE" in status or ("UNAVAILABLE" in status and _NO_CONNECTION.search(text)):
                raise ServerError(unreachable(self._address, text)) from error
            if "UNAVAILABLE" in status or "503" in status:
                raise ServerError(f"{self.url} cannot answer now: {text[:400]}") from error
            raise ServerError(f"{self.url} refused: {text[:400]}") from error


@final
class TritonGenerator:
    """A served model as conditions and seeds to outputs."""

    def __init__(self, client: TritonClient, model: str) -> None:
        self.client, self.model = client, model
        self._contract = client.contract(model)
        settings = client.settings(model)
        self.digest = settings.get("model_digest", "")
        self.artifact = artifact_of(settings)
        self.runtime = settings.get("runtime")

    @property
    def contract(self) -> Contract:
        """The signature, as the server tells it."""
        return self._contract

    def generate(self, conditions: Tensors, seeds: Sequence[int], draws: Sequence[int]) -> dict[str, Array]:
        """Row i of every output [N, ...] from row i of every condition, seeds[i] and draws[i]."""
        inputs = {c.name: _on_the_wire(conditions[c.name]) for c in self._contract.conditions}
        inputs["seed"] = np.array(seeds, dtype=np.uint64).reshape(-1, 1)
        if any(draws):  # left out where it says nothing: any server that follows the contract answers
            inputs["draw"] = np.array(draws, dtype=np.uint32).reshape(-1, 1)
        return _outputs(self.client, self.model, inputs, self._contract)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


@final
class TritonRunner(Runner):
    """The served engine, `<name>_core`, with the noise sent along."""

    def __init__(self, client: TritonClient, model: str) -> None:
        super().__init__(client.contract(model))
        self._client, self._model = client, model

    @property
    def description(self) -> str:
        """The address of the server, in words."""
        return f"Triton {self._client.url}"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        sent = {name: _on_the_wire(value) for name, value in inputs.items()}
        return _outputs(self._client, self._model, sent, self.contract)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _outputs(client: TritonClient, model: str, inputs: Mapping[str, Array], contract: Contract) -> dict[str, Array]:
    """Every output of one request, in the contract's form: a scalar per row is [N, 1] on the wire and [N] here."""
    answers = client.infer(model, inputs, [output.name for output in contract.outputs])
    scalars = {output.name for output in contract.outputs if output.shape == ()}
    return {name: value.reshape(len(value)) if name in scalars else value for name, value in answers.items()}


def _on_the_wire(value: Array) -> Array:
    """A scalar per row travels as [N, 1]."""
    return value.reshape(-1, 1) if value.ndim == 1 else value


def _gevent_context() -> Any:
    """Trust as `tls_context` does, in the class that the HTTP library needs, and not the library's own list."""
    import gevent.ssl

    return gevent.ssl.create_default_context(cafile=trusted_file())


def _import_tritonclient(address: Address) -> ModuleType:
    try:
        if address.is_grpc:
            if address.is_tls:
                quiet_grpc()
            import tritonclient.grpc as library
        else:
            import tritonclient.http as library
    except ImportError as error:
        raise CganError('tritonclient is not installed; run: pip install "cgan-deploy[serve]"') from error
    return library  # type: ignore[no-any-return] # the package ships no types
