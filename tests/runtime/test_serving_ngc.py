"""Repositories for NVIDIA's container: Triton's own protobuf reads them, and they say what the plan says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest
from cgan_export.graph.sizes import SizeWish, sized
from cgan_runtime.axes import shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Condition, Contract, Output
from cgan_runtime.errors import BundleError, CganError, UsageError
from cgan_runtime.manifest import Batch, Plan, Profile
from cgan_runtime.own_plans import remember_own
from cgan_runtime.serving.container_run import ContainerRun, plan_run
from cgan_runtime.serving.containers import CONTAINERS, find_container, misfit, suitable
from cgan_runtime.serving.gpu_core import gpu_core
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.repository import RepositoryOptions, write_models, write_repository
from cgan_runtime.serving.server import Ports
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from tests.export.engines import KINDS, translator
from tests.helpers import REPOSITORY, assert_one_sentence, run_here
from tests.runtime.plans import PROFILES, VERSION, batches, bundle_with_plans, plan

TYPES = {"float32": proto.TYPE_FP32, "int64": proto.TYPE_INT64}


def contract_of(kind: str) -> Contract:
    if kind != "free size":
        return KINDS[kind]().contract
    generator = translator().eval()
    return sized(generator, generator.contract, SizeWish())


def config_of(root: Path, model: str) -> Any:
    return text_format.Parse((root / model / "config.pbtxt").read_text(), proto.ModelConfig())


def core_of(root: Path, bundle: Bundle, options: GpuOptions | None = None) -> Any:
    """The configuration of the core, as Triton reads it."""
    return config_of(root, write_models(root, bundle, gpu_core(bundle, options or GpuOptions()))[0])


@pytest.fixture
def contract() -> Contract:
    return contract_of("unet, batch norm")


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
@pytest.mark.parametrize("kind", [*KINDS, "free size"])
def test_triton_reads_the_configuration_of_every_kind_of_generator(kind: str, backend: str, tmp_path: Path) -> None:
    contract = contract_of(kind)
    sides = (
        {side: (s := contract.sides, (s.min, s.min))[1] for side in ("min", "opt", "max")} if contract.sides else {}
    )
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
    sizes = {"h": contract.sides.min, "w": contract.sides.min} if contract.sides else {}
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


def refusal(action: Callable[[], object], kind: type[CganError]) -> str:
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(
    ("plans", "options", "words"),
    [
        ({}, {}, r"has no TensorRT plan; build one where the GPU is \(cgan-export rebuild .*--backend onnxruntime"),
        ({"a": plan()}, {"precision": "int8"}, "has no TensorRT plan in int8; build one"),
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


def test_noise_on_the_device_takes_what_it_needs_along(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    for noise in ("host", "device"):
        root = tmp_path / noise
        write_models(root, bundle, gpu_core(bundle, GpuOptions(noise=noise)))
        package = root / "net" / "1" / "cgan_runtime"
        assert (package / "cuda" / "noise.ptx").exists() == (noise == "device")
        assert config_of(root, "net").parameters["noise"].string_value == noise
    modules = ("serving.models", "serving.device_inputs", "cuda.pycuda_driver", "cuda.bindings_driver")
    imported_alone(package.parent, *(f"cgan_runtime.{name}" for name in modules))


def test_an_embedded_engine_of_tensorrt_takes_its_runner_along(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine whose TensorRT fits: our own Python model runs the plan there."""
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    monkeypatch.setattr(Bundle, "artifact", lambda *_: bundle.manifest.artifacts[2])
    write_repository(tmp_path / "r", bundle, RepositoryOptions(backend="tensorrt", precision="fp16"))
    folder = tmp_path / "r" / "net_core" / "1"
    assert (folder / "model.plan").is_file()
    assert (folder / "cgan_runtime" / "cuda" / "noise.ptx").is_file()
    imported_alone(folder, "cgan_runtime.serving.models", "cgan_runtime.runners.tensorrt.backend")


def imported_alone(folder: Path, *modules: str) -> None:
    """With the copied package alone on the path, all of it that is needed is there."""
    code = (
        "import sys, types; sys.modules['triton_python_backend_utils'] = types.ModuleType('pb')\n"
        f"import {', '.join(modules)}, cgan_runtime\n"
        "print(cgan_runtime.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)}
    )
    assert done.stdout.startswith(str(folder)), done.stderr


def test_noise_that_no_device_draws_is_said(tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract_of("unet, no dropout"), {"a.plan": plan()})
    said = refusal(lambda: gpu_core(bundle, GpuOptions(noise="device")), UsageError)
    assert "no noise that is drawn on a device; leave out --noise device" in said


