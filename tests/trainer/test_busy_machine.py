"""That other programs keep the CPU busy is told from the system's own count of it."""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

import pytest
from cgan_trainer.training.busy_machine import Moment, busy_sentence, cores_of_others, moment, moment_after

START = Moment(wall_s=10.0, machine_s=100.0, own_s=5.0)


@pytest.mark.parametrize(
    ("machine_s", "own_s", "others"),
    [(2.0, 2.0, 0.0), (4.0, 1.0, 1.5), (3.9, 0.1, 1.9), (1.0, 1.2, 0.0)],
)
def test_what_this_process_used_is_taken_off(machine_s: float, own_s: float, others: float) -> None:
    later = Moment(wall_s=12.0, machine_s=100.0 + machine_s, own_s=5.0 + own_s)
    assert cores_of_others(START, later) == pytest.approx(others)


def test_what_is_not_known_is_no_other_program() -> None:
    later = Moment(wall_s=12.0, machine_s=104.0, own_s=5.0)
    assert cores_of_others(None, later) == cores_of_others(START, None) == 0
    soon = Moment(wall_s=10.1, machine_s=100.2, own_s=5.0)
    assert cores_of_others(START, soon) == 0, "too short to tell"


def test_idle_time_is_not_busy_and_a_file_of_another_kind_tells_nothing(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 9999 888 7 8 9 0 0\ncpu0 1 2 3\n")
    found = moment(stat)
    assert found is not None
    stat.write_text("cpu  100 20 30 5 4 7 8 9 0 0\n")
    again = moment(stat)
    assert again is not None
    assert found.machine_s == again.machine_s > 0
    for text in ("", "cpu", "cpu a b c", "intr 1"):
        stat.write_text(text)
        told = moment(stat)
        assert told is None or cores_of_others(told, told) == 0
    assert moment(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("others", "cores", "threads", "words"),
    [
        (1.9, 2, 2, "keep 1.9 of 2 CPU cores busy"),
        (1.9, 2, 1, "keep 1.9 of 2 CPU cores busy"),
        (0.6, 2, 2, "--threads 1 may be faster"),
        (0.2, 2, 2, ""),
        (3.0, 16, 8, ""),  # there are cores left
    ],
)
def test_it_is_said_where_cores_are_missing(others: float, cores: int, threads: int, words: str) -> None:
    said = busy_sentence(others, cores, threads)
    assert (words in said) if words else said == ""
    assert "--threads" not in said or threads > 1


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how busy its cores are")
def test_a_busy_process_beside_this_one_is_seen() -> None:
    process = multiprocessing.get_context("spawn").Process(target=spin, args=(30.0,))
    process.start()
    try:
        seen = 0.0
        for _ in range(60):  # until it has started, however long that takes
            before = moment()
            seen = max(seen, cores_of_others(before, moment_after(before)))
            if seen > 0.2:
                break
        assert seen > 0.2
    finally:
        process.kill()
        process.join()
