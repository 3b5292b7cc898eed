"""A slowdown is told once, and once that it is over; nothing else is told."""

from __future__ import annotations

from datetime import datetime

import pytest
from cgan_trainer.training.slow_steps import Change, StepWatch, sentence

NOON = datetime(2026, 3, 4, 12, 0)


def run(watch: StepWatch, *, steps: int, seconds: float, share: float = 1.8, images: int = 4) -> list[Change]:
    """What is told during equal steps of which this program has `share` CPU seconds in a second."""
    seen = [watch.see(images=images, seconds=seconds, cpu_seconds=share * seconds) for _ in range(steps)]
    return [change for change in seen if change is not None]


def test_a_slowdown_is_told_once_and_its_end_once() -> None:
    watch = StepWatch()
    assert run(watch, steps=100, seconds=0.2) == []
    (slow,) = run(watch, steps=200, seconds=0.8, share=0.7)
    assert (slow.slow, slow.others) == (True, True)
    assert slow.images_per_s == pytest.approx(5)
    assert slow.usual_images_per_s == pytest.approx(20)
    (over,) = run(watch, steps=300, seconds=0.22)
    assert (over.slow, over.others) == (False, False)
    assert [change.slow for change in run(watch, steps=100, seconds=0.8)] == [True], "another slowdown is told too"


def test_between_the_two_limits_nothing_is_told_however_often_it_changes() -> None:
    watch = StepWatch()
    run(watch, steps=100, seconds=0.2)
    assert run(watch, steps=100, seconds=0.45) == []
    assert [change.slow for change in run(watch, steps=100, seconds=0.6)] == [True]
    assert run(watch, steps=100, seconds=0.45) == []


def test_a_slow_first_step_is_neither_told_nor_compared_with() -> None:
    watch = StepWatch()
    assert run(watch, steps=1, seconds=60.0) == []
    assert run(watch, steps=200, seconds=0.2) == []


def test_single_slow_steps_are_no_slowdown() -> None:
    watch = StepWatch()
    for _ in range(20):
        assert run(watch, steps=9, seconds=1.0) == []
        assert run(watch, steps=2, seconds=9.0) == []


def test_steps_of_fewer_images_are_no_slowdown() -> None:
    watch = StepWatch()
    run(watch, steps=100, seconds=0.4, images=16)
    assert run(watch, steps=100, seconds=0.1, images=4) == []


def test_a_slowdown_without_others_says_so() -> None:
    watch = StepWatch()
    run(watch, steps=100, seconds=0.2)
    (slow,) = run(watch, steps=100, seconds=0.8)
    assert not slow.others


SLOW = Change(slow=True, images_per_s=6.0, usual_images_per_s=22.0, others=True)


@pytest.mark.parametrize(
    ("change", "left", "threads", "said"),
    [
        (
            SLOW, 55_800, 2,
            "Other programs keep the CPU busy: 6 images/s instead of 22; the end moves to about 14:35. If it stays "
            "so, --threads 1 may be faster.",
        ),
        (
            SLOW, 55_800, 1,
            "Other programs keep the CPU busy: 6 images/s instead of 22; the end moves to about 14:35.",
        ),
        (
            Change(slow=True, images_per_s=6.0, usual_images_per_s=22.0, others=False), 6 * 86400, 2,
            "Steps have become slower: 6 images/s instead of 22; the end moves to about 2026-03-05 12:00.",
        ),
        (
            Change(slow=False, images_per_s=21.0, usual_images_per_s=22.0, others=False), 21 * 600, 2,
            "Steps are as fast as before again: 21 images/s; the end is at about 12:10.",
        ),
    ],
)  # fmt: skip
def test_the_sentence_has_the_figures(change: Change, left: int, threads: int, said: str) -> None:
    assert sentence(change, left=left, now=NOON, threads=threads) == said
