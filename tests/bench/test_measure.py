from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from cgan_bench import rounds
from cgan_bench.audit import FRESH_CALLS, TIMED_CALLS
from cgan_bench.backends import BundleArtifact, OrtPlain, TorchCompile, TorchEager, local_backends
from cgan_bench.reference import SOURCES, reference_target
from cgan_bench.rounds import Plan, measure
from cgan_bench.rows import ratio
from cgan_bench.target import Server, Target
from cgan_bench.worker_client import Worker, WorkerDiedError
from cgan_runtime.errors import BadInputError, CganError

from tests.bench.fakes import Fake
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint

SMALL = {"size": 64, "ngf": 4}

pytestmark = pytest.mark.slow  # real worker processes


def quiet(_: str) -> None:
    """Say nothing."""


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_every_row_gets_the_same_new_inputs_in_every_round(target: Target, tmp_path: Path, brief: Plan) -> None:
    journal = tmp_path / "journal"
    backends = [Fake(name, journal=journal) for name in "abc"]
    block = measure(target, backends, batch=2, plan=brief, say=quiet)
    asked: dict[str, list[str]] = {name: [] for name in "abc"}
    order = []
    for line in journal.read_text().splitlines():
        name, _, inputs = line.partition(" ")
        asked[name].append(inputs)
        order.append(name)
    assert asked["a"] == asked["b"] == asked["c"]
    before_the_audit = asked["a"][: -TIMED_CALLS - FRESH_CALLS]
    assert len(set(before_the_audit)) == len(before_the_audit), "nothing was asked before it was timed"
    timed = before_the_audit[1:]  # without the first inference
    assert len(set(timed)) == len(timed) == brief.rounds + brief.warm_up if brief.rounds else False
    visits = ["".join(order[at : at + 3]) for at in range(3, 3 + 3 * len(timed), 3)]
    assert all(sorted(visited) == ["a", "b", "c"] for visited in visits)
    assert len(set(visits)) > 1, "the order must change"
    assert [len(row.latencies_ms) for row in block.rows] == [4, 4, 4], "warm-up rounds are not counted"
    assert block.sample is not None
    assert block.sample.first_seed > 2**20, "every run begins at other seeds, of 48 bits"
    assert f"[{block.sample.first_seed}, {block.sample.first_seed + 1}]" in asked["a"][0]
    again = [line.partition("]")[0] for line in asked["a"][-TIMED_CALLS - FRESH_CALLS : -FRESH_CALLS]]
    counted = [line.partition("]")[0] for line in timed[brief.warm_up :]]
    assert again == [counted[number] for number in block.sample.rounds]


def test_the_first_row_is_the_reference_of_ratio_and_images(target: Target, brief: Plan) -> None:
    block = measure(target, [Fake("first"), Fake("second", "slow")], batch=1, plan=brief, say=quiet)
    first, second = block.rows
    assert (first.ratio, first.psnr_db) == (None, None)
    assert second.ratio == ratio(first.latencies_ms, second.latencies_ms)
    assert second.valid


@pytest.mark.parametrize(("percent", "verdict"), [(9.0, "not judged"), (11.0, "noisy"), (None, "not judged")])
def test_where_others_have_the_machine_no_row_has_a_verdict(
    target: Target, brief: Plan, percent: float | None, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "others_percent", lambda *_: percent)
    block = measure(target, [Fake("first"), Fake("second")], batch=1, plan=brief, say=quiet)
    assert block.others_percent == percent
    assert {row.verdict for row in block.rows} == {verdict}
    beside_a_server = replace(target, server=Server(url="grpc://127.0.0.1:9", model="m"))
    assert measure(beside_a_server, [Fake("first")], batch=1, plan=brief, say=quiet).others_percent is None


@pytest.mark.parametrize("fault", ["wrong", "nan"])
def test_other_images_make_a_row_invalid(target: Target, brief: Plan, fault: str) -> None:
    wrong = Fake("odd", "wrong" if fault == "wrong" else "nan")
    block = measure(target, [Fake("first"), wrong, Fake("third")], batch=1, plan=brief, say=quiet)
    assert [row.valid for row in block.rows] == [True, False, True]


def test_absent_backends_are_named_and_the_others_measured(target: Target, brief: Plan) -> None:
    backends = [Fake("gone", reason="not on this machine"), Fake("broken", "raises"), Fake("here")]
    block = measure(target, backends, batch=1, plan=brief, say=quiet)
    assert [row.key for row in block.rows] == ["here"]
    assert {absent.key: absent.reason for absent in block.absent} == {
        "gone": "not on this machine",
        "broken": "it does not fit this machine",
    }


@pytest.mark.parametrize(
    ("fault", "words"), [("dies", "SIGKILL (out of memory?)"), ("dies_late", "status 7: the last thing it said.")]
)
def test_a_dead_worker_is_one_sentence_and_no_process_stays(
    target: Target, brief: Plan, fault: str, words: str
) -> None:
    before = children()
    dying = Fake("mortal", "dies" if fault == "dies" else "dies_late")
    with pytest.raises(WorkerDiedError, match="the worker for fake mortal ended with") as caught:
        measure(target, [Fake("first"), dying], batch=1, plan=brief, say=quiet)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert children() <= before


