"""The repository for NVIDIA's container on a real Triton: all of it but the plan, in whose place ONNX Runtime runs.

The core's configuration is the one that was written, with its types, batches and warm-up; what executes it is a
dozen lines that know nothing of us. Everything else is as the container would find it.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.images import read_image
from cgan_runtime.manifest import Batch, Profile
from cgan_runtime.serving import server as server_module
from cgan_runtime.serving.environment import ServerEnvironment
from cgan_runtime.serving.gpu_core import gpu_core
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.repository import write_models
from cgan_runtime.serving.server import ServerOptions, TritonServer
from cgan_runtime.triton_client import TritonClient, TritonGenerator
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from tests.export.engines import KINDS, graph_of, translator
from tests.helpers import free_ports, png, smooth_images
from tests.runtime.plans import bundle_with_plans, plan

CORE = """
import pathlib, time
import numpy as np, onnxruntime as ort
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        folder = pathlib.Path(args["model_repository"], args["model_version"])
        self.session = ort.InferenceSession(str(folder / "model.onnx"), options)

    def execute(self, requests):
        time.sleep(0.02)  # what comes meanwhile is batched
        answers = []
        for request in requests:
            inputs = [item.name for item in self.session.get_inputs()]
            names = [item.name for item in self.session.get_outputs()]
            feed = {name: pb.get_input_tensor_by_name(request, name).as_numpy() for name in inputs}
            outputs = zip(names, self.session.run(names, feed))
            answers.append(pb.InferenceResponse([pb.Tensor(n, np.ascontiguousarray(v)) for n, v in outputs]))
        return answers
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two images, a label and a code; four outputs; FP16 tensors."""
    model, contract = graph_of(KINDS["every kind of tensor"](), io="fp16")
    return bundle_with_plans(
        tmp_path_factory.mktemp("mixed"), contract, {"a.plan": plan()}, name="mixed", model=model
    )


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A U-Net with dropout masks, for images of any size; FP16 tensors."""
    model, contract = graph_of(translator(norm="instance"), io="fp16", free=True)
    sides = {"min": (64, 64), "opt": (64, 128), "max": (256, 256)}
    profiles = (Profile(batch=Batch(min=1, opt=2, max=4), **sides),)
    one = plan(profiles=profiles)
    return bundle_with_plans(tmp_path_factory.mktemp("free"), contract, {"a.plan": one}, name="free", model=model)


def write_for_the_container(root: Path, bundle: Bundle, options: object) -> tuple[str, ...]:
    """The repository, with ONNX Runtime in the plan's place."""
    del options
    names = write_models(root, bundle, gpu_core(bundle, GpuOptions()))
    path = root / names[0] / "config.pbtxt"
    config = text_format.Parse(path.read_text(), proto.ModelConfig())
    for field in ("platform", "default_model_filename", "cc_model_filenames", "instance_group"):
        config.ClearField(field)
    config.backend = "python"
    config.instance_group.add(kind=proto.ModelInstanceGroup.KIND_CPU, count=1)
    path.write_text(text_format.MessageToString(config))
    version = root / names[0] / "1"
    (version / "a.plan").unlink()
    (version / "model.onnx").write_bytes(bundle.read("model.fp16.onnx"))
    (version / "model.py").write_text(CORE)
    return names


@pytest.fixture(scope="module")
def running(mixed: Bundle, free: Bundle, server_environment: ServerEnvironment) -> Iterator[TritonServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "write_repository", write_for_the_container)
        options = ServerOptions(ports=free_ports(), drain_seconds=2)
        with TritonServer([mixed, free], server_environment, options) as server:
            yield server


@pytest.fixture(scope="module")
def client(running: TritonServer) -> Iterator[TritonClient]:
    made = TritonClient(f"grpc://{running.grpc_url}")
    yield made
    made.close()


