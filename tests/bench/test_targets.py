"""Bundles of every kind through the command: free sizes, files of other code, labels, scores, precisions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_bench.checkpoint import generator_of
from cgan_bench.fidelity import MIN_PSNR_DB
from cgan_bench.target import target_of_bundle
from cgan_export.fidelity.limits import Limits
from cgan_runtime.errors import BadInputError, UsageError
from cgan_trainer.checkpoint import Graph, write_checkpoint
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions
from cgan_trainer.nets.init import init_weights

from tests.bench.toys import TwoOutputs, write_toy_bundle
from tests.export.sources import junyanz
from tests.export.sources.files import FILES
from tests.helpers import assert_one_sentence, run_here, write_pix2pix_checkpoint
from tests.trainer.cyclegans import recipe_of

BRIEF = ("--rounds", "2", "--warmup", "0", "--json")


def result_of(*words: str | Path, code: int = 0) -> dict[str, Any]:
    done = run_here("cgan-bench", *words, *BRIEF, PATH="", CXX="")  # no compiler: torch.compile is absent
    assert done.returncode == code, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fully convolutional generator trained at 64, and its bundle of free size."""
    root = tmp_path_factory.mktemp("free")
    torch.manual_seed(0)
    generator = Pix2pixGenerator(Pix2pixOptions(net="resnet-6", size=64, ngf=2, dropout="off"))
    init_weights(generator)
    checkpoint = write_pix2pix_checkpoint(root / "free.pt", generator)
    done = run_here("cgan-export", checkpoint, "-o", root / "free", "--dynamic-size")
    assert done.returncode == 0, done.stderr
    return root / "free", checkpoint


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """latest_net_G.pth of other code, and a bundle exported from it with choices that the file does not hold."""
    root = tmp_path_factory.mktemp("foreign")
    checkpoint = root / "latest_net_G.pth"
    checkpoint.write_bytes(FILES["unet6-batch"]().data)
    chosen = ("--size", "64", "--no-dropout", "--eps", "0.01", "--statistics", "running", "--source", "labels")
    done = run_here("cgan-export", checkpoint, "-o", root / "facades", *chosen)
    assert done.returncode == 0, done.stderr
    return root / "facades", checkpoint


def test_a_bundle_of_free_size_is_measured_beside_pytorch(free: tuple[Path, Path]) -> None:
    bundle, checkpoint = free
    assert target_of_bundle(bundle, checkpoint=checkpoint).size == (64, 64)  # without --size: as it was trained
    result = result_of(bundle, "--checkpoint", checkpoint, "--size", "96x72")
    assert result["size"] == "96x72"
    rows = {row["backend"]: row for row in result["rows"]}
    assert set(rows) == {"torch_eager", "ort_plain", "ort_bundle"}
    assert rows["ort_plain"]["psnr_db"] > 90
    assert rows["ort_bundle"]["psnr_db"] > 90


def test_a_size_the_generator_does_not_take_is_one_sentence(free: tuple[Path, Path], bundle_path: Path) -> None:
    assert_one_sentence(run_here("cgan-bench", free[0], "--size", "30"), 2, "30x30", "multiple of")
    assert_one_sentence(run_here("cgan-bench", free[0], "--size", "big"), 2, "--size big", "WIDTHxHEIGHT")
    assert_one_sentence(run_here("cgan-bench", bundle_path, "--size", "128"), 2, "128x128", "64x64 only")


def test_a_file_of_other_code_is_the_reference_of_its_bundle(foreign: tuple[Path, Path]) -> None:
    """Dropout, eps, statistics and meaning are the export's; any other eps or statistics would be below 60 dB."""
    bundle, checkpoint = foreign
    result = result_of(bundle, "--checkpoint", checkpoint)
    rows = {row["backend"]: row for row in result["rows"]}
    assert set(rows) == {"torch_eager", "ort_plain", "ort_bundle"}
    assert result["reference"] == {"1": "torch_eager"}
    assert rows["ort_bundle"]["psnr_db"] > 90