def test_the_table_of_containers_is_of_releases_with_their_source() -> None:
    page = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    assert [one.tag for one in CONTAINERS] == sorted({one.tag for one in CONTAINERS})
    for one in CONTAINERS:
        assert re.fullmatch(r"\d+(\.\d+){3}", one.tensorrt or "")
        assert f"| {one.tag} | {one.tensorrt} | {one.source} |" in page
        assert find_container(one.tag) == one


@pytest.mark.parametrize("tag", ["latest", "26.7", "26.13", "26.07-py3", ""])
def test_a_container_that_is_no_release(tag: str) -> None:
    assert "such as 26.03" in refusal(lambda: find_container(tag), UsageError)


@pytest.mark.parametrize(
    ("of", "fitting"),
    [
        (plan(version="11.1.0.106"), ["26.07"]),
        (plan(version="10.16.1.11"), ["26.05"]),
        (plan(version="11.4.0.106"), []),
        (plan(version="11.1.0.106", version_compatible=True), ["26.07", "26.08"]),
        (plan(version="11.2.0.1", version_compatible=True), ["26.08"]),
        (plan(version="11.4.0.106", version_compatible=True), []),
        (plan(version="10.13.3.9", version_compatible=True), ["26.03", "26.05"]),
        (plan(version="10.9.0.1", version_compatible=True), ["26.03", "26.05"]),
    ],
)
def test_which_containers_run_a_plan(of: Plan, fitting: list[str]) -> None:
    assert [one.tag for one in suitable([of])] == fitting
    assert misfit(of, find_container("26.06")) is None, "not known: not refused"


def run_of(*bundles: Bundle, folder: Path | None = None, **options: Any) -> ContainerRun:
    del folder
    return plan_run(
        bundles, GpuOptions(**options), host="127.0.0.1", ports=Ports(http=9000, grpc=9001, metrics=9002)
    )


def test_the_container_is_chosen_by_the_plans(contract: Contract, tmp_path: Path) -> None:
    def of(one: Plan, name: str, **options: Any) -> ContainerRun:
        return run_of(bundle_with_plans(tmp_path / name, contract, {"a.plan": one}), **options)

    known = of(plan(), "known")
    assert known.container.tag == "26.07"
    assert "containers that run them: 26.07 (TensorRT 11.1.0.106)." in known.notes[0]
    unknown = of(plan(version="11.4.0.106"), "unknown")
    assert unknown.container.tag == "YY.MM"
    assert (
        "no container that is known here runs plans of TensorRT 11.4.0.106 (26.03 has 10.16.0.72"
        in unknown.notes[0]
    )
    said = of(plan(version="11.4.0.106"), "said", container=find_container("26.10"))
    assert said.container.tag == "26.10"
    assert "which TensorRT container 26.10 has is not known here" in said.notes[0]
    assert of(plan(), "told", container=find_container("26.07")).notes == ()


def test_a_plan_that_the_container_does_not_run_is_left_out_beside_one_that_it_runs(
    contract: Contract, tmp_path: Path
) -> None:
    plans = {"a.plan": plan("sm86"), "b.plan": plan("sm89", version="11.2.1.2")}
    run = run_of(bundle_with_plans(tmp_path, contract, plans), container=find_container("26.08"))
    run.write(tmp_path / "r")
    assert [p.name for p in (tmp_path / "r" / "net_core" / "1").iterdir()] == ["b.plan"]
    (note,) = run.notes
    assert "a.plan is left out: it was built with TensorRT 11.1.0.106 and container 26.08 has 11.2.1.2." in note


def test_bundles_of_two_tensorrts_have_no_container(contract: Contract, tmp_path: Path) -> None:
    two = [
        bundle_with_plans(tmp_path, contract, {"a.plan": plan(version=version)}, name=f"net{number}")
        for number, version in enumerate((VERSION, "11.2.1.2"))
    ]
    assert "serve them apart" in refusal(lambda: run_of(*two), BundleError)


