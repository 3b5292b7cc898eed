"""Whatever a bundle's files say, little is read or allocated before it is refused, in one sentence.

The promise: 5 s of CPU time after the imports, and 1 GB beyond the files' size. The kernel holds the attacks to it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import file_entry, read_bundle, write_manifest
from cgan_runtime.contract import Condition, Contract, HeatmapEncoding, ImageEncoding, NoiseInput, Output, SizeRule
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.manifest import MAX_BUNDLE_BYTES, MAX_MANIFEST_BYTES, Manifest
from cgan_runtime.npy import load_npy
from cgan_runtime.onnx_file import metadata, require_sound
from cgan_runtime.runners.base import Array, Runner, Tensors
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

from tests.runtime import tiny

GUARDED = """
import os, resource, sys
from pathlib import Path
import cgan_runtime.runners.onnxruntime as backend
from cgan_runtime.bundle import read_bundle
from cgan_runtime.errors import BundleError
backend.import_onnxruntime()
for path in sys.argv[1:]:
    if (child := os.fork()) == 0:
        files = sum(f.lstat().st_blocks * 512 for f in os.scandir(path) if f.is_file(follow_symlinks=False)
                    for f in [Path(f.path)])
        data = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + 10**9 + files, -1))
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 5
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        try:
            read_bundle(Path(path)).runner()
            print("accepted", flush=True)
        except BundleError as error:
            print(f"BundleError: {str(error)!r}", flush=True)
        except BaseException as error:
            print(f"{type(error).__name__}: {error!r}", flush=True)
        os._exit(0)
    if (status := os.waitpid(child, 0)[1]) != 0:
        print(f"killed: {status}", flush=True)
