"""What a benchmark says in words: agreement by the kind of output, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cgan_bench.fidelity import Agreement
from cgan_bench.page import _machine
from cgan_bench.report import Report
from cgan_bench.rows import Absent, Ratio
from cgan_export.fidelity.measures import PSNR_OF_EQUAL_DB

from tests.bench.test_report import MACHINE, report, row

IMAGE = Agreement(output="picture", kind="image", psnr_db=137.24, limit=60)
SCORE = Agreement(output="score", kind="score", relative_error=2.06e-7, limit=1e-3)
EQUAL = Agreement(output="picture", kind="image", psnr_db=PSNR_OF_EQUAL_DB, limit=60)
EQUAL_SCORE = Agreement(output="score", kind="score", relative_error=0.0, limit=1e-3)


@pytest.mark.parametrize(
    ("agreement", "words", "limit"),
    [
        (IMAGE, "137.2 dB", "60 dB or more"),
        (SCORE, "2.1e-07", "1.0e-03 or less"),
        (EQUAL, "equal", "60 dB or more"),
        (EQUAL_SCORE, "equal", "1.0e-03 or less"),
    ],
)
def test_a_figure_has_its_unit_and_equal_outputs_are_called_equal(
    agreement: Agreement, words: str, limit: str
) -> None:
    assert (agreement.words, agreement.limit_words) == (words, limit)


def judged(*agreements: Agreement) -> Report:
    return report(replace(row("a"), agreements=agreements))


@pytest.mark.parametrize(
    ("agreements", "head", "cell"),
    [
        ((IMAGE,), "PSNR dB", "137.2"),
        ((SCORE,), "agreement", "score 2.1e-07"),
        ((IMAGE, replace(IMAGE, output="depth")), "agreement", "picture 137.2 dB,\ndepth 137.2 dB"),
        ((IMAGE, SCORE), "agreement", "picture 137.2 dB,\nscore 2.1e-07"),
        ((), "PSNR dB", "-"),
    ],
)
def test_the_column_names_what_it_holds(agreements: tuple[Agreement, ...], head: str, cell: str) -> None:
    found = judged(*agreements)
    assert found._fidelity_head() == head
    assert found._fidelity(found.rows[0]) == cell


@pytest.mark.parametrize(
    ("changes", "name", "shown"),
    [
        ({"load_average": None}, "load before", "not known"),
        ({"load_average": 0.0}, "load before", "0.0"),
        ({"load_average": 1.5}, "load before", "1.5"),
        ({"memory_mb": None}, "memory", "not known"),
        ({"memory_mb": 25_000}, "memory", "25 GB"),
    ],
)
def test_a_machine_that_does_not_tell_is_shown_as_not_known(changes: dict[str, Any], name: str, shown: str) -> None:
    assert (name, shown) in _machine({**MACHINE, **changes}).rows


def test_definitions_are_of_the_figures_that_are_there() -> None:
    def defined(found: Report) -> set[str]:
        return {line.partition(":")[0] for line in found.definitions()}

    always = {"Latency", "images/s", "peak MB"}
    several = {"times", "95 %", "NOISY"}
    assert defined(judged(IMAGE)) == always
    assert defined(judged(IMAGE, SCORE)) == always | {"agreement"}
    first, second = row("first"), row("second", ratio=Ratio(median=2.0, q1=1.9, q3=2.1))
    assert defined(report(first, second)) == always | several
    assert any("the latency of first / the row's" in line for line in report(first, second).definitions())


def test_rows_that_are_absent_for_one_reason_share_a_line() -> None:
    absent = tuple(
        Absent(key=title, title=title, reason=reason) for title, reason in (("a", "x"), ("b", "y"), ("c", "x"))
    )
    lines = list(report(row("there"), absent=absent).not_measured())
    assert lines == ["Not measured: a; c: x.", "Not measured: b: y."]