def test_the_docker_line_is_words_of_a_shell(contract: Contract, tmp_path: Path) -> None:
    compatible = plan(version_compatible=True)
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": compatible})
    line = run_of(bundle, noise="device").docker_line(tmp_path / "my models")
    words = shlex.split(line)
    assert words[:2] == ["docker", "run"]
    options = dict(pairwise(words))
    assert options["--gpus"] == "all"
    assert options["-v"] == f"{tmp_path / 'my models'}:/models:ro"
    assert [w for w, before in zip(words[1:], words, strict=False) if before == "-p"] == [
        "127.0.0.1:9000:8000",
        "127.0.0.1:9001:8001",
        "127.0.0.1:9002:8002",
    ]
    assert "nvcr.io/nvidia/tritonserver:26.08-py3" in words
    inside = words[-1]
    assert subprocess.run(["sh", "-n", "-c", inside], check=False).returncode == 0
    assert "exec tritonserver --model-repository=/models --disable-auto-complete-config" in inside
    assert "--backend-config=tensorrt,version-compatible=true" in inside
    for package in ("pillow>=11,<14", "pydantic>=2.12,<3", "numpy>=1.26,<3", "cuda-bindings>=13,<14"):
        assert f'"{package}"' in inside
    plain = run_of(bundle_with_plans(tmp_path / "plain", contract, {"a.plan": plan()})).docker_line(tmp_path)
    assert "version-compatible" not in plain
    assert "cuda-bindings" not in plain


def test_the_shared_memory_holds_the_tensors_of_the_largest_batch(contract: Contract, tmp_path: Path) -> None:
    run = run_of(bundle_with_plans(tmp_path, contract, {"a.plan": plan(profiles=batches((1, 64, 4096)))}))
    (mib,) = re.findall(r"--shm-size (\d+)m", run.docker_line(tmp_path))
    row = sum(4 * prod(map(int, t.shape)) for t in (*contract.inputs, *contract.outputs))
    # Two processes of each of the two front models, each with what it is given and what it sends on.
    assert 4096 * row * 8 <= int(mib) * 2**20 < 2 * 4096 * row * 8


def test_the_command_writes_the_repository_and_prints_how_to_start_it(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()}, name="facades")
    remember_own(bundle.manifest.artifacts[2].sha256)
    words = (bundle.path, "--triton-repo", tmp_path / "r", "--target", "ngc")
    done = run_here("cgan-serve", *words, "--container", "26.07", "--instances", "2", "--device", "cuda:1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path / 'r'} with facades_core, facades, facades_png\n")
    assert "docker run --rm --gpus all" in done.stdout
    assert f"-v {tmp_path / 'r'}:/models:ro" in done.stdout
    assert "tritonserver:26.07-py3" in done.stdout
    assert "curl -s --data-binary @- http://127.0.0.1:8000/v2/models/facades_png/infer" in done.stdout
    assert "--url grpc://127.0.0.1:8001 --model facades" in done.stdout
    (group,) = config_of(tmp_path / "r", "facades_core").instance_group
    assert (group.count, list(group.gpus)) == (2, [1])
    before = sorted((tmp_path / "r").rglob("*"))
    assert_one_sentence(run_here("cgan-serve", *words), 2, "exists already")
    assert sorted((tmp_path / "r").rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--target", "ngc"], 2, "say where with --triton-repo DIR"),
        (["--target", "ngc", "--triton-repo", "r"], 3, "may hold program code"),
        (["--target", "ngc", "--triton-repo", "r", "--container", "26.05"], 3, "container 26.05 has 10.16.1.11"),
        (["--target", "ngc", "--triton-repo", "r", "--device", "cpu"], 2, "no device 'cpu' for --target ngc"),
        (["--target", "ngc", "--triton-repo", "r", "--threads", "2"], 2, "--threads is for engines on the CPU"),
        (
            ["--triton-repo", "r", "--instances", "2", "--noise", "device"],
            2,
            "--instances, --noise needs --target ngc",
        ),
    ],
)
def test_a_command_that_cannot_be_done_leaves_nothing(
    words: list[str], code: int, said: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert_one_sentence(run_here("cgan-serve", bundle.path, *words), code, said)
    assert not [path for path in here.iterdir() if not path.name.endswith(".lock")]


def test_a_bundle_that_changed_leaves_no_repository(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    (bundle.path / "engines" / "a.plan").write_bytes(b"another plan")
    changed = replace(bundle)
    with pytest.raises(BundleError, match="is damaged"):
        run_of(changed).write(tmp_path / "r")


def test_free_sizes_are_captured_at_what_the_narrowest_profile_is_tuned_for(tmp_path: Path) -> None:
    contract = contract_of("free size")

    def profile(low: int, high: int, best: int) -> Profile:
        return Profile(batch=Batch(min=low, opt=high, max=high), min=(64, 64), opt=(best, 128), max=(256, 256))

    profiles = (profile(1, 10, 256), profile(1, 1, 64), profile(8, 8, 192))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan(profiles=profiles)})
    graphs = core_of(tmp_path / "r", bundle).optimization.cuda.graph_spec
    shapes = {graph.batch_size: tuple(graph.input["condition"].dim) for graph in graphs}
    assert shapes == {1: (3, 64, 128), 8: (3, 192, 128), 10: (3, 256, 128)}
