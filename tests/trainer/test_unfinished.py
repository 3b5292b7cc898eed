"""What a checkpoint says of a run that had not reached its end, and in which words."""

from __future__ import annotations

from typing import Any

import pytest
from cgan_trainer.unfinished import mark, unfinished


def test_a_run_that_saw_everything_has_no_mark() -> None:
    assert mark(2200, 2200) == mark(2200, 2200, "interruption") == {}


def test_the_mark_says_how_many_were_planned_and_why_it_ended_where_that_is_known() -> None:
    assert mark(1765, 2200) == {"planned_images": 2200}
    assert mark(1765, 2200, "time limit") == {"planned_images": 2200, "stopped_by": "time limit"}


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        ({"images": 1765}, ""),  # finished, or of an older version
        ({}, ""),
        ({"images": 1765, **mark(1765, 2200)}, "These weights have seen 1,765 of the 2,200 images planned."),
        (
            {"images": 1765, **mark(1765, 2200, "time limit")},
            "These weights have seen 1,765 of the 2,200 images planned; the run was stopped by its time limit.",
        ),
        (
            {"images": 1765, **mark(1765, 2200, "interruption")},
            "These weights have seen 1,765 of the 2,200 images planned; the run was interrupted.",
        ),
        ({"images": "many", "planned_images": 2200}, ""),
        (
            {"images": 5, "planned_images": 9, "stopped_by": "<b>"},
            "These weights have seen 5 of the 9 images planned.",
        ),
    ],
)
def test_the_sentence_says_what_the_mark_says(provenance: dict[str, Any], sentence: str) -> None:
    assert unfinished(provenance) == sentence
