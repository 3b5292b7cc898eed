"""Repositories for NVIDIA's container: Triton's own protobuf reads them, and they say what the plan says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cgan_runtime.axes import shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.manifest import Batch, Plan, Profile
from cgan_runtime.own_plans import remember_own
from cgan_runtime.serving.containers import find_container
from cgan_runtime.serving.gpu_core import gpu_core
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.repository import write_models
from tritonclient.grpc import model_config_pb2 as proto

from tests.export.engines import KINDS
from tests.runtime.plans import (
    PROFILES,
    batches,
    bundle_with_plans,
    config_of,
    contract_of,
    plan,
    refusal,
)

TYPES = {"float32": proto.TYPE_FP32, "int64": proto.TYPE_INT64}


@pytest.fixture
def contract() -> Contract:
    return contract_of("unet, batch norm")


def core_of(root: Path, bundle: Bundle, options: GpuOptions | None = None) -> Any:
    """The configuration of the core, as Triton reads it."""
    return config_of(root, write_models(root, bundle, gpu_core(bundle, options or GpuOptions()))[0])


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
@pytest.mark.parametrize("kind", [*KINDS, "free size"])
def test_triton_reads_the_configuration_of_every_kind_of_generator(kind: str, backend: str, tmp_path: Path) -> None:
    contract = contract_of(kind)
    side = contract.sides.min if contract.sides else 0
    sides = dict.fromkeys(("min", "opt", "max"), (side, side)) if side else {}
    profiles = tuple(Profile(batch=profile.batch, **sides) for profile in PROFILES)
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan("sm86", profiles=profiles)})
    root = tmp_path / "repository"
    options = GpuOptions(backend=backend, precision="fp16")
    core = core_of(root, bundle, options)
    half = {"float32": proto.TYPE_FP16, "int64": proto.TYPE_INT64}
    for tensors, written in ((contract.inputs, core.input), (contract.outputs, core.output)):
        assert [one.name for one in written] == [one.name for one in tensors]
        for tensor, one in zip(tensors, written, strict=True):
            assert one.data_type == half[tensor.dtype]
            assert list(one.dims) == [a if isinstance(a, int) else -1 for a in tensor.shape or (1,)]
            assert one.HasField("reshape") == (not tensor.shape)
    sizes = {"h": side, "w": side}
    if backend == "tensorrt":
        for graph in core.optimization.cuda.graph_spec:
            given = {name: tuple(value.dim) for name, value in graph.input.items()}
            assert given == {t.name: shape_of(t.shape, sizes) for t in contract.inputs}
    for warm in core.model_warmup:
        assert sorted(warm.inputs) == sorted(t.name for t in contract.inputs)
        for one in core.input:
            value = warm.inputs[one.name]
            assert value.data_type == one.data_type
            assert value.zero_data
            assert len(value.dims) == len(one.dims)
            assert all(d > 0 and e in (-1, d) for d, e in zip(value.dims, one.dims, strict=True))
    for name in ("net", "net_png"):
        if (root / name).exists():
            front = config_of(root, name)
            assert front.backend == "python"
            assert front.instance_group[0].kind == proto.ModelInstanceGroup.KIND_CPU
            assert front.max_batch_size == core.max_batch_size
            assert {one.data_type for one in front.input} & {proto.TYPE_FP16} == set()
            tensors_of: list[tuple[Condition | Output, Any]] = [
                *zip(contract.conditions, front.input, strict=False),
                *zip(contract.outputs, front.output, strict=False),
            ]
            for item, one in tensors_of:
                kind_of = None if item.encoding is None else item.encoding.kind
                is_file = name == "net_png" and kind_of in ("image", "label", "heatmap")
                assert one.data_type == (proto.TYPE_STRING if is_file else TYPES[item.dtype])


def test_the_core_is_the_plan_with_its_profiles_graphs_and_memory(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan("sm86")})
    core = core_of(tmp_path / "r", bundle, GpuOptions(instances=3, gpu=1))
    assert (core.platform, core.backend) == ("tensorrt_plan", ""), "only the platform may have profiles"
    assert core.max_batch_size == 16
    (group,) = core.instance_group
    assert (group.kind, group.count, list(group.gpus)) == (proto.ModelInstanceGroup.KIND_GPU, 3, [1])
    assert list(group.profile) == ["0", "1"]
    assert core.optimization.cuda.graphs
    assert [graph.batch_size for graph in core.optimization.cuda.graph_spec] == [1, 8]
    assert [warm.batch_size for warm in core.model_warmup] == [1, 8]
    # A preferred batch of one would split every batch that is not preferred.
    assert list(core.dynamic_batching.preferred_batch_size) == [8]
    assert not core.dynamic_batching.HasField("default_queue_policy"), "stalls under bursts"
    assert core.optimization.input_pinned_memory.enable
    assert core.optimization.output_pinned_memory.enable
    assert (tmp_path / "r" / "net_core" / "1" / "a.plan").read_bytes() == b"a.plan of 11.1.0.106"
    assert sorted(p.name for p in (tmp_path / "r" / "net_core" / "1").iterdir()) == ["a.plan"]


def test_every_gpu_is_used_where_none_is_named(contract: Contract, tmp_path: Path) -> None:
    (group,) = core_of(tmp_path, bundle_with_plans(tmp_path / "b", contract, {"a.plan": plan()})).instance_group
    assert (group.count, list(group.gpus)) == (1, [])


def test_each_plan_serves_the_gpus_it_was_built_for(contract: Contract, tmp_path: Path) -> None:
    plans = {
        "a.plan": plan("sm86", "sm89"),
        "b.plan": plan("sm120"),
        "c.plan": plan("sm80", hardware="ampere_plus"),
        "d.plan": plan("sm89"),
    }
    core = core_of(tmp_path / "r", bundle_with_plans(tmp_path, contract, plans))
    assert dict(core.cc_model_filenames) == {"8.6": "a.plan", "8.9": "a.plan", "12.0": "b.plan", "8.0": "c.plan"}
    assert core.default_model_filename == "c.plan", "newer GPUs run it too"
    del plans["c.plan"]
    core = core_of(tmp_path / "s", bundle_with_plans(tmp_path / "two", contract, plans))
    assert core.default_model_filename == "a.plan"


@pytest.mark.parametrize("io", ["fp32", "fp16"])
def test_the_core_has_the_types_of_the_plan(io: Any, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract_of("every kind of tensor"), {"a.plan": plan()}, io=io)
    core = core_of(tmp_path / "r", bundle)
    floats = proto.TYPE_FP16 if io == "fp16" else proto.TYPE_FP32
    assert {one.name: one.data_type for one in core.input}["label"] == proto.TYPE_INT64
    assert {one.data_type for one in (*core.input, *core.output)} == {floats, proto.TYPE_INT64}
    assert core.parameters["io"].string_value == io


@pytest.mark.parametrize(
    ("profiles", "wanted", "batch", "served", "used"),
    [
        (batches((1, 1, 1)), None, 1, [1], ["0"]),
        (batches((1, 16, 16)), None, 16, [1, 16], ["0"]),
        (batches((1, 16, 16)), 16, 16, [1, 16], ["0"]),
        (batches((1, 8, 16)), 4, 4, [1, 4], ["0"]),
        (batches((1, 1, 1), (2, 4, 8)), None, 8, [1, 4], ["0", "1"]),
        (batches((1, 1, 1), (4, 4, 8)), None, 1, [1], ["0"]),
        (batches((1, 2, 4), (8, 8, 8)), None, 4, [1, 2], ["0"]),
        (batches((2, 4, 8), (1, 1, 1)), 1, 1, [1], ["1"]),
        (batches((1, 1, 1), (1, 8, 16), (1, 32, 64)), 40, 40, [1, 8, 32], ["0", "1", "2"]),
    ],
)
def test_no_batch_goes_to_a_plan_that_has_no_profile_for_it(
    profiles: tuple[Profile, ...],
    wanted: int | None,
    batch: int,
    served: list[int],
    used: list[str],
    contract: Contract,
    tmp_path: Path,
) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan(profiles=profiles)})
    core = core_of(tmp_path / "r", bundle, GpuOptions(max_batch=wanted))
    assert core.max_batch_size == batch
    assert [graph.batch_size for graph in core.optimization.cuda.graph_spec] == served
    assert list(core.instance_group[0].profile) == used
    taken = [profiles[int(number)].batch for number in used]
    assert all(any(b.min <= size <= b.max for b in taken) for size in range(1, batch + 1))


def test_a_plan_that_takes_bytes_is_passed_over(contract: Contract, tmp_path: Path) -> None:
    plans = {"a.plan": plan(byte_images=True), "b.plan": plan()}
    core = core_of(tmp_path / "r", bundle_with_plans(tmp_path, contract, plans), GpuOptions())
    assert dict(core.cc_model_filenames) == {"8.6": "b.plan"}


@pytest.mark.parametrize(
    ("plans", "options", "words"),
    [
        ({}, {}, r"has no TensorRT plan; build one where the GPU is \(cgan-export rebuild .*--backend onnxruntime"),
        ({"a": plan()}, {"precision": "int8"}, "has no TensorRT plan in int8; build one"),
        ({"a": plan(byte_images=True)}, {}, "only plans whose images are bytes, .* without --byte-images"),
        ({"a": plan()}, {"max_batch": 17}, "--max-batch 17 is too large: .* profiles for batches up to 16"),
        ({"a": plan(profiles=batches((2, 8, 8)))}, {}, "without a profile for one row.*--batch 1,1..16"),
        (
            {"a": plan("sm86"), "b": plan("sm89", version="11.2.1.2")},
            {},
            "TensorRT 11.1.0.106 and 11.2.1.2, and a con",
        ),
        ({"a": plan("sm86"), "b": plan("sm89", profiles=batches((1, 1, 1)))}, {}, "plans of different profiles"),
        (
            {"a": plan()},
            {"backend": "tensorrt_rtx"},
            "loads no tensorrt_rtx artifact of ours; give --backend tensorrt",
        ),
        (
            {"a": plan()},
            {"container": find_container("26.05")},
            r"it was built with TensorRT 11.1.0.106 and container 26.05 has 10.16.1.11; build it with that one "
            r"\(pip install tensorrt==10.16.1.11, then cgan-export rebuild .*--container\.$",
        ),
    ],
)
def test_what_the_container_cannot_serve_is_one_sentence(
    plans: dict[str, Plan], options: dict[str, Any], words: str, contract: Contract, tmp_path: Path
) -> None:
    bundle = bundle_with_plans(tmp_path, contract, plans)
    with pytest.raises((BundleError, UsageError), match=words):
        gpu_core(bundle, GpuOptions(**options))


def test_plans_of_tensorrt_rtx_are_no_plans_for_triton(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()}, backend="tensorrt_rtx")
    said = refusal(lambda: gpu_core(bundle, GpuOptions()), BundleError)
    assert "only of TensorRT-RTX, which Triton cannot load; build one where the GPU is" in said


def test_a_plan_of_others_is_not_written_without_a_signature(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan(), "b.plan": plan("sm90")}, signed=False)
    assert "--require-signature" in refusal(lambda: gpu_core(bundle, GpuOptions()), BundleError)
    remember_own(bundle.manifest.artifacts[2].sha256)
    assert "b.plan may hold program code" in refusal(lambda: gpu_core(bundle, GpuOptions()), BundleError)
    remember_own(bundle.manifest.artifacts[3].sha256)
    gpu_core(bundle, GpuOptions())


@pytest.mark.parametrize("accelerator", ["cuda", "tensorrt"])
def test_an_onnx_file_runs_in_tritons_own_onnx_runtime(
    accelerator: Any, contract: Contract, tmp_path: Path
) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {})
    core = core_of(tmp_path / "r", bundle, GpuOptions(backend="onnxruntime", accelerator=accelerator, max_batch=4))
    assert (core.backend, core.platform, core.max_batch_size) == ("onnxruntime", "", 4)
    assert core.input[0].data_type == proto.TYPE_FP32
    assert (tmp_path / "r" / "net_core" / "1" / "model.onnx").read_bytes() == b"FP32"
    (by,) = core.optimization.execution_accelerators.gpu_execution_accelerator
    assert by.name == accelerator
    assert core.instance_group[0].kind == proto.ModelInstanceGroup.KIND_GPU
    assert not core.instance_group[0].profile
    if accelerator == "tensorrt":
        for size, batch in (("min", 1), ("opt", 4), ("max", 4)):
            shapes = dict(item.split(":") for item in by.parameters[f"trt_profile_{size}_shapes"].split(","))
            assert shapes == {t.name: "x".join(map(str, (batch, *t.shape))) for t in contract.inputs}
        assert by.parameters["precision_mode"] == "FP32"


def test_images_of_any_size_are_not_for_onnx_runtimes_tensorrt(tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract_of("free size"), {})
    options = GpuOptions(backend="onnxruntime", accelerator="tensorrt")
    assert "--accelerator cuda" in refusal(lambda: gpu_core(bundle, options), UsageError)


def test_noise_that_no_device_draws_is_said(tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract_of("unet, no dropout"), {"a.plan": plan()})
    said = refusal(lambda: gpu_core(bundle, GpuOptions(noise="device")), UsageError)
    assert "no noise that is drawn on a device; leave out --noise device" in said


def test_free_sizes_are_captured_at_what_the_narrowest_profile_is_tuned_for(tmp_path: Path) -> None:
    contract = contract_of("free size")

    def profile(low: int, high: int, best: int) -> Profile:
        return Profile(batch=Batch(min=low, opt=high, max=high), min=(64, 64), opt=(best, 128), max=(256, 256))

    profiles = (profile(1, 10, 256), profile(1, 1, 64), profile(8, 8, 192))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan(profiles=profiles)})
    graphs = core_of(tmp_path / "r", bundle).optimization.cuda.graph_spec
    shapes = {graph.batch_size: tuple(graph.input["condition"].dim) for graph in graphs}
    assert shapes == {1: (3, 64, 128), 8: (3, 192, 128), 10: (3, 256, 128)}
