"""Progress: honest figures, and a line that fits where it is shown."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from cgan_runtime.progress import Pace, note, progress

VALUES: dict[str, float | str] = {"G_GAN": 0.9234, "G_L1": 14.129, "D": 0.61, "data": "2 ms", "step": "210 ms"}


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_elsewhere_a_line_every_ten_seconds_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("training", unit="images", clock=clock) as report:
        for done in range(1, 301):
            clock.now_s += 0.125
            report(done, 1000, VALUES)
    assert lines(capsys) == [
        f"training: {done}/1000 images, 8.00 images/s, {left} left, "
        "G_GAN 0.92 G_L1 14.1 D 0.61 data 2 ms step 210 ms"
        for done, left in ((80, "0:01:55"), (160, "0:01:45"), (240, "0:01:35"))
    ]


def test_the_last_step_says_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("reading train", unit="pairs", clock=clock) as report:
        clock.now_s += 4
        report(2, 2)
    assert lines(capsys) == ["reading train: 2/2 pairs, 0.50 pairs/s, took 0:00:04"]


@pytest.mark.parametrize("total", [7, 49_000, 12_345_678])
def test_a_line_is_short_and_loses_the_last_values_first(capsys: pytest.CaptureFixture[str], total: int) -> None:
    clock = Clock()
    with progress("training", unit="images", start=total // 2, clock=clock) as report:
        clock.now_s += 123.4
        report(total // 2 + 1, total, VALUES)
    (line,) = lines(capsys)
    assert len(line) < 110
    assert line.endswith("left") or "left, G_GAN 0.92" in line


def test_after_a_resume_the_time_left_is_that_of_this_session(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with progress("training", unit="images", start=9000, clock=clock) as report:
        clock.now_s += 20
        report(9010, 10_000)
    assert "0.50 images/s, 0:33:00 left" in lines(capsys)[0]


def test_the_pace_is_that_of_the_last_half_minute() -> None:
    pace = Pace(0, 0.0)
    for second in range(1, 101):
        pace.add(10 * second, float(second))
    assert pace.per_s == pytest.approx(10)
    for second in range(1, 31):
        pace.add(1000 + second, 100.0 + second)
    assert pace.per_s == pytest.approx(1)


def test_steps_longer_than_the_window_count() -> None:
    pace = Pace(0, 0.0)
    for step in range(1, 6):
        pace.add(step, 60.0 * step)
    assert pace.per_s == pytest.approx(1 / 60)


def test_a_validation_does_not_slow_the_pace_but_counts_in_the_time_left() -> None:
    pace, now_s, done = Pace(0, 0.0), 0.0, 0
    for _ in range(4):
        for _ in range(20):
            now_s, done = now_s + 1, done + 2
            pace.add(done, now_s)
        now_s += 20  # a validation, which the next report shows
    pace.add(done + 2, now_s + 1)
    assert pace.per_s == pytest.approx(2)
    assert pace.left_s(80) == pytest.approx(80, rel=0.1), "40 s of steps, and as much for validations"


def test_a_pace_that_has_become_slow_is_no_series_of_pauses() -> None:
    pace = Pace(0, 0.0)
    for step in range(1, 401):
        pace.add(step, step / 10)
    for step in range(1, 11):
        pace.add(400 + step, 40.0 + step)
    assert pace.per_s == pytest.approx((200 + 10) / 30, rel=0.1), "over the last half minute"
    assert pace.left_s(100) == pytest.approx(100 / pace.per_s, rel=0.1)


def test_a_busy_beginning_does_not_count() -> None:
    pace = Pace(0, 0.0)
    pace.add(1, 25.0)
    for step in range(1, 6):
        pace.add(1 + step, 25.0 + step)
    assert pace.per_s == pytest.approx(1)


def test_thousands_of_reports_a_second_take_no_memory() -> None:
    pace = Pace(0, 0.0)
    for step in range(100_000):
        pace.add(step, step / 10_000)
    assert len(pace._seen) < 400
    assert pace.per_s == pytest.approx(10_000, rel=0.01)


def test_figures_that_are_no_numbers_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", unit="images", clock=Clock()) as report:
        report(0, 0)
        report(3, 3, {"a": float("nan"), "b": 0.0, "c": -1234.5, "d": 2e-4, "e": 0.5})
    assert lines(capsys)[-1].endswith("a nan b 0 c -1234 d 0.0002 e 0.50")


def test_a_text_may_go_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", unit="images", clock=Clock()) as report:
        report(3, 3, {"G_L1": 14.1, "": "data 2 ms, step 210 ms"})
    assert lines(capsys)[-1].endswith(", G_L1 14.1 data 2 ms, step 210 ms")


CODE = """
import itertools
from cgan_runtime.progress import note, progress
clock = itertools.count(1000, 0.25).__next__
with progress("training", unit="images", start=500, clock=lambda: float(clock())) as report:
    for done in range(501, 531):
        report(done, 1700, {"G_GAN": 0.9234, "G_L1": 14.129, "D": 0.61, "data": "2 ms", "step": "210 ms"})
        if done == 515:
            note("a note in between")
            print("data")
"""


def on_terminal(width: int, **environment: str) -> tuple[str, str]:
    """What a terminal of `width` columns received, and what stdout did."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    hidden = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")
    plain = {name: value for name, value in os.environ.items() if name not in hidden}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CODE],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(theirs)
    received = b"".join(_chunks(ours))
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return received.decode(), out.decode()


def _chunks(descriptor: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
        while chunk := os.read(descriptor, 65536):
            yield chunk


def last_line(received: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received).replace("\r\n", "\n").split("\r")[-1].strip()


def test_on_a_terminal_one_line_stays_in_place_and_notes_go_above() -> None:
    received, out = on_terminal(140)
    assert out == "data\n"
    assert received.count("\n") == 2, "the note and the end"
    assert last_line(received).endswith(
        "530/1700 images  4.00 images/s  0:04:52 left  G_GAN 0.92 G_L1 14.1 D 0.61 data 2 ms step 210 ms"
    )
    assert "\x1b[38" in received
    assert "a note in between" in received


@pytest.mark.parametrize(
    ("width", "shown", "gone"),
    [
        (100, "0:04:52 left  G_GAN 0.92 G_L1 14.1 D 0.61", "data"),
        (70, "images/s  0:04:52 left", "G_GAN"),
        (50, "training  530/1700 images  0:04:52 left", "images/s"),
        (36, "530/1700 images  0:04:52 left", "training"),
        (20, "530/1700 images", "left"),
    ],
)
def test_a_narrow_terminal_loses_values_first(width: int, shown: str, gone: str) -> None:
    received, _ = on_terminal(width)
    line = last_line(received)
    assert len(line) <= width
    assert shown in line
    assert gone not in line


def test_without_colour_if_so_asked() -> None:
    received, _ = on_terminal(140, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*(?:3[0-9]|4[0-9]|9[0-7])[0-9;]*m", received)
    assert "530/1700" in received


def test_a_terminal_that_cannot_go_back_gets_lines() -> None:
    received, _ = on_terminal(140, TERM="dumb")
    assert received == "a note in between\r\n", "too short for a line of its own"


def test_a_file_name_in_a_note_gives_the_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    note("a\x1b[31m\udcff.png is left out:\n  süß\r.png")
    assert capsys.readouterr().err == "a\ufffd[31m\ufffd.png is left out:\n  süß\ufffd.png\n"