def test_the_reference_has_the_statistics_and_the_contract_of_the_bundle(foreign: tuple[Path, Path]) -> None:
    target = target_of_bundle(foreign[0], checkpoint=foreign[1])
    generator, contract = generator_of(target, threads=0)
    assert contract == target.contract
    assert contract.statistics == "running"
    assert not contract.noise
    eps = {m.eps for m in generator.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert eps == {0.01}


@pytest.mark.slow
def test_of_a_file_with_several_generators_the_one_of_the_bundle_is_the_reference(tmp_path: Path) -> None:
    """The second of a file from other code, and of a checkpoint of ours."""
    torch.manual_seed(0)
    brought = {name: junyanz.resnet(1, ngf=2).state_dict() for name in ("genA", "genB")}
    torch.save(brought, tmp_path / "pair.pt")
    recipe = recipe_of()
    graphs = recipe.graphs(recipe.networks)
    ours = {
        name: Graph(options=recipe.graph_options(name), contract=one.contract.to_json(), state=one.state_dict())
        for name, one in graphs.items()
    }
    write_checkpoint(tmp_path / "last.pt", family="cyclegan", graphs=ours, examples={}, provenance={})
    for file, graph, state in (
        ("pair.pt", "genB", brought["genB"]),
        ("last.pt", "BtoA", graphs["BtoA"].state_dict()),
    ):
        bundle = tmp_path / graph
        words = ("--graph", graph, "-o", bundle, *(("--size", "32") if file == "pair.pt" else ()))
        done = run_here("cgan-export", tmp_path / file, *words)
        assert done.returncode == 0, done.stderr
        generator, _ = generator_of(target_of_bundle(bundle, checkpoint=tmp_path / file), threads=0)
        first, wanted = (
            next(value for value in weights.values() if value.ndim == 4)
            for weights in (generator.state_dict(), state)
        )
        assert torch.equal(first, wanted)


def test_a_checkpoint_with_another_contract_is_refused(foreign: tuple[Path, Path], free: tuple[Path, Path]) -> None:
    for bundle, checkpoint in ((free[0], foreign[1]), (foreign[0], free[1])):
        target = target_of_bundle(bundle, checkpoint=checkpoint)
        with pytest.raises(BadInputError) as caught:
            generator_of(target, threads=0)
        assert "\n" not in str(caught.value)
        assert checkpoint.name in str(caught.value)
    assert_one_sentence(
        run_here("cgan-bench", free[0], "--checkpoint", foreign[1]), 3, "latest_net_G.pth", "another contract"
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP16 and INT8 give scores that are off by two percent."""
    off = TwoOutputs(score_factor=1.02)
    return write_toy_bundle(
        tmp_path_factory.mktemp("toy") / "toy", {"fp32": TwoOutputs(), "int8": off, "fp16": off}
    )


def test_label_vector_and_two_outputs_go_through_and_each_precision_has_its_limit(toy: Path) -> None:
    result = result_of(toy, "--batch", "2", code=5)
    assert result["size"] == "8x8"
    rows = {row["backend"]: row for row in result["rows"]}
    assert list(rows) == ["ort_bundle", "ort_bundle_fp16", "ort_bundle_int8"], "FP32 is the reference"
    assert [rows[key]["valid"] for key in rows] == [True, False, True]
    image, score = rows["ort_bundle_fp16"]["agreements"]
    assert (image["output"], image["kind"], image["within_limit"]) == ("picture", "image", True)
    assert image["psnr_db"] > 100
    assert (score["output"], score["kind"], score["within_limit"]) == ("score", "score", False)
    assert score["relative_error"] == pytest.approx(0.02, rel=1e-2)
    assert score["limit"] == pytest.approx(5e-3)


def test_only_the_precisions_that_are_asked_for_are_measured(toy: Path) -> None:
    result = result_of(toy, "--precision", "int8,fp32")
    assert [row["backend"] for row in result["rows"]] == ["ort_bundle", "ort_bundle_int8"]
    assert result["valid"] is True
    with pytest.raises(UsageError, match=r"--precision fp16 is not in .*, which has fp32"):
        target_of_bundle(
            write_toy_bundle(toy.parent / "plain", {"fp32": TwoOutputs()}), precisions=("fp32", "fp16")
        )


def test_the_table_shows_every_output_and_says_what_is_wrong(toy: Path) -> None:
    done = run_here("cgan-bench", toy, "--rounds", "2", "--warmup", "0", PATH="", CXX="")
    assert done.returncode == 5
    for words in ("agreement", "picture equal", "score 2.0e-02", "model toy (", "8x8, batch 1", "INVALID"):
        assert words in done.stdout
    told = " ".join(done.stdout.split())
    assert "our bundle, FP16 at batch 1: score agrees to 2.0e-02, needs 5.0e-03 or less" in told
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_a_generator_without_conditions_is_measured(tmp_path: Path) -> None:
    bundle = write_toy_bundle(tmp_path / "unconditional", {"fp32": TwoOutputs(conditions=False)})
    (row,) = result_of(bundle, "--batch", "4")["rows"]
    assert row["batch"] == 4
    assert row["images_per_s"] > 0


def test_limits_are_those_of_the_exports_gates() -> None:
    for precision in ("fp16", "int8"):
        assert MIN_PSNR_DB[precision] == Limits.of(precision).min_psnr_db
    assert MIN_PSNR_DB["fp32"] <= Limits.of("fp32").min_psnr_db


def test_the_batch_is_limited_by_the_artifacts_that_are_measured(toy: Path) -> None:
    target = target_of_bundle(toy)
    assert target.max_batch == 16
    assert replace(target, bundle=None).max_batch == 64
    assert_one_sentence(run_here("cgan-bench", toy, "--batch", "17"), 2, "16")
