"""The lines that cgan-serve prints once it serves: paste them and they work."""

from __future__ import annotations

from cgan_runtime.bundle import Bundle
from cgan_runtime.serving.repository import model_names
from cgan_runtime.serving.server import TritonServer

__all__ = ["curl_line", "python_snippet", "ready_text"]

# A shell argument may have 128 KiB at most, less than many pictures, so the request goes through a pipe.
CURL = r"""(printf '{"inputs":[{"name":"seed","datatype":"UINT64","shape":[1,1],"data":[7]},{"name":"image","datatype":"BYTES","shape":[1,1],"data":["'; base64 -w0 in.png; printf '"]}]}') \
  | curl -s --data-binary @- @URL@/v2/models/@MODEL@/infer | grep -o 'iVBOR[^"]*' | base64 -d > out.png"""  # noqa: E501

PYTHON = """import numpy as np, tritonclient.http as triton
client = triton.InferenceServerClient("@ADDRESS@")
image = triton.InferInput("image", [1, 1], "BYTES")
image.set_data_from_numpy(np.array([[open("in.png", "rb").read()]], dtype=object))
seed = triton.InferInput("seed", [1, 1], "UINT64")
seed.set_data_from_numpy(np.array([[7]], dtype=np.uint64))
open("out.png", "wb").write(client.infer("@MODEL@", [image, seed]).as_numpy("@OUTPUT@")[0, 0])"""


def curl_line(server: TritonServer, model: str) -> str:
    """A shell line that turns in.png into out.png with seed 7."""
    return CURL.replace("@URL@", server.http_url).replace("@MODEL@", model)


def python_snippet(server: TritonServer, model: str, output: str) -> str:
    """The same in Python, with tritonclient."""
    address = server.http_url.removeprefix("http://")
    return PYTHON.replace("@ADDRESS@", address).replace("@MODEL@", model).replace("@OUTPUT@", output)


def ready_text(server: TritonServer, bundles: list[Bundle]) -> str:
    """What serves where, and how to call it."""
    lines = [f"ready: {', '.join(server.models)}", f"  HTTP {server.http_url}   gRPC {server.grpc_url}"]
    for bundle in bundles:
        model, output = f"{bundle.manifest.name}_png", bundle.manifest.contract.image_output
        if model in model_names(bundle) and output is not None:
            lines += ["", f"a picture with curl ({bundle.manifest.name}):", curl_line(server, model)]
            lines += ["", "or in Python:", python_snippet(server, model, output.name)]
            lines += ["", "or: cgan-translate in.png --seed 7 -o out.png \\"]
            lines += [f"      --url grpc://{server.grpc_url} --model {bundle.manifest.name}"]
    return "\n".join(lines)
