"""A result beside an earlier one: what changed is the ratio to the reference row, not the speed of the machine."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgan_bench import backends, cli, comparison
from cgan_bench.comparison import Comparison, Earlier, read_result
from cgan_bench.page import write_report
from cgan_bench.printing import print_comparison
from cgan_bench.rows_csv import rows_csv
from cgan_runtime.cli.shell import run
from cgan_runtime.errors import BadInputError, UsageError

from tests.bench.fakes import Fake
from tests.bench.test_report import TWO, report
from tests.pages import check_page

NOISE = np.random.default_rng(5).uniform(0.98, 1.02, size=(3, 40))


def result(*means_ms: float, machine: float = 1.0, **changes: Any) -> dict[str, Any]:
    """Rows a (the reference), b and c of these times, on a machine that is so many times as slow."""
    rows = [
        {"backend": name, "batch": 1, "title": f"row {name}", "latencies_ms": list(machine * mean * noise)}
        for name, mean, noise in zip("abc", means_ms, NOISE, strict=False)
    ]
    plain = {
        "tool": "cgan-bench",
        "measured": "inference",
        "model": "model x",
        "size": "64x64",
        "timed": "all of it",
        "reference": {"1": "a"},
        "environment": {"cpu": "one", "cores": 2, "date": "2026-01-01"},
        "rows": rows,
    }
    return {**plain, **changes}


def beside(then: dict[str, Any], now: dict[str, Any], fail_under: float | None = 0.95) -> Comparison:
    return Earlier(path=Path("old.json"), result=then, fail_under=fail_under).beside(now)


def test_a_row_is_compared_by_its_ratio_whatever_the_machine() -> None:
    same = beside(result(10, 5, 20), result(10, 5, 20))
    assert [(one.title, one.change) for one in same.changes] == [("row b", 1.0), ("row c", 1.0)]
    elsewhere = beside(
        result(10, 5, 20), result(10, 5, 20, machine=3, environment={"cpu": "two", "cores": 4, "date": "x"})
    )
    assert [one.change for one in elsewhere.changes] == pytest.approx([1, 1])
    assert [one.interval for one in elsewhere.changes] == [pytest.approx(one.interval) for one in same.changes]
    assert (len(same.notes), len(elsewhere.notes)) == (0, 1)
    assert "Another machine (one with 2 cores, now two with 4)" in elsewhere.notes[0]
    for one in same.changes:
        assert one.interval is not None
        assert 0.95 < one.interval[0] <= 1 <= one.interval[1] < 1.05
    assert not same.complaint


def test_a_row_that_is_slower_than_the_bound_is_named_and_the_others_are_not() -> None:
    slower = beside(result(10, 5, 20), result(10, 6, 20))
    assert slower.changes[0].change == pytest.approx(5 / 6)
    assert slower.complaint.startswith("not shown to be 0.95 times as fast as in old.json: row b at batch 1 (0.8")
    assert "row c" not in slower.complaint
    assert not beside(result(10, 5, 20), result(10, 6, 20), fail_under=0.5).complaint
    assert not beside(result(10, 5, 20), result(10, 6, 20), fail_under=None).complaint
    low, high = slower.changes[0].interval or (0, 0)
    assert low < high
    between = beside(result(10, 5, 20), result(10, 6, 20), fail_under=(low + high) / 2)
    assert "row b" in between.complaint, "it is not shown where the bound lies inside the interval"
    # The reference itself got slower: that is the machine, and nothing else can be told.
    assert not beside(result(10, 5, 20), result(12, 6, 24)).complaint


def test_the_interval_holds_the_true_change_in_95_of_100_pairs_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "RESAMPLES", 300)
    draw = np.random.default_rng(1)
    held = []
    for _ in range(100):
        low, high = comparison._bootstrap(draw.lognormal(0, 0.2, 30), draw.lognormal(0.1, 0.2, 30))
        held.append(low <= np.exp(0.1) <= high)
    assert np.mean(held) >= 0.88


def test_both_ratios_and_the_verdict_stand_beside_the_change() -> None:
    """The reference takes 10 ms: b was 2 times as fast and is 10/6, c was half as fast and is 10/16."""
    found = beside(result(10, 5, 20), result(10, 6, 16), fail_under=None)
    b, c = found.changes
    assert (b.then, b.now, c.then, c.now) == pytest.approx((2, 10 / 6, 0.5, 10 / 16), rel=0.01)
    assert [one.verdict for one in found.changes] == ["slower", "faster"]
    assert found.verdict.startswith(
        "since old.json, relative to the reference row: slower: row b at batch 1 (0.833, 0.8"
    )
    assert "; faster: row c at batch 1 (1.250, 1.2" in found.verdict
    assert [one.verdict for one in beside(result(10, 5, 20), result(10, 5, 20)).changes] == ["no change shown"] * 2
    many = replace(found, changes=(b, replace(b, title="row d", change=0.4), b, b, c)).verdict
    assert "slower: 4 rows, above all row d at batch 1 (0.400, " in many
    assert "; faster: row c at batch 1 (" in many
    same = beside(result(10, 5, 20), result(10, 5, 20))
    assert replace(same, changes=same.changes * 2).verdict.endswith("no change shown: 4 rows")
    told = found.to_json()["changes"][0]
    assert (told["ratio_then"], told["ratio_now"], told["verdict"]) == (b.then, b.now, "slower")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verdict": "noisy"}, "NOISY now"),
        ({"valid": False}, "INVALID"),
        ({"latencies_ms": [5.0] * 5}, "fewer than 6 rounds now"),
        (None, "not in this result"),
    ],
)
def test_a_row_without_a_verdict_does_not_pass_a_bound(change: dict[str, Any] | None, reason: str) -> None:
    now = result(10, 5, 20)
    if change is None:
        del now["rows"][1]
    else:
        now["rows"][1] |= change
        now["rows"][0]["latencies_ms"] = now["rows"][0]["latencies_ms"][: len(now["rows"][1]["latencies_ms"])]
    if reason.startswith("fewer"):
        now["rows"].pop()
    found = beside(result(10, 5, 20), now)
    assert (found.changes[0].interval, found.changes[0].reason) == (None, reason)
    assert f"row b at batch 1 ({reason})" in found.complaint
    assert found.changes[0].verdict == "not compared"
    assert f"not compared: row b at batch 1 ({reason})" in found.verdict
    assert (found.changes[0].now is None) is (found.changes[0].change is None)
    assert not beside(result(10, 5, 20), now, fail_under=None).complaint


def test_what_is_something_else_is_refused_in_a_sentence() -> None:
    then = result(10, 5, 20)
    earlier = Earlier(path=Path("old.json"), result=then, fail_under=None)
    earlier.require_same_model(model="model x", size="64x64")
    for model, size, words in (("model y", "64x64", "another model"), ("model x", "32x32", "another size")):
        with pytest.raises(UsageError, match=words):
            earlier.require_same_model(model=model, size=size)
    with pytest.raises(UsageError, match="relative to the row a at batch 1, this one to b"):
        earlier.beside(result(10, 5, 20, reference={"1": "b"}))
    with pytest.raises(UsageError, match="share no row but the reference"):
        earlier.beside(result(10, 5, 20, reference={"4": "a"}))
    with pytest.raises(UsageError, match="share no row but the reference"):
        beside(result(10), result(10))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not exist"),
        ("", "is no result"),
        ("[]", "is no result"),
        ("[" * 100_000, "is no result"),
        ('{"tool": "cgan-bench"}', "is no result"),
        (
            json.dumps(
                {**result(10, 5), "rows": [{"backend": "a", "batch": 1, "title": "x", "latencies_ms": [0]}]}
            ),
            "no",
        ),
        (json.dumps(result(10, 5, measured="training")), "no measurement of inference"),
        (json.dumps({name: value for name, value in result(10, 5).items() if name != "timed"}), "earlier release"),
    ],
)
def test_a_file_that_is_no_result_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInputError, match=words) as caught:
        read_result(path)
    assert "\n" not in str(caught.value)


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(beside(result(10, 5, 20), result(10, 6, 20)))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    for words in ("change since old.json (2026-01-01)", "row b", "0.833", "row c", "1.000", "slower: row b at"):
        assert words in " ".join(told.split())


def test_the_page_has_the_table_and_at_its_top_the_result_in_words(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    found = beside(result(10, 5, 20), result(10, 6, 20))
    write_report(path, report(*TWO), found)
    elements = check_page(path.read_text())
    top, _, rest = elements.text.partition("Spread of the latency")
    assert "Not shown to be 0.95 times as fast as in old.json: row b at batch 1 (0.8" in top
    assert "Since old.json, relative to the reference row: slower: row b at batch 1 (0.833, " in top
    assert "Change since old.json (2026-01-01), relative to the reference row" in rest
    for one, verdict in zip(found.changes, ("slower", "no change shown"), strict=True):
        low, high = one.interval or (0, 0)
        cells = f"{one.title}1{one.then:.2f}{one.now:.2f}{one.change:.3f}{low:.3f}-{high:.3f}{verdict}"
        assert cells in rest.replace("\n", "")
    write_report(path, report(*TWO), beside(result(10, 5, 20), result(10, 6, 20), fail_under=None))
    assert "Not shown to be" not in check_page(path.read_text()).text
    write_report(path, report(*TWO))
    assert "old.json" not in check_page(path.read_text()).text


def test_a_line_of_csv_holds_the_figures_of_a_row_with_their_units() -> None:
    hostile = 'a "row",\nof two lines; é'
    rows = [
        {"title": hostile, "p50_ms": 1.5, "ratio_to_reference": None, "latencies_ms": [1.0]},
        {"title": "b", "p50_ms": 2.5, "ratio_to_reference": {"median": 2.0, "interval_95": [1, 2]}, "valid": True},
    ]
    first, second = csv.DictReader(rows_csv(rows).splitlines(keepends=True))
    assert first == {"title": hostile, "p50_ms": "1.5", "ratio_to_reference.median": "", "valid": ""}
    assert (second["ratio_to_reference.median"], second["valid"]) == ("2.0", "True")
    assert rows_csv([]) == "\r\n"


@pytest.mark.slow
def test_the_command_compares_with_what_it_wrote(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of 30 ms more is caught, and the same one is not; where others had the machine there is no verdict."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    old, new, table, page = (tmp_path / name for name in ("old.json", "new.json", "new.csv", "new.html"))

    def ended(second: Fake, *words: str | Path) -> str:
        monkeypatch.setattr(backends, "local_backends", lambda *_: [Fake("first", "slow"), second])
        with pytest.raises(SystemExit) as end:
            run(cli.command, [str(bundle_path), "--rounds", "12", *map(str, words)])
        told = capsys.readouterr()
        return f"{end.value.code} {told.out} {told.err}"

    assert ended(Fake("second"), "--out", old).startswith(("0", "None"))
    told = ended(Fake("second", "slow"), "--compare", old, "--fail-under", "0.5", "--out", new, "--csv", table)
    assert told.startswith("5")
    assert "not shown to be 0.5 times as fast as in" in told
    assert "fake second at batch 1 (" in told
    assert json.loads(new.read_text())["comparison"]["changes"][0]["title"] == "fake second"
    assert [row["backend"] for row in csv.DictReader(table.read_text().splitlines())] == ["first", "second"]
    told = ended(Fake("second"), "--compare", old, "--html", page)
    assert told.startswith(("0", "None"))
    assert "change since" in told
    assert "Since " in check_page(page.read_text()).text
    old.write_text(old.read_text().replace('"model": "model', '"model": "other'))
    assert ended(Fake("second"), "--compare", old).startswith("2")
