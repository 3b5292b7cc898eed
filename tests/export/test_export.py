"""A checkpoint becomes the same model, whole or not at all."""

from __future__ import annotations

import json
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from cgan_export.bundle.verify import verify_bundle
from cgan_export.export import export_checkpoint
from cgan_export.graph.lint import lint
from cgan_export.graph.onnx_graph import onnx_from_generator
from cgan_export.graph.statistics import with_statistics
from cgan_export.model_name import model_name
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.claims import claim
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, CheckFailedError, UsageError
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.helpers import assert_one_sentence, pix2pix_generator, run_here, write_pix2pix_checkpoint
from tests.toys import LabelGenerator


def contract_of(generator: Pix2pixGenerator | LabelGenerator) -> Contract:
    return generator.contract


def test_the_bundle_has_what_was_promised(bundle: Bundle) -> None:
    model = onnx.load(bundle.path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert {i.name: i.type.tensor_type.shape.dim[0].dim_param for i in model.graph.input} == {
        "condition": "batch",
        "mask_0": "samples",
        "mask_1": "samples",
        "mask_2": "samples",
    }
    properties = {p.key: p.value for p in model.metadata_props}
    assert Contract.model_validate_json(properties["cgan.contract"]) == bundle.manifest.contract
    assert properties["cgan.statistics"] == "per_sample"
    assert all(not node.metadata_props and not node.doc_string for node in model.graph.node)
    assert {node.op_type for node in model.graph.node} >= {"ReduceMean", "Concat", "Mul"}
    assert b".py" not in (bundle.path / "model.onnx").read_bytes()
    assert [c.name for c in bundle.manifest.contract.noise] == ["mask_0", "mask_1", "mask_2"]
    card = (bundle.path / "README.md").read_text()
    assert "difference from PyTorch, largest" in card
    assert "cgan-translate" in card


@pytest.mark.slow
def test_the_command_prints_figures_sizes_and_the_next_commands(checkpoint: Path, tmp_path: Path) -> None:
    done = run_here("cgan-export", checkpoint, "-o", tmp_path / "out", "--name", "palace")
    assert done.returncode == 0, done.stderr
    for words in ("difference from PyTorch", "model.onnx", " MB", "cgan-serve", "cgan-export verify", "palace"):
        assert words in done.stdout
    again = run_here("cgan-export", checkpoint, "-o", tmp_path / "out", "--name", "palace")
    assert_one_sentence(again, 2, "exists already", "--force")


@pytest.mark.slow
def test_exporting_twice_gives_the_same_bytes_but_for_the_time(checkpoint: Path, bundle: Bundle) -> None:
    _, exported = export_checkpoint(checkpoint, name="facades")
    assert exported.model == (bundle.path / "model.onnx").read_bytes()


@pytest.mark.slow
def test_running_statistics_fold_the_averages_of_training() -> None:
    """Against batch normalisation written out with the running averages of every layer."""
    generator = pix2pix_generator(ngf=4, seed=3)
    fixed, contract = with_statistics(generator, contract_of(generator), "running")
    assert contract.statistics == "running"
    model = onnx_from_generator(fixed, contract)
    assert not any("Normalization" in node.op_type for node in model.graph.node)
    inputs = random_inputs(contract, 2)

    def averaged(module: nn.BatchNorm2d, args: tuple[Tensor, ...], _: Tensor) -> Tensor:
        return F.batch_norm(
            args[0], module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
        )

    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    hooks = [norm.register_forward_hook(averaged) for norm in norms]
    with torch.no_grad():
        expected = generator.eval()(*map(torch.from_numpy, inputs.values()))[0].numpy()
        for hook in hooks:
            hook.remove()
        per_sample = generator(*map(torch.from_numpy, inputs.values()))[0].numpy()
    ours = OnnxRuntimeRunner(model.SerializeToString(), contract).infer(inputs)["picture"]
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.abs(ours - per_sample).max() > 0.01


@pytest.mark.slow
def test_the_command_takes_the_policy(checkpoint: Path, tmp_path: Path) -> None:
    words = ("--statistics", "running", "-o", tmp_path / "averaged", "--json")
    done = run_here("cgan-export", checkpoint, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["parity_max_abs"]["passed"]
    manifest = json.loads((tmp_path / "averaged" / "bundle.json").read_text())
    assert manifest["contract"]["statistics"] == "running"


def random_inputs(contract: Contract, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {t.name: (batch, *(int(a) for a in t.shape)) for t in contract.inputs}
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def test_a_policy_for_a_net_without_batch_norm_is_refused() -> None:
    class Plain(LabelGenerator):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.Identity()  # type: ignore[assignment] # the point of the test

    with pytest.raises(UsageError, match="has no batch-norm layer"):
        with_statistics(Plain(), contract_of(LabelGenerator()), "running")


DRAWS = helper.make_graph(
    [helper.make_node("RandomNormalLike", ["x"], ["inner"])],
    "draws",
    [],
    [helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["n", 4])],
)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("Dropout", ["x"], ["y"]), "draws random numbers itself"),
        (helper.make_node("RandomNormalLike", ["x"], ["y"]), "draws random numbers itself"),
        (helper.make_node("Bernoulli", ["x"], ["y"]), "draws random numbers itself"),
        (
            helper.make_node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "m", "v"], training_mode=1),
            "normalises over the batch",
        ),
        (helper.make_node("If", ["c"], ["y"], then_branch=DRAWS, else_branch=DRAWS), "draws random numbers itself"),
        (helper.make_node("NoSuchOperator", ["x"], ["y"]), "onnx.checker refuses"),
    ],
)
def test_a_graph_that_is_no_pure_function_is_refused(node: onnx.NodeProto, words: str) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    scale = numpy_helper.from_array(np.ones(4, dtype=np.float32), "s")
    graph = helper.make_graph([node], "g", values[:1], values[1:], [scale])
    with pytest.raises(CheckFailedError, match=words):
        lint(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


class Hostile:
    """A pickle that writes a file when it is loaded the unsafe way."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (f"open({str(self.sentinel)!r}, 'w').close()",)


def test_a_pickle_that_would_run_code_never_does(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    plain, zipped = tmp_path / "plain.pt", tmp_path / "zipped.pt"
    plain.write_bytes(pickle.dumps(Hostile(sentinel)))
    torch.save({"generator": Hostile(sentinel)}, zipped)
    for path in (plain, zipped):
        assert_one_sentence(run_here("cgan-export", path, "-o", tmp_path / "out"), 3, path.name)
    assert not sentinel.exists()
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "words.pt").write_text("these are words")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    damaged = bytearray(checkpoint.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "flipped.pt").write_bytes(damaged)
    for name in ("words.pt", "empty.pt", "cut.pt", "flipped.pt", "nothing.pt"):
        done = run_here("cgan-export", tmp_path / name, "-o", tmp_path / "out")
        assert_one_sentence(done, 3, name)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_model_that_fails_a_gate_is_not_written(tmp_path: Path) -> None:
    """A generator that is constant: its noise is dead."""
    generator = pix2pix_generator(ngf=4)
    with torch.no_grad():
        for weights in generator.parameters():
            weights.zero_()
    path = write_pix2pix_checkpoint(tmp_path / "dead.pt", generator)
    done = run_here("cgan-export", path, "-o", tmp_path / "out")
    assert_one_sentence(
        done,
        5,
        "failed its fidelity gates",
        "another seed, smallest change: 0, needed at least 1e-06",
        "out.failed.html",
    )
    assert "FAILED" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dead.pt", "out.failed.html"]
    page = (tmp_path / "out.failed.html").read_text()
    assert "FAILED" in page
    assert "Layer by layer" in page


@pytest.mark.slow
def test_where_one_precision_fails_the_bundle_has_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights so large that FP16's rounding grows from layer to layer, and no layers that would mend it."""
    monkeypatch.setattr("cgan_export.artifacts.artifacts.layers_to_keep", lambda *_, **__: ())
    generator = pix2pix_generator()
    with torch.no_grad():
        for weights in generator.parameters():
            if weights.dim() == 4:
                weights.mul_(1.6)
    path = write_pix2pix_checkpoint(tmp_path / "hard.pt", generator)
    done = run_here("cgan-export", path, "-o", tmp_path / "out", "--precision", "fp32,fp16")
    told = ("as fp16 failed", "PSNR to PyTorch, worst sample: ", "out holds what passed: model.onnx.")
    assert_one_sentence(done, 5, *told)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hard.pt", "out", "out.failed.html"]
    assert [artifact.precision for artifact in read_bundle(tmp_path / "out").manifest.artifacts] == ["fp32"]
    assert "model.fp16.onnx, PSNR to PyTorch" in (tmp_path / "out.failed.html").read_text()
    assert "fp16" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--io-type", "fp16"), ["--io-type is for the FP16 file", "--precision fp32,fp16"]),
        (("--calibrate", "images"), ["--calibrate is for INT8", "--precision fp32,int8"]),
        (("--name", "my model"), ["--name 'my model' cannot be used", "letters"]),
    ],
)
def test_what_would_have_no_effect_or_fail_at_the_end_is_refused_at_once(
    checkpoint: Path, tmp_path: Path, words: tuple[str, ...], parts: list[str]
) -> None:
    assert_one_sentence(run_here("cgan-export", checkpoint, "-o", tmp_path / "out", *words), 2, *parts)
    assert list(tmp_path.iterdir()) == []


