"""What a report says of how far its figures can be relied on, and what it then does not say."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_bench import cli, measuring
from cgan_bench.audit import Audit, draw_sample
from cgan_bench.backends import base
from cgan_bench.backends.base import opened_runner
from cgan_bench.page import write_report
from cgan_bench.printing import print_report
from cgan_bench.report import Report
from cgan_bench.rows import Ratio, Row
from cgan_bench.target import Target
from cgan_runtime.cli.shell import run
from cgan_runtime.noise_tensors import noise_tensors
from cgan_runtime.runners.base import Array

from tests.bench.test_report import STEADY, report, row
from tests.pages import check_page

KNOWN = Ratio(median=2.0, q1=1.9, q3=2.1, interval=(1.98, 2.02))
WIDE = Ratio(median=2.0, q1=1.5, q3=2.5, interval=(1.8, 2.2))


def shown(of: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What is printed, and the text of the page."""
    print_report(of)
    write_report(tmp_path / "page.html", of)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    return " ".join(printed.split()), " ".join(check_page((tmp_path / "page.html").read_text()).text.split())


def two(second: Row, **block: Any) -> Report:
    of = report(row("first"), second)
    return replace(of, blocks=tuple(replace(one, **block) for one in of.blocks))


def test_a_busy_machine_gets_no_ratio_and_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = replace(row("ONNX Runtime, our bundle", ratio=KNOWN), verdict="noisy")
    of = two(second, others_percent=35.0)
    for told in shown(of, tmp_path, capsys):
        assert "NOISY: other processes used 35 % of a core at batch 1 (limit: 10 %)" in told
        assert "times as fast as first (" not in told
        assert "2.00" not in told, "no figure stands in the column"
        assert "1.98" not in told
    assert not of.uncertain, "a busy machine is no failure unless a bound was asked for"
    assert of.to_json()["other_processes_percent_of_a_core"] == {"1": 35.0}
    assert of.to_json()["rows"][1]["verdict"] == "noisy"


def test_an_unstable_ratio_is_marked_and_gets_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = replace(row("ONNX Runtime, our bundle", ratio=WIDE), verdict="unstable")
    of = two(second, others_percent=3.0)
    for told in shown(of, tmp_path, capsys):
        assert "UNSTABLE" in told
        assert "times as fast as first (" not in told
    assert of.uncertain == (
        "UNSTABLE: after 60 s per row the 95 % interval of the median ratio is not under 5 % of it: ONNX Runtime, "
        "our bundle at batch 1 (20.0 %); give more --seconds, or an idle machine."
    )
    known = two(replace(row("ONNX Runtime, our bundle", ratio=KNOWN), verdict="stable"))
    assert not known.uncertain
    for told in shown(known, tmp_path, capsys):
        assert "ur bundle is 2.00 times as fast as first (1.90-2.10) at batch 1" in told


def test_an_unstable_ratio_ends_with_5_after_the_result(
    bundle_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = two(replace(row("second", ratio=WIDE), verdict="unstable"))
    monkeypatch.setattr(measuring, "cpu_report", lambda *_, **__: of)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        run(cli.command, [str(bundle_path)])
    told = capsys.readouterr()
    assert ended.value.code == 5
    assert told.err.splitlines()[-1].startswith("cgan-bench: error: UNSTABLE: ")
    assert "p50 ms" in told.out


def test_audit_noise_and_cold_start_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passed = (Audit(name="timed answers", passed=True, words="equal"),)
    failed = (Audit(name="FP32 model", passed=False, words="picture agrees with another to 3.0 dB"),)
    second = replace(row("second", ratio=KNOWN), audits=(*passed, *failed), verdict="stable")
    of = two(
        replace(second, noise_ms=tuple(value / 40 for value in STEADY), cold_start_s=1.234),
        sample=draw_sample(first_seed=5, rounds=range(1, 9), batch=1, seed=77),
    )
    (block,) = of.blocks
    slower = replace(block.rows[0], noise_ms=tuple(value / 80 for value in STEADY))
    of = replace(of, blocks=(replace(block, rows=(slower, block.rows[1])),))
    printed, page = shown(of, tmp_path, capsys)
    for told in (printed, page):
        assert (
            "INVALID: second at batch 1 fails the audit 'FP32 model': picture agrees with another to 3.0 dB" in told
        )
        assert "Audit at batch 1, seed 77 (timed answers, FP32 model): passed by 1 of 2." in told
        assert "Noise at batch 1: 0.194 ms of each run, at most 2.5 % (second)." in told
    assert printed.count("agrees with another") == 1, "its table is for the page"
    for words in (
        "failed",
        "backendtimed answersFP32 model",
        "secondequalpicture agrees with another",
        "1.23",
        "2.5",
        "1.980-2.020",
        "noise %:",
        "audit:",
    ):
        assert words in page
    plain = of.to_json()
    assert plain["audit"]["1"]["seed"] == 77
    assert plain["rows"][1]["noise_share"] == pytest.approx(1 / 40)
    assert plain["rows"][1]["cold_start_s"] == 1.234
    assert plain["rows"][1]["ratio_to_reference"] == {
        "median": 2.0,
        "q1": 1.9,
        "q3": 2.1,
        "low_95": 1.98,
        "high_95": 2.02,
    }
    assert [audit["passed"] for audit in plain["rows"][1]["audits"]] == [True, False]


def test_the_noise_is_drawn_on_the_clock_and_the_conditions_before(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target.contract is not None
    drawn: list[list[int]] = []
    clock = iter(range(0, 10**9, 7_000_000))

    def recorded(inputs: Any, seeds: Any, draws: Any) -> dict[str, Array]:
        drawn.append(list(seeds))
        return noise_tensors(inputs, seeds, draws)

    class Runner:
        contract = target.contract
        description = "x"

        def infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
            return inputs

    monkeypatch.setattr(base, "noise_tensors", recorded)
    monkeypatch.setattr(base, "perf_counter_ns", clock.__next__)
    opened = opened_runner(Runner(), None)  # type: ignore[arg-type]  # what is asked of it is there
    call = opened.prepare([3, 4])
    assert not drawn
    given = call()
    assert drawn == [[3, 4]]
    assert opened.noise is not None
    assert opened.noise.last_ms == 7
    assert set(given) == {tensor.name for tensor in target.contract.inputs}
    wanted = noise_tensors(target.contract.noise, [3, 4], [0, 0])
    assert wanted
    assert all(np.array_equal(given[name], value) for name, value in wanted.items())