def test_a_cold_start_is_from_the_start_of_the_process_to_its_first_answer(target: Target, brief: Plan) -> None:
    first, second = measure(
        target, [Fake("first", "slow"), Fake("second", "loads_slowly")], batch=1, plan=brief, say=quiet
    ).rows
    assert first.cold_start_s is not None
    assert second.cold_start_s is not None
    assert second.cold_start_s > 1
    assert second.cold_start_s > max(second.latencies_ms) / 1e3
    assert first.cold_start_s > 0.03, "the first inference is in it"
    assert second.noise_ms is not None
    assert len(second.noise_ms) == len(second.latencies_ms)
    pairs = zip(second.noise_ms, second.latencies_ms, strict=True)
    assert all(0 < noise_ms < latency_ms for noise_ms, latency_ms in pairs)


def test_no_process_stays_after_a_run(target: Target, brief: Plan) -> None:
    before = children()
    measure(target, [Fake("first"), Fake("second")], batch=1, plan=brief, say=quiet)
    assert children() <= before


def test_a_worker_ends_when_its_parent_hangs_up() -> None:
    worker = Worker("nothing")
    process = psutil.Process(worker.pid)
    worker._connection.close()
    assert process.wait(30) is not None
    with pytest.raises(OSError, match="closed"):
        worker.peak_mb()
    worker.close()


def test_peak_memory_is_the_workers_own(target: Target, brief: Plan) -> None:
    ours = np.ones(60_000_000)  # 480 MB here must not count there
    block = measure(target, [Fake("small"), Fake("large", "large")], batch=1, plan=brief, say=quiet)
    small, large = (row.peak_memory_mb or 0 for row in block.rows)
    assert ours.nbytes / 1e6 > small > 10
    assert 180 < large - small < 260


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a small reference model in it."""
    folder = tmp_path_factory.mktemp("cache") / "not yet there"
    reference_target(folder, options=SMALL)
    return folder


def test_torch_the_plain_export_and_the_bundle_make_the_same_images(cache: Path, brief: Plan) -> None:
    small = reference_target(cache, options=SMALL)
    block = measure(small, [TorchEager(), OrtPlain(), BundleArtifact()], batch=3, plan=brief, say=quiet)
    assert [row.key for row in block.rows] == ["torch_eager", "ort_plain", "ort_bundle"]
    assert all(row.psnr_db is None or row.psnr_db > 90 for row in block.rows)
    assert all("PyTorch" in row.description or "ONNX Runtime" in row.description for row in block.rows)


def test_the_reference_is_built_once(cache: Path) -> None:
    said: list[str] = []
    found = reference_target(cache, options=SMALL, say=said.append)
    assert not said
    assert found.bundle is not None
    assert found.bundle.path.parent.parent == cache
    assert len(list(cache.iterdir())) == 1, "no temporary stays"


def test_the_name_of_the_reference_depends_on_every_source_file_it_names() -> None:
    """A pattern that matches nothing would keep the model of an older exporter."""
    for package, patterns in SOURCES.items():
        root = Path(importlib.import_module(package).__file__ or "").parent
        for pattern in patterns:
            assert list(root.glob(pattern)), f"{package} has no {pattern}"


def test_a_damaged_reference_is_built_again(cache: Path, tmp_path: Path) -> None:
    copied = tmp_path / "cache"
    shutil.copytree(cache, copied)
    (model,) = copied.glob("*/bundle/model.onnx")
    sound = model.read_bytes()
    model.write_bytes(sound[:-1])
    assert reference_target(copied, options=SMALL).bundle is not None
    assert len(model.read_bytes()) == len(sound)


def test_another_torch_or_exporter_makes_another_reference(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class BuiltAgainError(Exception):
        """Stands for the work of building."""

    def build(*_: object) -> None:
        raise BuiltAgainError

    monkeypatch.setattr("cgan_bench.reference.package_version", lambda _: "0.0")
    monkeypatch.setattr(Worker, "run", build)
    with pytest.raises(BuiltAgainError):
        reference_target(cache, options=SMALL)
    assert len(list(cache.iterdir())) == 1, "an interrupted build leaves nothing"


def test_torch_compile_without_a_compiler_is_absent(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "C++ compiler" in (TorchCompile().absence(target) or "")


def test_a_bundle_alone_has_no_rows_that_need_weights(target: Target) -> None:
    alone = replace(target, checkpoint=None)
    reasons = {backend.key: backend.absence(alone) for backend in local_backends()}
    assert reasons.pop("ort_bundle") is None
    assert len(reasons) == 3
    assert all("--checkpoint" in (reason or "") for reason in reasons.values())


def test_the_checkpoint_of_another_model_is_refused(target: Target, tmp_path: Path, brief: Plan) -> None:
    other = write_pix2pix_checkpoint(tmp_path / "other.pt", pix2pix_generator(size=128, ngf=2))
    with pytest.raises(BadInputError, match="another contract"):
        measure(replace(target, checkpoint=other), [TorchEager()], batch=1, plan=brief, say=quiet)


def test_without_torch_the_reference_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgan_bench.reference.missing_package", lambda *_, extra: f"torch is not installed {extra}")
    with pytest.raises(CganError, match="torch is not installed"):
        reference_target(tmp_path, options={"size": 64})