def notes(root: Path) -> None:
    (root / "golden" / "notes.txt").write_text("mine")


def a_folder(root: Path) -> None:
    (root / "holidays").mkdir()


def another_json(root: Path) -> None:
    (root / "bundle.json").write_text(json.dumps({"name": "my-website", "files": [], "artifacts": []}))


def no_json(root: Path) -> None:
    (root / "bundle.json").write_text("const x = 1")


def no_manifest(root: Path) -> None:
    (root / "bundle.json").unlink()


@pytest.mark.parametrize("change", [notes, a_folder, another_json, no_json, no_manifest])
def test_force_replaces_nothing_but_what_an_export_wrote(
    checkpoint: Path, bundle_path: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = Path(shutil.copytree(bundle_path, tmp_path / "facades"))
    change(root)
    before = {path: path.is_file() and path.read_bytes() for path in root.rglob("*")}
    done = run_here("cgan-export", checkpoint, "-o", root, "--force")
    assert_one_sentence(done, 2, "replace")
    assert {path: path.is_file() and path.read_bytes() for path in root.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [root]


def test_force_never_removes_the_checkpoint_itself(checkpoint: Path, bundle_path: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(bundle_path, tmp_path / "facades"))
    shutil.copy(checkpoint, root / "best.pt")
    done = run_here("cgan-export", root / "best.pt", "-o", root, "--force")
    assert_one_sentence(done, 2, "which --force would remove")
    assert (root / "best.pt").read_bytes() == checkpoint.read_bytes()


@pytest.mark.slow
def test_force_replaces_a_bundle_even_a_damaged_one(checkpoint: Path, bundle_path: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(bundle_path, tmp_path / "facades"))
    (root / "model.onnx").write_bytes(b"damaged")
    assert run_here("cgan-export", checkpoint, "-o", root, "--force").returncode == 0
    read_bundle(root)
    assert list(tmp_path.iterdir()) == [root]


def test_of_two_exports_to_one_place_the_second_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with claim(tmp_path / "facades"):
        done = run_here("cgan-export", checkpoint, "-o", tmp_path / "facades")
    assert_one_sentence(done, 1, "another process is writing to", "wait until it has ended")
    assert list(tmp_path.iterdir()) == []


def test_golden_samples_are_those_that_were_hashed(bundle_path: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(bundle_path, tmp_path / "facades"))
    bundle = read_bundle(root)
    shutil.copy(root / "golden" / "0-picture.png", root / "golden" / "1-picture.png")
    with pytest.raises(BundleError, match=r"1-picture\.png is damaged"):
        verify_bundle(bundle)


def test_a_name_taken_from_a_file_fits_every_client() -> None:
    assert model_name(Path("café 2.pt")) == "caf__2"


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(checkpoint: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("cgan-export"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [program, str(checkpoint), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert_one_sentence(done, 1, "no room left on the disk")
    assert list(tmp_path.iterdir()) == []


def test_verify_finds_a_bundle_that_does_not_hold(bundle: Bundle) -> None:
    done = run_here("cgan-export", "--verify", bundle.path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == bundle.digest
    assert_one_sentence(run_here("cgan-export", "--verify", bundle.path.parent), 3, "is not a bundle")
