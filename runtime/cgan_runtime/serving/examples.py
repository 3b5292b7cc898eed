"""The lines that cgan-serve prints once it serves: paste them and they work."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from math import prod
from typing import Any, Final, Protocol

from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, ImageEncoding, LabelEncoding
from cgan_runtime.encodings import decoder_of
from cgan_runtime.serving.repository import model_names
from cgan_runtime.serving.wire import image_outputs, png_inputs, travels_as_bytes

__all__ = ["Address", "Running", "call_lines", "command_line", "curl_line", "python_snippet", "ready_text"]

MAX_NUMBERS: Final = 16  # a longer vector would fill the screen
DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}

PYTHON = """import @IMPORTS@numpy as np, tritonclient.http as triton
client = triton.InferenceServerClient("@ADDRESS@"@TLS@)
arrays = {
    @ARRAYS@,
}
inputs = [triton.InferInput(name, list(array.shape), kind) for name, (kind, array) in arrays.items()]
for tensor, (_, array) in zip(inputs, arrays.values()):
    tensor.set_data_from_numpy(array)
answer = client.infer("@MODEL@", inputs@KEY@)
@RESULTS@"""

# An error's sentence is in the body, so it is shown; out.png is written only where there is an image.
CURL: Final = "curl -sS --fail-with-body --data-binary @-"
CURL_KEY: Final = """ -H "Authorization: Bearer $CGAN_API_KEY\""""
PYTHON_TLS: Final = ", ssl=True, ssl_context_factory=gevent.ssl.create_default_context"
PYTHON_KEY: Final = """, headers={"Authorization": f"Bearer {os.environ['CGAN_API_KEY']}"}"""
SAVE: Final = """&& printf %s "$answer" | grep -o 'iVBOR[^"]*' | base64 -d > out.png \\
  || { printf '%s\\n' "$answer" >&2; false; }"""


class Address(Protocol):
    """Where a server is, or will be."""

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""


class Running(Address, Protocol):
    """A server that is ready."""

    @property
    def models(self) -> tuple[str, ...]:
        """What it serves."""


def curl_line(server: Address, model: str, contract: Contract, *, key: bool = False) -> str | None:
    """A shell line that calls `<name>_png` with seed 7: in.png to out.png, or a class to out.png.

    An error of the server is printed, and the line's exit code is then not 0. None where a condition is a long
    tensor, which nobody types. With `key` the API key is sent that CGAN_API_KEY holds.
    """
    files = image_outputs(contract)
    items: list[dict[str, Any]] = [{"name": "seed", "datatype": "UINT64", "shape": [1, 1], "data": [7]}]
    names = _file_names(contract)
    for name, condition in png_inputs(contract).items():
        if (item := _json_input(name, condition, names)) is None:
            return None
        items.append(item)
    if files and not names:  # an image sent as base64 is answered so; without one the request asks for it
        items.insert(1, {"name": "base64", "datatype": "BOOL", "shape": [1, 1], "data": [True]})
    request: dict[str, Any] = {"inputs": items}
    if len(contract.outputs) > 1 and files:
        request["outputs"] = [{"name": files[0].name}]
    url = f"{server.http_url}/v2/models/{model}/infer"
    call = f"{_printed(request, list(names.values()))} \\\n  | {CURL}{CURL_KEY if key else ''} {url}"
    return f"answer=$( {call}) \\\n  {SAVE}" if files else call


def python_snippet(server: Address, model: str, contract: Contract, *, key: bool = False) -> str:
    """The same in Python, with tritonclient."""
    names = _file_names(contract)
    arrays = ['"seed": ("UINT64", np.array([[7]], dtype=np.uint64))']
    arrays += [_python_array(name, condition, names) for name, condition in png_inputs(contract).items()]
    files = image_outputs(contract)
    results = [f'open("out.png", "wb").write(answer.as_numpy("{files[0].name}")[0, 0])'] if files else []
    results += [f'print(answer.as_numpy("{output.name}"))' for output in contract.outputs if output not in files]
    scheme, _, address = server.http_url.partition("://")
    tls = scheme == "https"
    return (
        PYTHON.replace("@ADDRESS@", address)
        .replace("@IMPORTS@", f"{'gevent.ssl, ' if tls else ''}{'os, ' if key else ''}")
        .replace("@TLS@", PYTHON_TLS if tls else "")
        .replace("@KEY@", PYTHON_KEY if key else "")
        .replace("@ARRAYS@", ",\n    ".join(arrays))
        .replace("@MODEL@", model)
        .replace("@RESULTS@", "\n".join(results))
    )


