"""A bundle is used whole and unchanged, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle, file_entry, read_bundle, write_manifest
from cgan_runtime.contract import VectorEncoding
from cgan_runtime.encodings import decoder_of, encoder_of
from cgan_runtime.errors import BundleError, CganError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.images import read_image
from cgan_runtime.manifest import Artifact, Manifest, dumps, loads, needed_version
from cgan_runtime.onnx_file import has_external_data, has_halves
from cgan_runtime.runners import RUNNERS
from cgan_runtime.runners.onnxruntime import OnnxRuntimeRunner
from cgan_runtime.serving.repository import RepositoryOptions, write_repository
from onnx import TensorProto, helper, numpy_helper

from tests.helpers import assert_one_sentence, run_here

# Exported by the code before version 2 existed, without its report and image grid.
VERSION_1 = Path(__file__).parent / "old" / "bundle-v1"
VERSION_1_DIGEST = "812a23cde0dbb79ed6f538fdb6957c0232db3fbefb3234ee2a8f65c6515c2dca"


@pytest.fixture
def copy(tmp_path: Path, bundle_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(bundle_path, tmp_path / "facades"))


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def test_an_intact_copy_is_the_same_bundle(copy: Path, bundle_path: Path) -> None:
    assert read_bundle(copy).digest == read_bundle(bundle_path).digest
    assert read_bundle(copy).artifact().size == (64, 64)


def test_any_flipped_bit_in_any_file_is_noticed(copy: Path) -> None:
    rng = np.random.default_rng(0)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        intact = path.read_bytes()
        for _ in range(60 if path.name == "bundle.json" else 4):
            flip(path, int(rng.integers(len(intact))), int(rng.integers(8)))
            for hold in (None, ("onnxruntime", "fp32")):
                with pytest.raises(BundleError):
                    read_bundle(copy, hold=hold)
            path.write_bytes(intact)
    read_bundle(copy)


@pytest.mark.slow
def test_every_bit_of_the_manifests_first_and_last_bytes(copy: Path) -> None:
    manifest = copy / "bundle.json"
    size = manifest.stat().st_size
    for offset in (*range(60), *range(size - 90, size)):
        for bit in range(8):
            flip(manifest, offset, bit)
            with pytest.raises(BundleError):
                read_bundle(copy)
            flip(manifest, offset, bit)


def damage_truncated(root: Path) -> None:
    path = root / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def damage_missing(root: Path) -> None:
    (root / "golden" / "0-picture.png").unlink()


def damage_extra(root: Path) -> None:
    (root / "golden" / "notes.txt").write_text("mine")


def damage_hidden_extra(root: Path) -> None:
    (root / ".cache").mkdir()
    (root / ".cache" / "x").write_text("mine")


def damage_link(root: Path) -> None:
    path = root / "model.onnx"
    path.rename(root.parent / "elsewhere.onnx")
    path.symlink_to(root.parent / "elsewhere.onnx")


def damage_linked_folder(root: Path) -> None:
    (root / "golden").rename(root.parent / "golden")
    (root / "golden").symlink_to(root.parent / "golden", target_is_directory=True)


def damage_pipe(root: Path) -> None:
    os.mkfifo(root / "pipe")


def damage_no_manifest(root: Path) -> None:
    (root / "bundle.json").unlink()


def damage_nan(root: Path) -> None:
    path = root / "bundle.json"
    path.write_text(path.read_text().replace('"draw": 0', '"draw": NaN', 1))


def damage_surrogate(root: Path) -> None:
    path = root / "bundle.json"
    path.write_text(path.read_text().replace('"name": "facades"', '"name": "\\ud800"', 1))


def damage_newer(root: Path) -> None:
    path = root / "bundle.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 5'))


def damage_edited(root: Path) -> None:
    path = root / "bundle.json"
    path.write_text(path.read_text().replace('"name": "facades"', '"name": "palaces"'))


def damage_reformatted(root: Path) -> None:
    path = root / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))


def damage_not_json(root: Path) -> None:
    (root / "bundle.json").write_text("[" * 100_000)


DAMAGES = {
    damage_truncated: "model.onnx is damaged",
    damage_missing: "0-picture.png is missing",
    damage_nan: "damaged or was edited",
    damage_surrogate: "damaged or was edited",
    damage_extra: "notes.txt is not listed",
    damage_hidden_extra: ".cache is not listed",
    damage_link: "model.onnx is a link",
    damage_linked_folder: "golden is a link",
    damage_pipe: "pipe is not a plain file",
    damage_no_manifest: "is not a bundle: it has no bundle.json",
    damage_newer: "schema version 5, this release reads 1, 2, 3 and 4",
    damage_edited: "damaged or was edited",
    damage_reformatted: "damaged or was edited",
    damage_not_json: "not a bundle manifest or is damaged",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_bundle_is_refused_in_one_sentence_with_exit_code_3(copy: Path, damage: object) -> None:
    assert callable(damage)
    damage(copy)
    picture = copy.parent / "in.png"
    picture.write_bytes(b"never reached")
    done = run_here("cgan-translate", picture, "--bundle", copy, "--seed", "7")
    assert_one_sentence(done, 3, DAMAGES[damage])


@pytest.mark.parametrize("words", [("nothing",), ("facades.pt",)])
def test_what_is_no_folder_is_explained(tmp_path: Path, words: tuple[str]) -> None:
    path = tmp_path / words[0]
    if path.suffix:
        path.write_bytes(b"weights")
    with pytest.raises(BundleError, match="cgan-export"):
        read_bundle(path)


def model_with_external_weight(location: str) -> bytes:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight])
    return bytes(helper.make_model(graph).SerializeToString())


def test_external_data_is_refused_even_when_every_hash_is_right(copy: Path) -> None:
    manifest = read_bundle(copy).manifest
    (copy / "model.onnx").write_bytes(model_with_external_weight("golden/0-picture.png"))
    entry = file_entry(copy, "model.onnx")
    artifact = manifest.artifacts[0].model_copy(update=entry.model_dump())
    write_manifest(copy, manifest.model_copy(update={"artifacts": (artifact,)}))
    with pytest.raises(BundleError, match="keeps tensors in other files; export it again"):
        read_bundle(copy).runner()


def test_external_data_is_found_wherever_a_tensor_can_hide() -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="x")
    inner = helper.make_graph([], "inner", [], [], [weight])
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    branch = helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=helper.make_graph([], "e", [], []))
    for nodes, initializers in (([], [weight]), ([constant], []), ([branch], [])):
        model = helper.make_model(helper.make_graph(nodes, "g", [], [], initializers))
        assert has_external_data(model.SerializeToString())
    plain = numpy_helper.from_array(np.ones(4, dtype=np.float32), "w")
    assert not has_external_data(helper.make_model(helper.make_graph([], "g", [], [], [plain])).SerializeToString())


def test_weights_in_half_precision_are_seen() -> None:
    """In initializers, constants and sub-graphs, beside others; nothing else counts as one."""
    types = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.BFLOAT16, TensorProto.FLOAT16)
    for kind in types:
        tensor = helper.make_tensor("w", kind, [2], [1, 10])
        other = helper.make_tensor("o", TensorProto.FLOAT, [10], [10] * 10)
        constant = helper.make_node("Constant", [], ["c"], value=tensor)
        inner = helper.make_graph([constant], "inner", [], [])
        branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        for nodes, weights in (([], [other, tensor]), ([constant], [other]), ([branch], [other])):
            model = helper.make_model(helper.make_graph(nodes, "g", [], [], weights)).SerializeToString()
            assert has_halves(model) == (kind == TensorProto.FLOAT16)


@pytest.mark.parametrize("data", [b"\xff" * 30, b"not a model", b"\x3a\x7f"])
def test_a_file_that_is_no_model_is_one_sentence(bundle_path: Path, data: bytes) -> None:
    with pytest.raises(BundleError) as refusal:
        OnnxRuntimeRunner(data, read_bundle(bundle_path).manifest.contract)
    assert "\n" not in str(refusal.value)


def test_the_manifest_survives_its_own_text(bundle_path: Path) -> None:
    manifest, digest = loads((bundle_path / "bundle.json").read_bytes(), "bundle.json")
    assert dumps(manifest).encode() == (bundle_path / "bundle.json").read_bytes()
    assert json.loads(dumps(manifest))["digest"] == digest
    assert any(golden.seed == 2**64 - 1 for golden in manifest.golden)
    assert '"18446744073709551615"' in dumps(manifest)


def test_a_bundle_of_version_1_reads_and_gives_its_golden_images() -> None:
    old = read_bundle(VERSION_1)
    assert (old.digest, old.manifest.schema_version) == (VERSION_1_DIGEST, 1)
    assert dumps(old.manifest).encode() == (VERSION_1 / "bundle.json").read_bytes()
    (condition,), (output,) = old.manifest.contract.conditions, old.manifest.contract.outputs
    with old.runner() as runner:
        for golden in old.manifest.golden:
            given = encoder_of(condition).encode(VERSION_1 / golden.conditions["condition"], condition)
            answer = SeededGenerator(runner).generate({"condition": given[None]}, [golden.seed], [golden.draw])
            made = decoder_of(output).decode(answer["picture"][0], output)
            assert isinstance(made, bytes)
            ours, theirs = (
                np.asarray(read_image(image)).astype(int) for image in (made, VERSION_1 / golden.outputs["picture"])
            )
            assert np.abs(ours - theirs).max() <= 1
            assert (ours != theirs).mean() <= 0.001


def test_version_2_is_written_only_where_version_1_could_not_say_it(
    bundle: Bundle, shoes: Bundle, clouds: Bundle
) -> None:
    assert [item.manifest.schema_version for item in (bundle, shoes, clouds)] == [1, 1, 2]
    raw = shoes.manifest.contract.conditions[0].model_copy(update={"dtype": "float32", "encoding": None})
    contract = shoes.manifest.contract.model_copy(update={"conditions": (raw,)})
    assert needed_version(contract) == 1
    vector = raw.model_copy(update={"encoding": VectorEncoding()})
    assert needed_version(contract.model_copy(update={"conditions": (vector,)})) == 2
    other = shoes.manifest.artifacts[0].model_copy(update={"backend": "later"})
    assert needed_version(contract, [other]) == 2
    assert needed_version(contract, graph="BtoA") == 2
    plain, later = (json.loads(dumps(item.manifest)) for item in (bundle, clouds))
    assert "graph" not in plain["provenance"]  # an older release refuses a field it does not know
    assert not any("label" in figure for figure in plain["artifacts"][0]["fidelity"].values())
    assert later["provenance"]["graph"] == "main"


def test_a_version_that_is_too_low_for_what_it_says_is_refused(clouds: Bundle, tmp_path: Path) -> None:
    root = Path(shutil.copytree(clouds.path, tmp_path / "clouds"))
    write_manifest(root, clouds.manifest.model_copy(update={"schema_version": 1}))
    with pytest.raises(BundleError, match="its encodings, backends and graph need version 2"):
        read_bundle(root)


def with_another(bundle: Bundle, **changes: object) -> Manifest:
    """The manifest with a second artifact: the first one with these changes."""
    (artifact,) = bundle.manifest.artifacts
    other = Artifact.model_validate({**artifact.model_dump(), **changes})
    fields = {**dict(bundle.manifest), "artifacts": (artifact, other)}
    fields.pop("schema_version")
    return Manifest(**fields)


def test_a_file_may_be_the_artifact_of_several_backends(shoes: Bundle, tmp_path: Path) -> None:
    manifest = with_another(shoes, backend="openvino")
    assert manifest.schema_version == 4
    assert len(manifest.all_files) == len(shoes.manifest.all_files)
    assert manifest.model_digest == shoes.model_digest
    root = Path(shutil.copytree(shoes.path, tmp_path / "shoes"))
    write_manifest(root, manifest)
    assert [a.backend for a in read_bundle(root).manifest.artifacts] == ["onnxruntime", "openvino"]
    assert with_another(shoes, precision="bf16", backend="openvino").schema_version == 4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backend": "openvino", "sha256": "0" * 64},
        {"backend": "openvino", "bytes": 1},
        {"io": "fp16", "precision": "fp16"},
    ],
)
def test_but_it_is_one_file_with_one_use_each(shoes: Bundle, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a file is listed twice"):
        with_another(shoes, **changes)


def with_backend(bundle: Bundle, root: Path, backend: str) -> Bundle:
    """A copy whose one artifact claims another backend."""
    shutil.copytree(bundle.path, root)
    (artifact,) = bundle.manifest.artifacts
    other = Artifact.model_validate({**artifact.model_dump(), "backend": backend})
    fields = {**dict(bundle.manifest), "artifacts": (other,)}
    fields.pop("schema_version")
    write_manifest(root, Manifest(**fields))
    return read_bundle(root)


def test_a_backend_without_a_runner_is_named(shoes: Bundle, tmp_path: Path) -> None:
    later = with_backend(shoes, tmp_path / "shoes", "later")
    assert later.manifest.schema_version == 2
    with pytest.raises(CganError, match="this release cannot run later artifacts, only: onnxruntime"):
        later.runner(backend="later")
    with pytest.raises(BundleError, match="no onnxruntime fp32 artifact, only: later fp32"):
        later.runner()
    assert "later" not in RUNNERS


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", ".hidden", "a/b/c/d", "a\\b", "", "a/"])
def test_paths_that_leave_the_bundle_are_not_of_the_schema(bundle_path: Path, path: str) -> None:
    document = json.loads((bundle_path / "bundle.json").read_text())
    document.pop("digest")
    document["files"][0]["path"] = path
    with pytest.raises(ValueError, match="path"):
        Manifest.model_validate_json(json.dumps(document))


def swapped(path: Path) -> bytes:
    """Put other bytes of the same length in a file's place; returns what was there."""
    before = path.read_bytes()
    path.write_bytes(bytes(255 - byte for byte in before))
    return before


def test_a_file_swapped_after_the_check_is_never_used(copy: Path, tmp_path: Path) -> None:
    bundle = read_bundle(copy)
    for file in bundle.manifest.all_files:
        before = swapped(copy / file.path)
        with pytest.raises(BundleError, match="is damaged"):
            bundle.read(file)
        (copy / file.path).write_bytes(before)
    swapped(copy / "model.onnx")
    for use in (bundle.runner, lambda: write_repository(tmp_path / "repository", bundle, RepositoryOptions())):
        with pytest.raises(BundleError, match="is damaged"):
            use()


def grow(path: Path) -> None:
    os.truncate(path, 1 << 40)


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [grow, become_a_pipe, become_a_link])
def test_a_file_that_became_something_else_after_the_check_is_not_read(
    copy: Path, change: Callable[[Path], None]
) -> None:
    bundle = read_bundle(copy)
    change(copy / "model.onnx")
    with pytest.raises(BundleError, match=r"is damaged|not a plain file|is a link"):
        bundle.runner()
