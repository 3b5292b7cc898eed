"""What ONNX Runtime is asked for on a GPU, and what becomes of its refusals; it computes on the CPU here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.precision.fp16 import half_precision
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, ImageEncoding, NoiseInput, Output, SizeRule
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner, open_runner
from cgan_runtime.runners.onnxruntime.providers import MAX_BATCH
from onnx import TensorProto, helper

from tests.runtime.onnxruntime.fake_gpu import FakeGpu
from tests.runtime.tensorrt.conftest import assert_same, inputs_of

GPUS = ["cuda", "cuda:1", "tensorrt", "tensorrt:1"]


def free_size() -> tuple[bytes, Contract]:
    """An image of any size plus noise of a quarter of it, repeated."""
    contract = Contract(
        conditions=(Condition(name="condition", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(1, "h/4", "w/4")),),
        outputs=(Output(name="picture", shape=(3, "h", "w"), encoding=ImageEncoding()),),
        statistics="none",
        sides=SizeRule(multiple=4, min=8, max=4096),
    )
    nodes = [
        helper.make_node("Resize", ["z", "", "scales"], ["large"], mode="nearest"),
        helper.make_node("Add", ["condition", "large"], ["picture"]),
    ]
    graph = helper.make_graph(
        nodes,
        "free",
        [
            helper.make_tensor_value_info("condition", TensorProto.FLOAT, ["N", 3, "h", "w"]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 1, "h4", "w4"]),
        ],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, "h", "w"])],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 4, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString(), contract


@pytest.mark.parametrize("device", GPUS)
def test_every_batch_is_what_the_cpu_gives(gpu: FakeGpu, blends: Bundle, device: str) -> None:
    with blends.runner(device=device) as runner, blends.runner() as reference:
        for seed, batch in enumerate([1, 5, 1, 40, 5, 40, MAX_BATCH, MAX_BATCH + 1]):
            inputs = inputs_of(runner.contract, batch, seed)
            assert_same(runner.infer(inputs), reference.infer(inputs), exact=False)
    # TensorRT's engine takes no more; the rest of a larger batch is a batch of its own.
    assert set(gpu.batches) == {1, 5, MAX_BATCH} | ({8} if "tensorrt" in device else {MAX_BATCH + 1, 40})
    assert set(gpu.places) == {("cuda", int(device.partition(":")[2] or 0))}
    assert gpu.options()["device_id"] == (device.partition(":")[2] or "0")


def test_the_provider_that_was_asked_for_comes_first(gpu: FakeGpu, blends: Bundle) -> None:
    cuda, tensorrt, cpu = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
    for device, order in (("cuda", [cuda, cpu]), ("tensorrt", [tensorrt, cuda, cpu])):
        blends.runner(device=device).close()
        assert [item if isinstance(item, str) else item[0] for item in gpu.providers[-1]] == order
    assert dict(gpu.providers[-1][1][1])["enable_cuda_graph"] == "0", "TensorRT records the graph"


def test_it_says_what_it_is(gpu: FakeGpu, blends: Bundle) -> None:
    said = [blends.runner(device=device).description.partition(" ")[2] for device in ("cuda", "tensorrt:1")]
    gpu.refuses_graphs = True
    said += [blends.runner(device=device).description.partition(" ")[2] for device in ("cuda", "cpu")]
    assert [words.split(" ", 2)[2] for words in said] == [
        "CUDA with CUDA graphs", "TensorRT with CUDA graphs", "CUDA", "CPU"
    ]  # fmt: skip


def test_fp32_stays_fp32_and_halves_keep_the_tensor_cores(gpu: FakeGpu, bundle: Bundle) -> None:
    """Without TF32 ONNX Runtime takes the tensor cores from every convolution, whatever its type."""
    contract = bundle.manifest.contract
    model = onnx.load(bundle.path / "model.onnx")
    for keep, said in ((model, "0"), (half_precision(model), "1"), (half_precision(model, io_fp16=True), "1")):
        open_runner(keep.SerializeToString(), contract, device="cuda").close()
        assert gpu.options()["use_tf32"] == said


def test_tensorrt_builds_fp32_without_tf32(gpu: FakeGpu, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    contract, model = bundle.manifest.contract, onnx.load(bundle.path / "model.onnx")
    for one in (model, half_precision(model)):
        open_runner(one.SerializeToString(), contract, device="tensorrt").close()
        assert "NVIDIA_TF32_OVERRIDE" not in os.environ, "others in this process decide for themselves"
    gpu.broken = "no"
    with pytest.raises(CganError):
        bundle.runner(device="tensorrt")
    assert "NVIDIA_TF32_OVERRIDE" not in os.environ
    gpu.broken = ""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    bundle.runner(device="tensorrt").close()
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1", "who set it meant it"
    assert gpu.overrides == ["0", None, "0", "1"]


def test_nothing_is_chosen_by_the_clock(gpu: FakeGpu, blends: Bundle) -> None:
    """Else the same seed makes another image tomorrow."""
    blends.runner(device="cuda").close()
    assert gpu.options()["cudnn_conv_algo_search"] == "HEURISTIC"


def test_options_of_ones_own_come_last(gpu: FakeGpu, blends: Bundle) -> None:
    model, contract = blends.read(blends.manifest.artifacts[0]), blends.manifest.contract
    own = {"prefer_nhwc": "1", "use_tf32": "1"}
    open_runner(model, contract, device="cuda", provider_options=own).close()
    assert own.items() <= gpu.options().items()
    open_runner(
        model, contract, device="tensorrt", provider_options={"trt_builder_optimization_level": "5"}
    ).close()
    assert gpu.options()["trt_builder_optimization_level"] == "5"


@pytest.mark.parametrize("io_fp16", [True, False])
def test_half_precision_at_the_edge_is_the_contracts_float32(gpu: FakeGpu, bundle: Bundle, io_fp16: bool) -> None:
    contract = bundle.manifest.contract
    model = half_precision(onnx.load(bundle.path / "model.onnx"), io_fp16=io_fp16).SerializeToString()
    conditions = {"condition": np.tanh(inputs_of(contract, 2)["condition"])}
    with open_runner(model, contract, device="cuda") as runner, OnnxRuntimeRunner(model, contract) as reference:
        for draw in range(3):
            wanted = SeededGenerator(reference).generate(conditions, [7, 8], [draw, 0])
            answer = SeededGenerator(runner).generate(conditions, [7, 8], [draw, 0])
            assert_same(answer, wanted)
            assert answer["picture"].dtype == np.float32
    assert gpu.graph_ids == ["1"] * 3


def test_a_graph_that_cannot_be_recorded_runs_without(gpu: FakeGpu, blends: Bundle) -> None:
    gpu.refuses_graphs = True
    for device, option in (("cuda", "enable_cuda_graph"), ("tensorrt", "trt_cuda_graph_enable")):
        gpu.graph_ids.clear()
        with blends.runner(device=device) as runner:
            inputs = inputs_of(runner.contract, 2)
            assert_same(runner.infer(inputs), blends.runner().infer(inputs), exact=False)
        assert (gpu.options(-2)[option], gpu.options()[option], gpu.graph_ids) == ("1", "0", ["-1"])


def test_the_profile_of_tensorrt_is_that_of_the_contract(gpu: FakeGpu) -> None:
    model, contract = free_size()
    open_runner(model, contract, device="tensorrt").close()
    shapes = {name: gpu.options()[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")}
    assert shapes["min"] == "condition:1x3x8x8,z:1x1x2x2"
    assert shapes["max"] == shapes["opt"] == "condition:16x3x1024x1024,z:16x1x256x256"


def test_a_label_has_a_profile_too(gpu: FakeGpu, shoes: Bundle) -> None:
    shoes.runner(device="tensorrt").close()
    assert gpu.options()["trt_profile_max_shapes"] == "label:16,z:16x4"


def test_free_sizes_in_any_order(gpu: FakeGpu) -> None:
    model, contract = free_size()
    rng = np.random.default_rng(4)
    for device in ("cuda", "tensorrt"):
        with open_runner(model, contract, device=device) as runner, OnnxRuntimeRunner(model, contract) as reference:
            for batch, h, w in [(1, 8, 16), (2, 16, 8), (1, 8, 16), (17, 8, 8), (1, 12, 8)] * 2:
                inputs = {
                    "condition": rng.normal(size=(batch, 3, h, w)).astype(np.float32),
                    "z": rng.normal(size=(batch, 1, h // 4, w // 4)).astype(np.float32),
                }
                assert_same(runner.infer(inputs), reference.infer(inputs))
    assert "-1" not in gpu.graph_ids


def test_an_image_beyond_the_engine_is_refused_in_one_sentence(gpu: FakeGpu) -> None:
    model, contract = free_size()
    large = {"condition": np.zeros((1, 3, 1028, 8), np.float32), "z": np.zeros((1, 1, 257, 2), np.float32)}
    with open_runner(model, contract, device="tensorrt") as runner:
        words = (
            "^an image of 8x1028 was given and TensorRT's engine takes sides of up to 1024; use --device cuda[.]$"
        )
        with pytest.raises(UsageError, match=words):
            runner.infer(large)
    with open_runner(model, contract, device="cuda") as runner:
        assert runner.infer(large)["picture"].shape == (1, 3, 1028, 8)
    assert len(gpu.graph_ids) == 1


def test_engines_are_kept_for_each_model_in_a_folder_of_the_user(
    gpu: FakeGpu, blends: Bundle, shoes: Bundle, tmp_path: Path
) -> None:
    folders = []
    for one in (blends, shoes, blends):
        one.runner(device="tensorrt").close()
        folders.append(Path(gpu.options()["trt_engine_cache_path"]))
        assert gpu.options()["trt_timing_cache_path"] == str(folders[-1].parent)
    assert folders[0] == folders[2] != folders[1]
    root = tmp_path / "cache" / "cgan-deploy" / "onnxruntime-tensorrt"
    assert {folder.parent.parent for folder in folders} == {root}
    assert root.stat().st_mode & 0o077 == 0, "an engine holds program code"
    artifact = blends.manifest.artifacts[0]
    assert folders[0].name == artifact.sha256


def test_a_folder_that_cannot_be_made_is_one_sentence(
    gpu: FakeGpu, blends: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CganError, match=r"^/.*, for TensorRT's engines, cannot be made \(Not a directory\)\.$"):
        blends.runner(device="tensorrt")
    assert not gpu.providers


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_another_provider_never_runs_in_its_place(gpu: FakeGpu, blends: Bundle, device: str) -> None:
    gpu.takes_nodes = False
    with pytest.raises(CganError, match=r"gave no node of the model to \w+ExecutionProvider, .*; use --device cpu"):
        blends.runner(device=device)
    gpu.starts = False
    with pytest.raises(CganError, match=r"cannot start \w+ExecutionProvider here .*; use --device cpu"):
        blends.runner(device=device)


def test_a_session_that_fails_is_one_sentence(gpu: FakeGpu, blends: Bundle) -> None:
    gpu.broken = "Invalid device ID: 7, must be between 0 (inclusive) and 1 (exclusive).\nmore"
    words = (
        r"^ONNX Runtime cannot load the model on CUDAExecutionProvider: Invalid device ID: 7.* 1 \(exclusive\)\.$"
    )
    with pytest.raises(CganError, match=words) as caught:
        blends.runner(device="cuda:7")
    assert caught.value.exit_code == 1
    assert len(gpu.providers) == 1, "only a refusal of CUDA graphs is tried again"
    with pytest.raises(CganError, match=r"; its engines are kept in /.*, which can be deleted$"):
        blends.runner(device="tensorrt")


def test_after_a_run_that_failed_the_next_one_is_right(gpu: FakeGpu, blends: Bundle) -> None:
    with blends.runner(device="cuda") as runner:
        inputs = inputs_of(runner.contract, 2)
        runner.infer(inputs)
        gpu.failing_runs = 1
        with pytest.raises(CganError, match=r"^ONNX Runtime failed: CUDA failure 700: an illegal [a-z ]+$"):
            runner.infer(inputs)
        assert_same(runner.infer(inputs), blends.runner().infer(inputs))
    assert gpu.graph_ids == ["1", "1", "2"], "what was recorded before an error is not replayed"
