"""The report, the comparison and the bisection find what they are there to find."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from cgan_export.artifacts.precision.fp16 import half_precision, with_rounding
from cgan_export.bundle.compare import compare_bundles
from cgan_export.bundle.writer import provenance
from cgan_export.fidelity.heatmap import coloured
from cgan_export.graph.sizes import parse_size
from cgan_export.precisions import parse_precisions
from cgan_export.report.layer_compare import layer_divergence
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import noise_tensors
from cgan_runtime.manifest import MANIFEST
from onnx import numpy_helper

from tests.helpers import assert_one_sentence, run_here
from tests.pages import check_page


def changed_copy(bundle: Bundle, target: Path, model: onnx.ModelProto) -> Bundle:
    """The bundle with another model.onnx and a manifest that vouches for it."""
    shutil.copytree(bundle.path, target)
    (target / "model.onnx").write_bytes(model.SerializeToString())
    entry = file_entry(target, "model.onnx").model_dump()
    artifacts = tuple(
        a.model_copy(update=entry) if a.path == "model.onnx" else a for a in bundle.manifest.artifacts
    )
    (target / MANIFEST).unlink()
    write_manifest(target, bundle.manifest.model_copy(update={"artifacts": artifacts}))
    return read_bundle(target)


def bent(bundle: Bundle, factor: float, at: int) -> tuple[onnx.ModelProto, str]:
    """The FP32 model with the weights of its `at`-th convolution scaled; the name of its result."""
    model = onnx.load(bundle.path / "model.onnx")
    node = [n for n in model.graph.node if n.op_type == "Conv"][at]
    weight = next(w for w in model.graph.initializer if w.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), weight.name))
    return model, node.output[0]


def is_whole(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == onnx.TensorProto.INT64


@pytest.mark.slow
def test_bisection_names_the_first_bad_layer(bundle: Bundle) -> None:
    right = onnx.load(bundle.path / "model.onnx")
    contract = bundle.manifest.contract
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    inputs = {"condition": x, **noise_tensors(contract.noise, [1], [0])}
    for at in (0, 2, 4):
        wrong, name = bent(bundle, 1.5, at)
        first = layer_divergence(right, wrong, inputs, floor_db=80).first
        assert first is not None
        assert (first.tensor, first.operator) == (name, "Conv")
    assert layer_divergence(right, right, inputs, floor_db=80).first is None
    assert layer_divergence(right, half_precision(right, io_fp16=True), inputs, floor_db=40).first is None
    operators = {name: node.op_type for node in right.graph.node for name in node.output}
    rounded = layer_divergence(right, with_rounding(half_precision(right)), inputs, floor_db=40)
    compared = {layer.tensor: layer.operator for layer in rounded.layers}
    assert compared == {name: operators[name] for name in compared}, "not the Max that rounds"
    whole = {value.name for value in onnx.shape_inference.infer_shapes(right).graph.value_info if is_whole(value)}
    assert operators.keys() - compared.keys() == whole != set()


def test_the_report_is_one_file_that_shows_every_artifact(full_bundle: Bundle) -> None:
    page = (full_bundle.path / "report.html").read_text(encoding="utf-8")
    check_page(page)
    for words in ("model.onnx (fp32)", "model.fp16.onnx (fp16)", "model.int8.onnx (int8)", "Worst of the samples"):
        assert words in page
    assert page.count("data:image/png;base64,") == 3 * 6  # four of the worst sample, two of the spread
    for artifact in full_bundle.manifest.artifacts:
        assert artifact.sha256 in page
    assert "FAILED" not in page
    assert "PyTorch with its own noise" in page
    assert str(full_bundle.path.parent) not in page


def test_a_heat_map_is_black_where_nothing_differs_and_white_where_most_does() -> None:
    pixels = coloured(np.array([[0.0, 0.5], [1.0, np.nan]]))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 0].tolist() == pixels[1, 1].tolist() == [255, 255, 255]
    assert pixels[0, 1].tolist() == [255, 128, 0]
    assert not coloured(np.zeros((2, 2))).any()


def test_verify_runs_the_gates_of_every_artifact(full_bundle: Bundle) -> None:
    done = run_here("cgan-export", "--verify", full_bundle.path, "--json")
    assert done.returncode == 0, done.stderr
    artifacts = json.loads(done.stdout)["artifacts"]
    assert list(artifacts) == ["model.onnx", "model.fp16.onnx", "model.int8.onnx"]
    assert artifacts["model.onnx"]["golden_levels"]["passed"]
    assert artifacts["model.fp16.onnx"]["fp32_psnr"]["limit"] == 60
    assert artifacts["model.int8.onnx"]["fp32_psnr"]["limit"] == 35


def test_compare_finds_a_bundle_that_moved(full_bundle: Bundle, tmp_path: Path) -> None:
    same = compare_bundles(full_bundle, full_bundle)
    assert not same.contract
    assert not same.files
    assert [(d.kept, d.levels) for d in same.drifts] == [(True, 0)] * 3
    moved = changed_copy(full_bundle, tmp_path / "moved", bent(full_bundle, 1.01, 0)[0])
    done = run_here("cgan-export", "--compare", full_bundle.path, moved.path, "--json")
    assert_one_sentence(done, 5, "model.onnx", "at most 1 level")
    told = json.loads(done.stdout)
    assert [a["kept"] for a in told["artifacts"]] == [False, True, True]
    (line,) = told["files"]
    assert line.startswith("model.onnx: differs")


def test_compare_says_which_artifact_is_gone(full_bundle: Bundle, bundle: Bundle) -> None:
    done = run_here("cgan-export", "--compare", full_bundle.path, bundle.path)
    assert_one_sentence(done, 5, "model.int8.onnx: the newer bundle has none")
    assert "only in the older bundle" in done.stdout
    assert_one_sentence(run_here("cgan-export", "--compare", bundle.path), 2, "requires an argument")


def test_exporting_twice_under_one_source_date_epoch_writes_the_same_bytes(
    full_bundle: Bundle, checkpoint: Path, calibration: Path, tmp_path: Path
) -> None:
    words = ("--precision", "int8,fp16", "--io-type", "fp16", "--calibrate", calibration)
    then = int(datetime.datetime.fromisoformat(full_bundle.manifest.provenance.created).timestamp())
    for name, seconds in (("same", then), ("later", then + 60)):
        target = tmp_path / name / "facades"
        done = run_here("cgan-export", checkpoint, "-o", target, *words, SOURCE_DATE_EPOCH=str(seconds))
        assert done.returncode == 0, done.stderr
    assert read_bundle(tmp_path / "same" / "facades").digest == full_bundle.digest
    changed = compare_bundles(full_bundle, read_bundle(tmp_path / "later" / "facades")).files
    assert [line.partition(":")[0] for line in changed] == ["README.md", "report.html"], "both name the time"


def test_a_source_date_epoch_that_is_no_time_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("yesterday", "", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        with pytest.raises(UsageError, match="whole seconds since 1970"):
            provenance(Path("best.pt"), "0" * 64, options={}, training={})


def test_a_wrong_word_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "out", "--size", "100")
    assert_one_sentence(done, 2, "multiple of 64")
    for call, said in (
        (lambda: parse_precisions("fp8"), "choose from fp32, fp16, bf16, int8"),
        (lambda: parse_size("big"), "is not a size"),
        (lambda: parse_size("128", dynamic=True), "exclude each other"),
    ):
        with pytest.raises(UsageError, match=said):
            call()


@pytest.mark.parametrize("text", ["fp16", "int8,fp32"])
def test_fp32_is_always_made(text: str) -> None:
    assert parse_precisions(text)[0] == "fp32"
