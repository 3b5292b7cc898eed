"""Artifacts for OpenVINO: the FP32 file in two precisions and a file in INT8, each measured where it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from cgan_export.artifacts.precision.nncf_int8 import _import_nncf, quantized
from cgan_export.bundle.verify import verify_bundle
from cgan_export.cli import checks
from cgan_export.cli import export as command
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.errors import CheckFailedError
from cgan_runtime.generator import noise_tensors
from cgan_runtime.golden import golden_conditions
from cgan_runtime.runners import RUNNERS, RunnerKind
from cgan_runtime.runners import openvino as backend
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions

from tests.helpers import (
    assert_one_sentence,
    pix2pix_generator,
    png,
    run_command,
    run_here,
    smooth_images,
    write_pix2pix_checkpoint,
)

WORDS = ("--backend", "openvino", "--precision", "bf16,int8")
LABELS = ["model.onnx", "model.int8.onnx", "openvino/fp32", "openvino/bf16", "openvino/int8"]

needs_bfloat16 = pytest.mark.skipif(
    backend.lack("bf16") is not None, reason="this CPU does not compute in bfloat16"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as small as those of a run, so that 8 bits are enough for every layer."""
    return write_pix2pix_checkpoint(
        tmp_path_factory.mktemp("run") / "facades.pt", pix2pix_generator(ngf=16, gain=0.7)
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Bundle:
    target = tmp_path_factory.mktemp("openvino") / "facades"
    done = run_command("cgan-export", checkpoint, "-o", target, *WORDS)  # a crash of the quantiser is this test's
    assert done.returncode == 0, done.stderr
    return read_bundle(target)


@needs_bfloat16
@pytest.mark.slow
def test_each_precision_passed_its_gates_where_it_runs(bundle: Bundle) -> None:
    artifacts = {artifact.label: artifact for artifact in bundle.manifest.artifacts}
    assert list(artifacts) == LABELS
    for artifact in artifacts.values():
        assert artifact.fidelity
        assert all(figure.passed for figure in artifact.fidelity.values())
    # They were measured apart: another runtime rounds in other places, another precision far more.
    psnr = {label: one.fidelity["parity_psnr"].value for label, one in artifacts.items()}
    assert len(set(psnr.values())) == len(LABELS)
    assert psnr["openvino/fp32"] > 100 > psnr["openvino/bf16"] > psnr["openvino/int8"]


@needs_bfloat16
@pytest.mark.slow
def test_one_file_serves_two_precisions_and_is_there_once(bundle: Bundle) -> None:
    paths = [artifact.path for artifact in bundle.manifest.artifacts]
    assert paths.count("model.openvino.onnx") == 2
    assert [file.path for file in bundle.manifest.all_files].count("model.openvino.onnx") == 1
    assert bundle.manifest.schema_version == 4


@needs_bfloat16
@pytest.mark.slow
def test_the_precision_decides_what_is_computed(bundle: Bundle) -> None:
    contract = bundle.manifest.contract
    condition = np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    inputs = {"condition": condition, **noise_tensors(contract.noise, [1, 2], [0, 0])}
    right = bundle.runner().infer(inputs)["picture"]
    worst = {}
    for precision in ("fp32", "bf16", "int8"):
        with bundle.runner(backend="openvino", precision=precision) as runner:
            assert runner.description.startswith("OpenVINO 20")
            assert runner.description.endswith("CPU bf16" if precision == "bf16" else "CPU")
            worst[precision] = np.abs(runner.infer(inputs)["picture"] - right).max()
    assert worst["fp32"] < 1e-4
    assert worst["bf16"] > 1e-3
    assert worst["int8"] > 1e-3


@needs_bfloat16
@pytest.mark.slow
def test_several_threads_have_the_answers_of_one(bundle: Bundle) -> None:
    from concurrent.futures import ThreadPoolExecutor

    contract = bundle.manifest.contract
    images = np.random.default_rng(0).uniform(-1, 1, (6, 1, 3, 64, 64)).astype(np.float32)
    calls = [{"condition": image, **noise_tensors(contract.noise, [7], [0])} for image in images]
    with bundle.runner(backend="openvino", in_flight=2) as runner, ThreadPoolExecutor(4) as pool:
        answers = [answer["picture"] for answer in pool.map(runner.infer, calls)]
    with bundle.runner(backend="openvino") as alone:
        for call, answer in zip(calls, answers, strict=True):
            np.testing.assert_allclose(answer, alone.infer(call)["picture"], atol=1e-6)


@needs_bfloat16
@pytest.mark.slow
def test_the_commands_take_them(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(smooth_images(1)[0]))
    words = ("--bundle", bundle.path, "--seed", "7", "--backend", "openvino", "--precision", "bf16")
    done = run_here("cgan-translate", tmp_path / "a.png", *words, "-o", tmp_path / "out.png", "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").exists()


@needs_bfloat16
@pytest.mark.slow
def test_verify_measures_them_again_and_says_which_cannot_run(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = verify_bundle(bundle)
    assert list(figures) == ["model.onnx", "openvino/fp32", "model.int8.onnx", "openvino/bf16", "openvino/int8"]
    assert all(figure.passed for one in figures.values() for figure in one.values())
    monkeypatch.setattr(backend, "lack", lambda precision: "no bfloat16 here." if precision == "bf16" else None)
    assert "openvino/bf16" not in verify_bundle(bundle)
    done = run_here("cgan-export", "verify", bundle.path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["not_run"] == {"openvino/bf16": "no bfloat16 here."}


@pytest.mark.slow
def test_nncf_makes_the_same_bytes_of_the_same_graph(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.read("model.onnx"))
    rows = golden_conditions(bundle)
    noise = bundle.manifest.contract.noise
    feeds = [
        {**{name: value[None] for name, value in row.items()}, **noise_tensors(noise, [seed], [0])}
        for seed, row in enumerate(rows)
    ]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        first, second = pool.map(quantized, [model, model], [feeds, feeds])
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert bundle.read("model.onnx") == model.SerializeToString(deterministic=True)  # it is left alone


@pytest.mark.slow
def test_int8_computes_what_onnxruntime_computes_of_the_same_file(bundle: Bundle) -> None:
    """OpenVINO would carry the scales of a layer through the normalisation behind it, and get another image."""
    contract = bundle.manifest.contract
    condition = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    inputs = {"condition": condition, **noise_tensors(contract.noise, [1], [0])}
    path = next(one.path for one in bundle.manifest.artifacts if one.label == "openvino/int8")
    with OnnxRuntimeRunner(bundle.read(path), contract) as other:
        expected = other.infer(inputs)["picture"]
    with bundle.runner(backend="openvino", precision="int8") as runner:
        found = runner.infer(inputs)["picture"]
    exact = bundle.runner().infer(inputs)["picture"]
    assert np.sqrt(np.square(found - expected).mean()) < 0.3 * np.sqrt(np.square(expected - exact).mean())


@pytest.mark.slow
def test_layers_are_kept_where_the_floor_needs_it(tmp_path: Path) -> None:
    """Of a net with weights as large as these INT8 in every layer falls below it."""
    checkpoint = write_pix2pix_checkpoint(tmp_path / "facades.pt", pix2pix_generator())
    words = ("--precision", "int8", "--backend", "openvino")
    done = run_command("cgan-export", checkpoint, "-o", tmp_path / "f", *words)
    assert done.returncode == 0, done.stderr
    made = read_bundle(tmp_path / "f")
    artifact = next(one for one in made.manifest.artifacts if one.label == "openvino/int8")
    model = onnx.load_from_string(made.read(artifact.path))
    in_fp32 = {item.name for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    whole = {re.sub("_[01]{2}$", "", node.name) for node in layers if node.input[1] in in_fp32}
    assert whole == set(artifact.kept) != set()
    assert len(whole) < len(layers)


@pytest.mark.slow
def test_what_nncf_cannot_do_is_one_sentence(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class FailError(Exception):  # ONNX Runtime's own is no RuntimeError
        pass

    def fails(*_: object, **__: object) -> None:
        raise FailError("Duplicate definition-site for (Relu_2).\nand more")

    monkeypatch.setattr(_import_nncf(), "quantize", fails)
    with pytest.raises(CheckFailedError, match=r"cannot quantise the graph \(Duplicate .*\); leave out int8\.$"):
        quantized(onnx.load_from_string(bundle.read("model.onnx")), [])


@pytest.mark.slow
def test_a_net_of_upsampling_and_relu_is_quantised(tmp_path: Path) -> None:
    """NNCF's slower correction of biases cuts such a graph into parts that ONNX Runtime refuses."""
    torch.manual_seed(0)
    generator = Pix2pixGenerator(Pix2pixOptions(size=64, ngf=8, norm="instance", upsample="resize"))
    checkpoint = write_pix2pix_checkpoint(tmp_path / "resize.pt", generator)
    words = ("--precision", "int8", "--backend", "openvino")
    done = run_command("cgan-export", checkpoint, "-o", tmp_path / "f", *words)  # in a process of its own, as above
    assert done.returncode in (0, 5), done.stderr  # 5: random weights may fall below the floor
    assert "openvino/int8 (int8) against PyTorch" in done.stdout


def test_a_precision_that_this_cpu_lacks_is_refused_before_torch_is_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "lack", lambda precision: "no bfloat16 here." if precision == "bf16" else None)
    monkeypatch.setattr(command, "require_torch", lambda: pytest.fail("too late"))
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "f", *WORDS)
    assert_one_sentence(done, 1, "no bfloat16 here")
    assert not (tmp_path / "f").exists()


def test_bfloat16_needs_openvino(checkpoint: Path, tmp_path: Path) -> None:
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "f", "--precision", "bf16")
    assert_one_sentence(done, 2, "--precision bf16 is for OpenVINO: add --backend openvino")


def test_options_of_engines_are_not_for_openvino(checkpoint: Path, tmp_path: Path) -> None:
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "f", "--backend", "openvino", "--refit")
    assert_one_sentence(done, 2, "--refit is for an engine")


def test_it_says_what_to_install(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_openvino.py").write_text("def absence():\n    return 'OpenVINO is not installed; run: pip'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(RUNNERS, "openvino", RunnerKind(name="OpenVINO", module="no_openvino"))
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "f", *WORDS)
    assert_one_sentence(done, 1, "OpenVINO is not installed; run: pip")


def test_that_nncf_is_missing_is_said_before_torch_is_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "nncf" else find_spec(name))
    monkeypatch.setattr(command, "require_torch", lambda: pytest.fail("too late"))
    words = ("--backend", "openvino", "--precision", "int8")
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "f", *words)
    assert_one_sentence(done, 1, 'NNCF is not installed; run: pip install "cgan-deploy[openvino]"')


@pytest.mark.slow
def test_neither_package_reports_what_it_is_used_for(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from cgan_export.artifacts.precision.nncf_int8 import _import_nncf\n"
        "from cgan_runtime.runners.openvino import absence\n"
        "assert absence() is None\n"
        "_import_nncf()\n"
        "assert 'openvino_telemetry' not in sys.modules\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    assert list(tmp_path.iterdir()) == []
