"""What is printed of a load test and the page of it, of made-up rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cgan_bench.load.loops import Level
from cgan_bench.load.measure import LoadBlock, LoadPlan
from cgan_bench.load.report import LoadReport
from cgan_bench.load.rows import Difference, LoadRow
from cgan_bench.page import write_report
from cgan_bench.printing import print_report
from cgan_bench.rows import Ratio

from tests.bench.test_report import MACHINE
from tests.bench.toys import TwoOutputs
from tests.pages import check_page

A, B = "grpc://127.0.0.1:8001", "grpc://198.51.100.7:18001"
STEADY = tuple(100 + n / 10 for n in range(101))


def row(level: Level, **more: Any) -> LoadRow:
    figures = {
        "server": A,
        "latencies_ms": STEADY,
        "seconds": 10.0,
        "offered": 102,
        "answered": 101,
        "stable": True,
    }
    return LoadRow(level=level, description="model m, grpc", batch=4, **{**figures, **more})


def report(*rows: LoadRow, urls: tuple[str, ...] = (A,), equal: bool | None = None) -> LoadReport:
    contract = TwoOutputs(conditions=False).contract
    return LoadReport(
        plan=LoadPlan(urls=urls, model="a-model", levels=tuple(one.level for one in rows), batches=(4,)),
        environment=MACHINE,
        blocks=(LoadBlock(rows=rows, contract=contract, equal=equal),),
    )


ONE, RATE = row(Level(clients=1)), row(Level(rate=12.5), refused=12345, failures=Counter({"HTTP 500": 3}))
PAIR = (
    row(Level(clients=64), letter="A"),
    row(
        Level(clients=64),
        letter="B",
        server=B,
        ratio=Ratio(median=0.8, q1=0.7, q3=0.9),
        difference=Difference(median_ms=1.25, q1_ms=1.0, q3_ms=1.5),
    ),
)


def told(of: LoadReport, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What is printed, without line breaks, and the text of the page."""
    print_report(of)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    write_report(folder / "page.html", of)
    return " ".join(printed.split()), check_page((folder / "page.html").read_text()).text


def test_every_figure_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in told(report(ONE, RATE), tmp_path, capsys):
        for words in ("8x8, batch 4", "1 client", "12.5/s", "10.1", "40.4", "105", "109", "110", "12345"):
            assert words in text
        assert "Failed: 12.5/s poisson at batch 4: 3 HTTP 500." in text
        assert "The load came from the server's own machine: both shared its 2 cores." in text
        assert "40.4 images/s at batch 4 with 1 client, p99 110 ms" in text
        assert "unstable" not in text


def test_a_server_elsewhere_shares_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in told(report(replace(ONE, server=B), urls=(B,)), tmp_path, capsys):
        assert "both shared" not in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"wrong": 2}, "INVALID: 1 client at batch 4: 2 answers had other bits than the same request got"),
        ({"latencies_ms": (), "answered": 0}, "INVALID: 1 client at batch 4: no request was answered."),
        ({"stable": False}, "Rows marked unstable"),
        ({"late": 0.2}, "Rows marked late"),
        (
            {"level": Level(rate=3), "late": 0.2},
            "INVALID: 3/s poisson at batch 4: the generator did not keep up: 20.0%",
        ),
        ({"level": Level(rate=3), "flooded": True}, "the server takes less than it was offered"),
    ],
)
def test_what_is_wrong_is_said_and_why(
    more: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = report(row(more.pop("level", Level(clients=1)), **more))
    for text in told(of, tmp_path, capsys):
        assert words in text
    assert bool(of.invalid) is words.startswith("INVALID") or "flooded" in more
    assert of.to_json()["valid"] is not bool(of.invalid)


def test_two_servers_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in told(report(*PAIR, urls=(A, B), equal=True), tmp_path, capsys):
        for words in ("64 clients", "+1.25", "+1.00 to +1.50", "0.80", "0.70-0.90"):
            assert words in text
        assert "The two servers gave the same answers to the last bit at batch 4." in text
        assert f"A {A} and B {B}" in text
        assert "B takes +1.25 ms (+1.00 to +1.50) beside A at batch 4 with 64 clients" in text
    different = told(report(*PAIR, urls=(A, B), equal=False), tmp_path, capsys)[0]
    assert "The two servers gave other answers to the last bit" in different


def test_a_server_may_stand_beside_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = (PAIR[0], replace(PAIR[1], server=A))
    for text in told(report(*pair, urls=(A, A), equal=True), tmp_path, capsys):
        assert "105 and 105" in text
        assert "+1.00 to +1.50" in text


def test_failed_requests_are_the_failure_of_the_command() -> None:
    assert report(ONE).failure == ""
    assert "3 HTTP 500" in report(ONE, RATE).failure
