"""What others used of the processor, from made-up counters of the kernel, and ours from the real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cgan_bench import other_load
from cgan_bench.other_load import CpuTimes, cpu_times, others_percent
from cgan_bench.rounds import Block

TICK = os.sysconf("SC_CLK_TCK")


def kernel(root: Path, cpus: list[list[int]], processes: dict[int, tuple[int, list[int]]]) -> None:
    """/proc with these counters of each CPU, and of each process its group and four times."""
    root.mkdir(exist_ok=True)
    lines = [f"cpu{number} {' '.join(map(str, ticks))}" for number, ticks in enumerate(cpus)]
    (root / "stat").write_text("\n".join(["cpu 1 1 1 1", *lines, "intr 5"]))
    for pid, (group, times) in processes.items():
        (root / str(pid)).mkdir(exist_ok=True)
        fields = ["S", "1", str(group), *["0"] * 8, *map(str, times), "20", "0"]
        (root / str(pid) / "stat").write_text(f"{pid} (a ) name) {' '.join(fields)}")


def test_what_is_not_ours_is_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle (4th) and iowait (5th) are no use; of CPUs that we may not use nothing counts."""
    monkeypatch.setattr(other_load, "PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(time, "monotonic", iter([10.0, 20.0]).__next__)
    me = os.getpid()
    kernel(tmp_path, [[1] * 10] * 3, {me: (5, [1, 1, 50, 50]), 40: (40, [0] * 4), 41: (40, [0] * 4)})
    before = cpu_times({40})
    used = [2 * TICK, TICK, TICK, 900 * TICK, 90 * TICK, TICK // 2, TICK // 2, TICK, 70 * TICK, 0]
    grown = [1 + ticks for ticks in used]
    ours = {me: (5, [1 + TICK, 1, 950, 950]), 40: (40, [TICK, TICK, TICK, 0]), 41: (40, [TICK, 0, 0, 0])}
    kernel(tmp_path, [grown, grown, [10**6] * 10], {**ours, 42: (42, [7 * TICK] * 4)})
    # Each of two CPUs was used for 6 s; ours took 1 + 3 + 1 of them: 7 s in 10 s.
    assert others_percent(before, cpu_times({40})) == pytest.approx(70)


def test_a_system_that_does_not_tell_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_load, "PROC", tmp_path)
    assert cpu_times(set()) is None
    kernel(tmp_path, [[0] * 10] * 99, {})
    assert cpu_times(set()) is None, "a sandbox that shows zeros"
    known = CpuTimes(at_s=1, all_s=1, ours_s=1)
    assert others_percent(None, known) is None
    assert others_percent(known, known) is None
    assert others_percent(known, CpuTimes(at_s=2, all_s=1, ours_s=1.5)) == 0, "counters are rounded"
    for percent, noisy in ((None, False), (9.0, False), (11.0, True)):
        assert Block(rows=(), absent=(), contract=None, others_percent=percent).noisy is noisy


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the counters are those of Linux")
def test_a_process_of_ours_and_its_ended_child_are_ours() -> None:
    """Half a second of work each; what another group does is not ours."""
    work = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True)\n"
    code = f"{child}{work}print('done', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        before = cpu_times(set())
        assert process.stdout is not None
        process.stdout.readline()
        after, without = cpu_times({process.pid}), cpu_times(set())
        process.communicate()
    assert before is not None
    assert after is not None
    assert without is not None
    assert after.ours_s - before.ours_s >= 0.95
    assert without.ours_s - before.ours_s < 0.5
