"""A row passes only where what was timed are the generator's own answers: every way to cheat is a failed audit."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cgan_bench.audit import AUDITS, FRESH_CALLS, TIMED_CALLS, draw_sample, golden_audit
from cgan_bench.backends.base import KEPT_VALUES, kept_values
from cgan_bench.rounds import Plan, measure
from cgan_bench.rows import Row
from cgan_bench.target import Target, target_of_bundle
from cgan_bench.workload import round_seeds
from cgan_runtime.bundle import file_entry, read_bundle, write_manifest

from tests.bench.fakes import Cheat, Fake


def quiet(_: str) -> None:
    """Say nothing."""


def failed(row: Row) -> set[str]:
    return {audit.name for audit in row.audits if not audit.passed}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "audits"),
    [
        ("knows_the_check", {"FP32 model", "answers differ"}),
        ("constant", {"FP32 model", "answers differ"}),
        ("caches", {"FP32 model", "answers differ"}),
        ("wrong_at_first", {"timed answers"}),
        ("knows_what_it_saw", {"FP32 model"}),
    ],
)
def test_whoever_cheats_fails_an_audit_even_as_the_reference(
    target: Target, brief: Plan, fault: Cheat, audits: set[str]
) -> None:
    (row,) = measure(target, [Fake("first", fault)], batch=1, plan=brief, say=quiet).rows
    assert failed(row) == audits
    assert not row.valid
    sentences = list(row.faults())
    assert len(sentences) == len(audits)
    for name, sentence in itertools.product(audits, ["".join(sentences)]):
        assert f"INVALID: fake first at batch 1 fails the audit {name!r}: " in sentence


@pytest.mark.slow
def test_what_another_tool_loses_is_no_failed_audit_and_cheating_is(target: Target, brief: Plan) -> None:
    rows = [Fake("first"), *(Fake(name, name, of_another_tool=True) for name in ("wrong", "constant"))]
    _, lossy, constant = measure(target, rows, batch=1, plan=brief, say=quiet).rows
    assert lossy.valid
    assert not lossy.comparable
    assert [audit.name for audit in lossy.audits] == ["timed answers", "answers differ"]
    assert failed(constant) == {"answers differ"}
    assert not constant.valid


@pytest.mark.slow
def test_an_honest_row_passes_every_audit(target: Target, brief: Plan) -> None:
    block = measure(target, [Fake("first"), Fake("second")], batch=2, plan=brief, say=quiet)
    for row in block.rows:
        assert row.valid
        assert tuple(audit.name for audit in row.audits) == AUDITS
    assert block.sample is not None
    assert all(len(call) == 2 for call in block.sample.calls)


@pytest.mark.slow
def test_golden_samples_that_are_others_here_make_every_row_invalid(
    target: Target, bundle_path: Path, tmp_path: Path, brief: Plan
) -> None:
    """The stored pictures of the two samples change places: the bundle is whole, and promises other pictures."""
    copied = tmp_path / "copy"
    shutil.copytree(bundle_path, copied)
    manifest = read_bundle(bundle_path).manifest
    one, other = (next(iter(golden.outputs.values())) for golden in manifest.golden[:2])
    shutil.copy(bundle_path / one, copied / other)
    files = tuple(file_entry(copied, file.path) for file in manifest.files)
    write_manifest(copied, manifest.model_copy(update={"files": files}))
    (row,) = measure(target_of_bundle(copied), [Fake("first")], batch=1, plan=brief, say=quiet).rows
    assert failed(row) == {"golden samples"}
    assert target.bundle is not None
    found = golden_audit(target.bundle, 1)
    assert found is not None
    assert found.passed
    none = target.bundle.manifest.model_copy(update={"golden": ()})
    assert golden_audit(replace(target.bundle, manifest=none), 1) is None


def test_the_sample_is_drawn_from_what_was_timed_and_from_fresh_seeds() -> None:
    for batch, rounds in ((1, 1), (1, 2), (4, 50)):
        timed = {tuple(round_seeds(7 + number, batch, first=1000)) for number in range(rounds)}
        sample = draw_sample(first_seed=1000, rounds=range(7, 7 + rounds), batch=batch)
        assert len(sample.rounds) == min(rounds, TIMED_CALLS)
        for number, call in zip(sample.rounds, sample.calls, strict=False):
            assert list(call) == round_seeds(7 + number, batch, first=1000)
        fresh = sample.calls[len(sample.rounds) :]
        assert len(fresh) == FRESH_CALLS
        assert not timed & set(fresh)
        assert len({seed for call in fresh for seed in call}) == FRESH_CALLS * batch
        assert max(seed for call in fresh for seed in call) < 2**64
        again = draw_sample(first_seed=1000, rounds=range(7, 7 + rounds), batch=batch, seed=sample.seed)
        assert again == sample, "the seed that the report names repeats it"
        assert json.loads(json.dumps(sample.to_json()))["rounds"] == [number + 1 for number in sample.rounds]
    drawn = {draw_sample(first_seed=0, rounds=range(1000), batch=1).rounds for _ in range(5)}
    assert len(drawn) > 1, "nobody knows them before"


def test_values_at_random_places_are_kept() -> None:
    outputs = {"picture": np.arange(3 * 1000, dtype=np.float32).reshape(3, 1000), "score": np.zeros(3, np.float32)}
    kept = kept_values(outputs, [5, 6, 7])
    assert kept["picture"].shape == (1, KEPT_VALUES)
    assert kept["score"].shape == (1, 3)
    assert len(np.unique(kept["picture"])) > KEPT_VALUES * 0.9
    assert kept["picture"].max() > 2900, "of the last row too"
    assert np.array_equal(kept["picture"], kept_values(outputs, [5, 6, 7])["picture"])
    other = kept_values(outputs, [random.Random(1).getrandbits(64)])
    assert not np.array_equal(kept["picture"], other["picture"])
