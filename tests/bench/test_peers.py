"""What else people would run: beside ours where the outputs are the reference's, and never an error of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from cgan_bench import quantizing
from cgan_bench.audit import Audit, draw_sample
from cgan_bench.backends import BundleArtifact, TorchEager
from cgan_bench.backends.calibration import calibration_feeds
from cgan_bench.backends.onnx_int8 import OrtInt8
from cgan_bench.fidelity import Agreement
from cgan_bench.peers import against_peers
from cgan_bench.quantizing import peer_backends
from cgan_bench.reference import reference_target
from cgan_bench.rounds import Block, Plan, measure
from cgan_bench.rows import Row
from cgan_bench.target import Target
from cgan_bench.workload import check_seeds, inputs_for, round_seeds
from cgan_runtime.contract import Contract
from cgan_runtime.errors import CganError

from tests.bench.test_report import report

NEAR = Agreement(output="picture", kind="image", psnr_db=50.0, limit=35.0)
FAR = replace(NEAR, psnr_db=20.0)


def row(key: str, latency_ms: float, *agreements: Agreement, lossy: bool = False) -> Row:
    return Row(
        key=key,
        title=f"the {key}",
        description="d",
        batch=1,
        latencies_ms=(latency_ms, 3 * latency_ms),  # the same busy round in every row
        peak_memory_mb=1.0,
        agreements=agreements,
        lossy=lossy,
    )


def block(*rows: Row) -> Block:
    return Block(rows=rows, absent=(), contract=None)


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return reference_target(tmp_path_factory.mktemp("cache"), options={"size": 64, "ngf": 4, "dropout": "paper"})


def test_the_fastest_of_ours_stands_beside_the_fastest_peer_with_the_same_outputs() -> None:
    rows = (
        row("torch_eager", 40.0),
        row("openvino_plain", 20.0, NEAR, lossy=True),
        row("ort_static_int8", 1.0, FAR, lossy=True),
        row("ort_bundle", 30.0, NEAR),
        row("ort_bundle_int8", 10.0, NEAR),
    )
    said = against_peers(block(*rows))
    assert said == (
        "our fastest row, the ort_bundle_int8, is 2.00 times as fast as the fastest other, the openvino_plain "
        "(2.00-2.00) at batch 1"
    )
    assert against_peers(block(rows[0], rows[3])) is None, "with the reference alone there is a sentence already"
    assert against_peers(block(*rows[:3])) is None


def test_of_a_busy_machine_or_an_unknown_ratio_nothing_is_said_beside_peers() -> None:
    first, peer, ours = row("torch_eager", 40.0), row("openvino_plain", 20.0, NEAR), row("ort_bundle", 10.0, NEAR)
    assert against_peers(block(first, peer, ours)) is not None
    assert against_peers(replace(block(first, peer, ours), others_percent=50.0)) is None
    assert against_peers(block(first, replace(peer, verdict="unstable"), ours)) is None
    assert against_peers(block(first, peer, replace(ours, verdict="unstable"))) is None
    slower = replace(row("torch_compile", 30.0, NEAR), verdict="unstable")
    assert against_peers(block(first, peer, ours, slower)) is not None, "neither of the two is unstable"
    caught = replace(peer, audits=(Audit(name="timed answers", passed=False, words="others"),))
    assert "torch_eager" in (against_peers(block(first, row("torch_compile", 50.0), caught, ours)) or "")


def test_what_another_tools_int8_loses_is_told_and_is_no_error() -> None:
    told = report(row("a", 1.0), row("b", 1.0, FAR, lossy=True))
    assert not told.invalid
    assert told.to_json()["valid"] is True
    assert [one["comparable"] for one in told.to_json()["rows"]] == [True, False]
    assert list(told.rows[1].remarks()) == ["below 35 dB: not comparable"]
    assert list(told.notes()) == [
        "Not comparable: the b at batch 1: picture agrees to 20.0 dB, needs 35 dB or more."
    ]
    cheat = replace(told.rows[1], audits=(Audit(name="timed answers", passed=False, words="others"),))
    assert [one.partition(":")[0] for one in report(row("a", 1.0), cheat).notes()] == [
        "Not comparable",
        "INVALID",
    ]
    ours = report(row("a", 1.0), row("b", 1.0, FAR))
    assert len(ours.invalid) == 1
    assert not list(ours.rows[1].remarks())
    score = Agreement(output="score", kind="score", relative_error=0.5, limit=0.09)
    assert list(row("b", 1.0, score, lossy=True).remarks()) == ["above 9.0e-02: not comparable"]


def test_calibration_uses_inputs_that_nothing_else_uses(target: Target) -> None:
    assert target.contract is not None
    feeds = calibration_feeds(target.contract)
    others = [
        *(s for first in (0, 2**48 - 1) for index in range(50) for s in round_seeds(index, 2, first=first)),
        *(s for call in check_seeds(2) for s in call),
        *(s for call in draw_sample(first_seed=2**48 - 1, rounds=range(50), batch=2).calls for s in call),
    ]
    used = {inputs_for(target.contract, [seed])["condition"].tobytes() for seed in others}
    given = {feed["condition"].tobytes() for feed in feeds}
    assert len(given) == len(feeds)
    assert not given & used


@pytest.mark.slow
def test_every_peer_makes_the_pictures_of_pytorch(small: Target, tmp_path: Path) -> None:
    plan = Plan(rounds=2, warm_up=1, gap_ms=0, threads=1)
    peers = peer_backends(small, tmp_path, quiet)
    found = measure(small, [TorchEager(), *peers, BundleArtifact()], batch=2, plan=plan, say=quiet)
    assert not found.absent
    by_key = {one.key: one for one in found.rows}
    assert by_key["torch_channels_last"].precision == "fp32"
    assert (by_key["torch_channels_last"].psnr_db or 0) > 90
    assert by_key["openvino_plain"].precision in ("fp32", "bf16")
    assert by_key["openvino_plain"].precision[-2:] in by_key["openvino_plain"].description
    assert all((one.psnr_db or 0) > 20 for one in found.rows[1:])
    assert all(one.valid for one in found.rows)
    quantised = onnx.load(tmp_path / "ort_int8.onnx")
    kinds = {node.op_type for node in quantised.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert b"FakeQuantize" in (tmp_path / "nncf_int8.xml").read_bytes()


@pytest.mark.parametrize("tool", ["write_nothing", "write_badly"])
def test_a_tool_that_fails_makes_an_absent_row(
    small: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    broken = write_nothing if tool == "write_nothing" else write_badly
    monkeypatch.setattr(quantizing, "QUANTIZED", ((OrtInt8, broken, "ort_int8.onnx"),))
    row = peer_backends(small, tmp_path, quiet)[-1]
    assert (row.absence(small) or "").startswith("its file was not made")
    assert ("numbers for axes" in (row.absence(small) or "")) is (tool == "write_badly")
    assert "--checkpoint" in (row.absence(replace(small, plain=None)) or "")


def write_badly(plain: Path, contract: Contract, path: Path) -> None:
    assert plain.is_file() and not path.exists()
    assert all(isinstance(axis, int) for condition in contract.conditions for axis in condition.shape)
    raise ValueError("numbers for axes")


def write_nothing(*_: object) -> None:
    pass


def test_a_file_of_the_library_that_does_not_load_is_an_absent_row(small: Target, tmp_path: Path) -> None:
    (tmp_path / "ort_int8.onnx").write_bytes(np.zeros(9, np.uint8).tobytes())
    with pytest.raises(CganError) as raised:
        OrtInt8(tmp_path / "ort_int8.onnx").open(small, threads=1)
    assert type(raised.value) is CganError, "a BundleError would end the whole run"
