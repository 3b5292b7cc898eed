"""What is said of speed is what was measured: the page and the README come from one committed file."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import pytest

from tests.helpers import REPOSITORY

MADE = runpy.run_path(str(REPOSITORY / "docs" / "make_performance.py"))  # docs/ is no package
NETS, PAGE, RESULT, claim, page = (MADE[name] for name in ("NETS", "PAGE", "RESULT", "claim", "page"))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    measured: dict[str, Any] = json.loads(RESULT.read_text())
    return measured


def test_the_page_is_that_of_the_file(document: dict[str, Any]) -> None:
    assert PAGE.read_text() == page(document), "run python -m docs.make_performance"


def test_the_readme_says_what_was_measured(document: dict[str, Any]) -> None:
    assert claim(document) in re.sub(r"\s+", " ", (REPOSITORY / "README.md").read_text())


def test_no_claim_and_no_cell_rests_on_an_invalid_row(document: dict[str, Any]) -> None:
    """It may be shown, marked, with the reason beside it; every row was audited."""
    for net in NETS:
        section = page(document).partition(f"## {NETS[net]}")[2].partition("\n## ")[0]
        cells = section.partition("### Beside the others")[2]
        for report in document["nets"][net]["reports"]:
            for row in report["rows"]:
                assert row["audits"], row["title"]
                if not row["valid"]:
                    assert f"{row['title']} (INVALID" in section
                    assert "INVALID: an image of the run" in section
                    assert f"| {report['rows'][0]['batch']}, 35 dB or more | {row['title']} |" not in cells


def test_an_invalid_row_leaves_the_claim_and_its_cells(document: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(document))
    for row in changed["nets"]["unet-256"]["reports"][0]["rows"]:
        if row["backend"].startswith("openvino_bundle"):
            row["valid"] = False
    assert "OpenVINO" in claim(document)
    assert "OpenVINO" not in claim(changed)
    assert "| 1, FP32 | ONNX Runtime, our bundle |" in page(changed)


def test_a_share_is_of_the_time_of_many_runs(document: dict[str, Any]) -> None:
    for one in document["samples"].values():
        assert one["share"]["median"] == pytest.approx(one["together_ms"] / one["alone_ms"], rel=0.05)


def test_a_slower_row_changes_the_page_and_the_claim(document: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(document))
    for row in changed["nets"]["unet-256"]["reports"][0]["rows"]:
        if row["backend"] == "ort_bundle":
            row["times"]["ort_plain"]["median"] = 0.5
    assert page(changed) != page(document)
    assert "0.50 times" in claim(changed)