"""

Document = dict[str, Any]


def set_manifest(root: Path, change: Callable[[Document], object]) -> None:
    """Change bundle.json and give it the digest that fits, where a JSON writer can."""
    from cgan_runtime.manifest import _digest, _text

    document = json.loads((root / "bundle.json").read_text())
    document.pop("digest")
    change(document)
    (root / "bundle.json").write_text(_text({**document, "digest": _digest(document)}), encoding="utf-8")


def put(document: Document, path: str, value: object) -> None:
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    inner: Any = document
    for key in parents:
        inner = inner[key]
    inner[last] = value


def changing(path: str, value: object) -> Callable[[Path], None]:
    def attack(root: Path) -> None:
        set_manifest(root, lambda document: put(document, path, value))

    return attack


def huge_manifest(root: Path) -> None:
    os.truncate(root / "bundle.json", 3 << 30)


def huge_model(root: Path) -> None:
    os.truncate(root / "model.onnx", 1 << 40)


def huge_listed_model(root: Path) -> None:
    os.truncate(root / "model.onnx", 1 << 40)
    changing("artifacts.0.bytes", 1 << 40)(root)


def nested_folders(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def many_files(root: Path) -> None:
    (root / "more").mkdir()
    for number in range(5000):
        (root / "more" / str(number)).touch()


def a_pipe_for_a_manifest(root: Path) -> None:
    (root / "bundle.json").unlink()
    os.mkfifo(root / "bundle.json")


def a_link_for_a_manifest(root: Path) -> None:
    (root / "bundle.json").unlink()
    (root / "bundle.json").symlink_to("/dev/zero")


def text(find: str, put_instead: str) -> Callable[[Path], None]:
    def attack(root: Path) -> None:
        content = (root / "bundle.json").read_text()
        assert find in content
        (root / "bundle.json").write_text(content.replace(find, put_instead, 1))

    return attack


def with_model(root: Path, data: bytes) -> None:
    """A bundle whose hashes are all right, of another model."""
    manifest = read_bundle(root).manifest
    (root / "model.onnx").write_bytes(data)
    artifact = manifest.artifacts[0].model_copy(update=file_entry(root, "model.onnx").model_dump())
    write_manifest(root, manifest.model_copy(update={"artifacts": (artifact,)}))


def changed_model(root: Path, change: Callable[[ModelProto], object]) -> None:
    model = ModelProto.FromString((root / "model.onnx").read_bytes())
    change(model)
    with_model(root, model.SerializeToString())


def an_operator_of_control_characters(root: Path) -> None:
    changed_model(root, lambda model: setattr(model.graph.node[0], "op_type", "\x1b[2J\nAdd"))


def a_sparse_tensor(root: Path) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    at = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    sparse = SparseTensorProto(values=values, indices=at, dims=[1 << 40])
    changed_model(root, lambda model: model.graph.sparse_initializer.append(sparse))


def an_absurd_tensor(root: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20], raw_data=b"\0" * 4)
    changed_model(root, lambda model: model.graph.initializer.append(weight))


def a_negative_tensor(root: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, 4], raw_data=b"\0" * 16)
    changed_model(root, lambda model: model.graph.initializer.append(weight))


def a_million_parts(root: Path) -> None:
    with_model(root, b"\x08\x08" * 5_000_000)


def another_contract(root: Path) -> None:
    own = read_bundle(root).manifest.contract
    other = own.model_copy(update={"statistics": "running"})
    entry = {"cgan.contract": json.dumps(other.to_json())}
    changed_model(root, lambda model: helper.set_model_props(model, entry))


def a_damaged_contract(root: Path) -> None:
    changed_model(root, lambda model: helper.set_model_props(model, {"cgan.contract": "[" * 100_000}))


def folded_constants(root: Path) -> None:
    """Nine products of matrices of 36 MB, from a file of some hundred bytes."""

    def fold(model: ModelProto) -> None:
        nodes = [helper.make_node("ConstantOfShape", ["big_shape"], ["m0"])]
        nodes += [helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(9)]
        nodes += [helper.make_node("ReduceSum", ["m9"], ["zero"], keepdims=0)]
        last = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = [f"{name}_" if name == last else name for name in node.output]
        nodes.append(helper.make_node("Add", [f"{last}_", "zero"], [last]))
        model.graph.node.extend(nodes)
        model.graph.initializer.append(numpy_helper.from_array(np.array([3000, 3000]), "big_shape"))

    changed_model(root, fold)


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "3 GB of manifest": (huge_manifest, "not a bundle manifest or is damaged"),
    "a model of 1 TB": (huge_model, "model.onnx is damaged"),
    "a listed model of 1 TB": (huge_listed_model, "at artifacts.0.bytes"),
    "nested folders": (nested_folders, "d is not listed"),
    "many files": (many_files, "more is not listed"),
    "a pipe": (a_pipe_for_a_manifest, "is not a plain file"),
    "a link to a device": (a_link_for_a_manifest, "is a link"),
    "1e999": (text('"index": 0', '"index": 1e999'), "damaged or was edited"),
    "a key twice": (text('"family":', '"family": "x",\n "family":'), "damaged or was edited"),
    "a number of 10,000 digits": (text('"index": 0', '"index": ' + "9" * 10_000), "damaged"),
    "1e308": (changing("contract.outputs.0.range", [-1e308, 1e308]), "at contract.outputs.0.range"),
    "a tiny deviation": (changing("contract.outputs.0.encoding.std", [1e-300]), "at contract.outputs.0.encoding"),
    "a shape of 2**48": (changing("contract.noise.0.shape", [65536] * 3), "one sample has 2.81e+14 values"),
    "many axes": (changing("contract.noise.0.shape", [1] * 100_000), "at contract.noise.0.shape"),
    "an axis with a bomb": (changing("contract.noise.0.shape", ["99999*h"] * 7), "one sample has"),
    "an axis of another form": (changing("contract.noise.0.shape", ["h-1"]), "at contract.noise.0.shape"),
    "a truncation without end": (
        changing(
            "contract.noise.0",
            {"name": "z", "index": 0, "distribution": "truncated_normal", "shape": [4], "parameters": {"c": 1e-9}},
        ),
        "needs c of at least 0.1",
    ),
    "a long version": (changing("schema_version", "9" * 1_000_000), "has schema version '9999"),
    "true for a version": (changing("schema_version", True), "has schema version True"),
    "orders to the terminal": (changing("\x1b[2J\nx" * 10_000, 1), "does not follow the bundle schema"),
    "half a million files": (changing("files", [{}] * 200_000), "at files"),
    "a deep manifest": (changing("provenance.training", {"a": json.loads("[" * 900 + "]" * 900)}), "schema at"),
    "golden of another contract": (
        changing("golden", [{"seed": 1, "draw": 0, "conditions": {}, "outputs": {}}]),
        "golden has other conditions",
    ),
    "a sparse tensor": (a_sparse_tensor, "it has sparse tensors"),
    "an absurd tensor": (an_absurd_tensor, "it has 1.1e+12 values, in"),
    "a negative tensor": (a_negative_tensor, "values, in"),
    "a million parts": (a_million_parts, "more than 1000000 parts"),
    "another contract": (another_contract, "another contract"),
    "an operator of control characters": (an_operator_of_control_characters, "ONNX Runtime cannot load the model"),
    "a damaged contract": (a_damaged_contract, "metadata is damaged"),
}


@pytest.mark.slow
def test_every_attack_is_refused_within_the_promise(tmp_path: Path, tiny_root: Path, shoes: object) -> None:
    assert shoes
    roots = []
    for number, (attack, _) in enumerate(ATTACKS.values()):
        roots.append(Path(shutil.copytree(tiny_root / "shoes", tmp_path / str(number))))
        attack(roots[-1])
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, *roots], capture_output=True, text=True, check=True, timeout=280
    )
    answers = dict(zip(ATTACKS, done.stdout.splitlines(), strict=True))
    wrong = {
        name: answers[name]
        for name, (_, part) in ATTACKS.items()
        if not answers[name].startswith("BundleError")
        or part not in answers[name]
        or len(answers[name]) > 900
        or "\\x1b" in answers[name]
    }
    assert not wrong


@pytest.mark.slow
def test_constants_far_larger_than_the_file_are_not_computed_at_loading(
    tmp_path: Path, tiny_root: Path, shoes: object
) -> None:
    assert shoes
    root = Path(shutil.copytree(tiny_root / "shoes", tmp_path / "shoes"))
    folded_constants(root)
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, root], capture_output=True, text=True, check=True, timeout=280
    )
    assert done.stdout == "accepted\n"  # within the promise: it has not been computed


def test_the_encodings_take_no_numbers_that_make_an_image_of_infinities() -> None:
    for fields in ({"std": (1e-300,)}, {"std": (1e300,)}, {"std": (0.0,)}, {"std": (-1.0,)}, {"mean": (1e200,)}):
        with pytest.raises(ValueError, match="Input should be"):
            ImageEncoding.model_validate({"color": "L", "mean": (0.0,), "std": (1.0,), **fields})
    for limits in ((0.0, 0.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="a range from low to high"):
            Output(name="change", shape=(1, 8, 8), range=limits, encoding=HeatmapEncoding())


class Nothing(Runner):
    """Executes nothing."""

    @property
    def description(self) -> str:
        return "nothing"

    def _infer(self, inputs: Tensors) -> dict[str, Array]:
        raise AssertionError(f"reached with {sorted(inputs)}")


def test_noise_that_grows_beyond_all_bounds_with_the_image_is_not_drawn() -> None:
    sides = SizeRule(multiple=1, min=8, max=65536)
    contract = Contract(
        conditions=(Condition(name="condition", shape=(3, "h", "w")),),
        noise=(NoiseInput(name="z", index=0, distribution="normal", shape=(4096, "h", "w")),),
        outputs=(Output(name="picture", shape=(3, "h", "w")),),
        statistics="none",
        sides=sides,
    )
    generator = SeededGenerator(Nothing(contract))
    with pytest.raises(UsageError, match=r"one sample has 6\.88e\+10 values.*take a smaller image"):
        generator.generate({"condition": np.zeros((1, 3, 4096, 4096), np.float32)}, [1], [0])


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (68719476736,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 3000 + "), }",
        "(" * 2000,
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (" + "9" * 30 + ",), }",
    ],
)
def test_a_npy_file_whose_header_lies_is_no_array(header: str) -> None:
    head = header.encode()
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 64
    with pytest.raises(ValueError, match=r"."):
        load_npy(data)


def test_a_npy_file_is_read_as_numpy_wrote_it(tmp_path: Path) -> None:
    for array in (np.float32(3), np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.asfortranarray(np.eye(3))):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(load_npy((tmp_path / "a.npy").read_bytes()), array)
    with pytest.raises(ValueError, match="not as long as the header says"):
        load_npy((tmp_path / "a.npy").read_bytes()[:-1])


def test_the_largest_honest_files_are_within_the_bounds(bundle_path: Path) -> None:
    model = (bundle_path / "model.onnx").read_bytes()
    require_sound(model)
    assert (
        Contract.from_json(json.loads(metadata(model)["cgan.contract"]))
        == read_bundle(bundle_path).manifest.contract
    )
    assert len((bundle_path / "bundle.json").read_bytes()) * 50 < MAX_MANIFEST_BYTES
    assert MAX_BUNDLE_BYTES >= 2 << 30  # an ONNX file of one piece


def test_all_files_together_are_bounded_too(tiny_root: Path, shoes: object) -> None:
    assert shoes
    manifest = read_bundle(tiny_root / "shoes").manifest
    half = [{"path": f"x{i}", "sha256": "0" * 64, "bytes": MAX_BUNDLE_BYTES // 2} for i in range(3)]
    document = {**manifest.model_dump(mode="json"), "files": half}
    with pytest.raises(ValueError, match="more than 4 GiB in all"):
        Manifest.model_validate_json(json.dumps(document))


def test_the_metadata_of_another_bundle_is_refused(tmp_path: Path, bundle_path: Path) -> None:
    contract = tiny.shoes(tmp_path).manifest.contract
    with pytest.raises(BundleError, match="it has another contract; export it again"):
        OnnxRuntimeRunner((bundle_path / "model.onnx").read_bytes(), contract)
