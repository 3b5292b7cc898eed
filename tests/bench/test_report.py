"""What cgan-bench prints and the page it writes, of made-up rows: 80 columns, and every figure on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cgan_bench.page import write_report
from cgan_bench.printing import print_report
from cgan_bench.report import Report
from cgan_bench.report_base import BaseReport
from cgan_bench.rounds import Block, Plan
from cgan_bench.rows import Absent, Ratio, Row
from cgan_bench.target import Target
from cgan_bench.train.loops import Setup, loops
from cgan_bench.train.measure import TrainingBlock
from cgan_bench.train.report import TrainingReport
from cgan_bench.train.rows import TrainingRow

from tests.pages import HOSTILE, check_page

STEADY = tuple(10.0 + n / 100 for n in range(101))
MACHINE = {
    "cpu": "A CPU with a rather long name @ 2.0 GHz",
    "cores": 2,
    "memory_mb": 25_000,
    "load_average": 0.1,
    "os": "Linux-6.18",
    "python": "3.11.7",
    "versions": {"torch": "2.13.0"},
    "date": "2026-11-25T19:35:22+00:00",
}
WEIGHTS = "a bundle holds no PyTorch weights; add --checkpoint FILE"


def row(title: str, latencies_ms: tuple[float, ...] = STEADY, ratio: Ratio | None = None) -> Row:
    return Row(
        key="ort_bundle",
        title=title,
        description="a library 1.2",
        batch=1,
        latencies_ms=latencies_ms,
        ratio=ratio,
        peak_memory_mb=123.0,
    )


def report(*rows: Row, absent: tuple[Absent, ...] = (), load: float = 0.1) -> Report:
    return Report(
        plan=Plan(),
        environment={**MACHINE, "load_average": load},
        blocks=(Block(rows=rows, absent=absent, contract=None),),
        target=Target(title="bundle x"),
    )


TWO = (
    row("ONNX Runtime, our bundle"),
    row(
        "ONNX Runtime, our bundle, FP16", tuple(9 * value for value in STEADY), Ratio(median=0.11, q1=0.1, q3=0.12)
    ),
)


def training_report(folder: Path) -> TrainingReport:
    rows = tuple(
        TrainingRow(
            loop=loop,
            description="torch",
            batch=4,
            steps=2,
            latencies_ms=STEADY,
            data_ms=0.1,
            step_ms=9.9,
            peak_memory_mb=300.0,
            ratio=None if number == 0 else Ratio(median=2.0, q1=1.9, q3=2.1),
        )
        for number, loop in enumerate(loops("cpu"))
    )
    return TrainingReport(
        setup=Setup(data=folder, cache=None),
        plan=Plan(),
        images="Images: 8 smooth ones made for it",
        environment=MACHINE,
        blocks=(TrainingBlock(rows=rows, absent=()),),
    )


def printed(of: BaseReport, capsys: pytest.CaptureFixture[str]) -> str:  # type: ignore[type-arg]  # of either kind
    print_report(of)
    return capsys.readouterr().out


def test_what_is_printed_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for of in (report(*TWO), training_report(tmp_path)):
        lines = printed(of, capsys).splitlines()
        assert max(map(len, lines)) <= 80
    assert all(one.title in printed(report(*TWO), capsys) for one in TWO), "no title is broken"


def test_backends_that_are_not_there_take_one_line_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    absent = (
        *(Absent(key=name, title=name, reason=WEIGHTS) for name in ("PyTorch eager", "plain export")),
        Absent(key="c", title="torch.compile", reason="no C++ compiler found"),
    )
    told = " ".join(printed(report(*TWO, absent=absent), capsys).split())
    assert f"Not measured: PyTorch eager; plain export: {WEIGHTS}." in told
    assert "Not measured: torch.compile: no C++ compiler found." in told
    assert "Not measured" not in printed(report(*TWO), capsys)


def test_a_busy_machine_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet, noisy = report(*TWO), report(TWO[0], row("b", (1.0,) * 8 + (9.0,) * 2), load=3.0)
    for of, busy in ((quiet, False), (noisy, True)):
        text = printed(of, capsys)
        write_report(tmp_path / "page.html", of)
        for told in (text, check_page((tmp_path / "page.html").read_text()).text):
            assert ("noisy" in told) is busy
            assert ("The machine was busy before this (load average 3.0)" in " ".join(told.split())) is busy


def test_the_page_shows_every_figure_and_where_it_is_from(tmp_path: Path) -> None:
    write_report(tmp_path / "page.html", report(*TWO))
    text = check_page((tmp_path / "page.html").read_text()).text
    figures = ("10.5", "10.9", "11.0", "95.2", "0.11", "0.10-0.12", "123", "a library 1.2")
    for words in (*figures, MACHINE["cpu"], "torch 2.13.0", "2026-11-25 19:35:22 UTC", "25 GB", "bundle x"):
        assert str(words) in text
    assert "Our bundle, FP16 is 0.11 times as fast as ONNX Runtime, our bundle (0.10-0.12) at batch 1." in text


def test_training_has_a_page_too(tmp_path: Path) -> None:
    write_report(tmp_path / "page.html", training_report(tmp_path))
    text = check_page((tmp_path / "page.html").read_text()).text
    assert "Spread of the time of a step" in text
    assert "data ms: the wait for the images" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    write_report(tmp_path / "page.html", replace(report(row(HOSTILE)), target=Target(title=HOSTILE)))
    assert check_page((tmp_path / "page.html").read_text()).text.count(HOSTILE) == 4  # title twice, table, plot