def command_line(server: Address, name: str, contract: Contract) -> str:
    """The same with cgan-translate or cgan-generate, which read CGAN_API_KEY themselves."""
    words, image = [], contract.image_condition
    for condition in contract.conditions:
        if condition is not image:
            option = condition.name.replace("_", "-")
            words.append(f"--{option} {shlex.quote(_command_value(condition))}")
    command = "cgan-generate" if image is None else "cgan-translate in.png"
    suffixes = [decoder_of(output).suffix for output in contract.outputs]
    files = [suffix for suffix in suffixes if suffix]
    target = "" if not files else f" -o out{files[0]}" if len(files) == 1 else " -o out"
    url = f"{'grpcs' if server.http_url.startswith('https:') else 'grpc'}://{server.grpc_url}"
    return f"{' '.join([command, *words])} --seed 7{target} \\\n      --url {url} --model {name}"


def ready_text(server: Running, bundles: Sequence[Bundle], *, key: bool = False) -> str:
    """What serves where, and how to call it; with `key`, the API key of CGAN_API_KEY is sent."""
    lines = [f"ready: {', '.join(server.models)}", f"  HTTP {server.http_url}   gRPC {server.grpc_url}"]
    return "\n".join([*lines, call_lines(server, bundles, key=key)])


def call_lines(server: Address, bundles: Sequence[Bundle], *, key: bool = False) -> str:
    """How to call the models of each bundle; `key` as in `ready_text`."""
    lines: list[str] = []
    for bundle in bundles:
        name, contract = bundle.manifest.name, bundle.manifest.contract
        model = f"{name}_png"
        if model in model_names(bundle):
            if (curl := curl_line(server, model, contract, key=key)) is not None:
                lines += ["", f"with curl ({name}):", curl, "", "or in Python:"]
            else:
                lines += ["", f"in Python ({name}):"]
            lines += [python_snippet(server, model, contract, key=key)]
        lines += ["", f"or: {command_line(server, name, contract)}"]
    return "\n".join(lines)


def _file_names(contract: Contract) -> dict[str, str]:
    """Name on the wire of every image condition -> the file the examples read: in.png, else NAME.png."""
    images = [name for name, c in png_inputs(contract).items() if isinstance(c.encoding, ImageEncoding)]
    return {name: "in.png" if index == 0 else f"{name}.png" for index, name in enumerate(images)}


def _json_input(name: str, condition: Condition, files: dict[str, str]) -> dict[str, Any] | None:
    if travels_as_bytes(condition):
        value = _marker(files[name]) if name in files else _command_value(condition)
        return {"name": name, "datatype": "BYTES", "shape": [1, 1], "data": [value]}
    shape = [axis for axis in condition.shape if isinstance(axis, int)]
    if len(shape) < len(condition.shape) or prod(shape) > MAX_NUMBERS:
        return None
    kind = DATATYPES[condition.dtype]
    return {"name": name, "datatype": kind, "shape": [1, *(shape or [1])], "data": [0] * prod(shape)}


def _python_array(name: str, condition: Condition, files: dict[str, str]) -> str:
    if name in files:
        return f'"{name}": ("BYTES", np.array([[open("{files[name]}", "rb").read()]], dtype=object))'
    if travels_as_bytes(condition):
        return f'"{name}": ("BYTES", np.array([[{_command_value(condition)!r}]], dtype=object))'
    shape = tuple(axis if isinstance(axis, int) else 256 for axis in condition.shape) or (1,)
    return f'"{name}": ("{DATATYPES[condition.dtype]}", np.zeros({(1, *shape)}, dtype=np.{condition.dtype}))'


def _command_value(condition: Condition) -> str:
    """An example of what the command takes: a class, or a file."""
    if isinstance(condition.encoding, LabelEncoding):
        return condition.encoding.names[0] if condition.encoding.names else "0"
    return f"{condition.name}{'.png' if isinstance(condition.encoding, ImageEncoding) else '.npy'}"


def _printed(request: dict[str, Any], files: list[str]) -> str:
    """Shell words that print the request, the files in it as base64.

    A shell argument may have 128 KiB at most, less than many images, so the request goes through a pipe.
    """
    rest, words = json.dumps(request, separators=(",", ":"), ensure_ascii=False), []
    for file in files:
        before, rest = rest.split(_marker(file), 1)
        words += [f"printf {_quoted(before)}", f"base64 < {file} | tr -d '\\n'"]  # macOS has no -w0
    return f"({'; '.join([*words, f'printf {_quoted(rest)}'])})"


def _marker(file: str) -> str:
    return f"<base64 of {file}>"


def _quoted(text: str) -> str:
    """The text as a format string for printf, in single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("%", "%%").replace("'", "'\\''") + "'"