def conditions(bundle: Bundle, rows: int, **sizes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    made = {}
    for tensor in bundle.manifest.contract.conditions:
        shape = (rows, *(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.shape))
        made[tensor.name] = (
            rng.uniform(-1, 1, shape).astype(np.float32)
            if tensor.dtype == "float32"
            else rng.integers(0, 10, shape)
        )
    return made


def statistics(server: TritonServer, model: str) -> tuple[int, int]:
    """Rows that a model answered, and how often it was executed for them."""
    with urllib.request.urlopen(f"{server.http_url}/v2/models/{model}/stats", timeout=60) as reply:
        (found,) = json.loads(reply.read())["model_stats"]
    return found["inference_count"], found["execution_count"]


def assert_equal(made: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(made) == list(wanted)
    for name, value in wanted.items():
        assert made[name].dtype == value.dtype
        np.testing.assert_array_equal(made[name], value)


def test_the_warm_up_ran_for_every_batch_that_is_served(running: TritonServer) -> None:
    for name, batches in (("mixed_core", {1, 8}), ("free_core", {1, 2})):
        with urllib.request.urlopen(f"{running.http_url}/v2/models/{name}/stats", timeout=60) as reply:
            (found,) = json.loads(reply.read())["model_stats"]
        assert batches <= {int(entry["batch_size"]) for entry in found["batch_stats"]}, found


@pytest.mark.parametrize("rows", [1, 3])
def test_every_output_is_that_of_the_engine_in_this_process(client: TritonClient, mixed: Bundle, rows: int) -> None:
    given, seeds, draws = conditions(mixed, rows), [7, 2**64 - 1, 0][:rows], [0, 3, 1][:rows]
    made = TritonGenerator(client, "mixed").generate(given, seeds, draws)
    assert_equal(made, mixed.generator(precision="fp16", threads=1).generate(given, seeds, draws))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 64), (64, 192)])
def test_a_seed_gives_its_image_at_any_size(client: TritonClient, free: Bundle, height: int, width: int) -> None:
    given = conditions(free, 2, h=height, w=width)
    made = TritonGenerator(client, "free").generate(given, [7, 8], [0, 0])
    assert_equal(made, free.generator(precision="fp16", threads=1).generate(given, [7, 8], [0, 0]))
    assert not np.array_equal(
        made["picture"][0], TritonGenerator(client, "free").generate(given, [9, 8], [0, 0])["picture"][0]
    )


@pytest.mark.parametrize(("height", "width"), [(320, 64), (64, 320)])
def test_a_size_that_the_plan_was_not_built_for_is_a_bad_request(
    running: TritonServer, free: Bundle, height: int, width: int
) -> None:
    """The contract allows it, the profiles do not."""
    data = conditions(free, 1, h=height, w=width)["condition"]
    item = {"name": "condition", "datatype": "FP32", "shape": list(data.shape), "data": data.ravel().tolist()}
    request = urllib.request.Request(
        f"{running.http_url}/v2/models/free/infer", data=json.dumps({"inputs": [item]}).encode()
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=60)
    with refusal.value as answer:
        assert answer.code == 400
        said = json.loads(answer.read())["error"]
    assert f"an image of {width}x{height} was given; the plan was built for 64x64 to 256x256." in said


def test_a_file_gives_a_file(client: TritonClient, free: Bundle) -> None:
    data = png(smooth_images(1, seed=3)[0])
    inputs: dict[str, Any] = {
        "image": np.array([[data]], dtype=object),
        "seed": np.array([[7]], dtype=np.uint64),
    }
    answer = client.infer("free_png", inputs, ["picture", "seed"])
    assert answer["seed"].tolist() == [[7]]
    pixels = np.asarray(read_image(data), dtype=np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    wanted = free.generator(precision="fp16").generate({"condition": pixels}, [7], [0])["picture"][0]
    made = np.asarray(read_image(answer["picture"][0, 0]), dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(made - np.clip(wanted, -1, 1)).max() <= 1 / 127.5


def test_requests_that_come_together_are_one_batch_and_each_gets_its_own_image(
    running: TritonServer, client: TritonClient, mixed: Bundle
) -> None:
    generator = TritonGenerator(client, "mixed")
    given = conditions(mixed, 24)
    rows = [{name: value[row : row + 1] for name, value in given.items()} for row in range(24)]
    before = {name: statistics(running, name) for name in ("mixed", "mixed_core")}
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda row: generator.generate(rows[row], [row], [0]), range(24)))
    for name, (answered, executed) in before.items():
        deadline = time.monotonic() + 30
        while (now := statistics(running, name))[0] - answered < 24:  # counted after the answer was sent
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert now[1] - executed < 24, "they were batched"
    alone = mixed.generator(precision="fp16", threads=1)
    for row, answer in enumerate(made):
        assert_equal(answer, alone.generate(rows[row], [row], [0]))


def test_the_engine_speaks_its_own_types(client: TritonClient, mixed: Bundle) -> None:
    """Clients of the core see the plan: FP16 in and out, labels as they are."""
    contract = mixed.manifest.contract
    config = client._client.get_model_config("mixed_core").config
    assert {one.name: one.data_type for one in config.input}["label"] == proto.TYPE_INT64
    assert all(one.data_type == proto.TYPE_FP16 for one in config.output)
    assert client.contract("mixed_core") == contract
