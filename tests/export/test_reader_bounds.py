"""No file takes more than five seconds of CPU time, or more than a gigabyte and its own size, to be refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.hostile_files import FILES, MAX_BYTES, MAX_CPU_S


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's to tell")
def test_hostile_files_are_refused_within_bounds(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in FILES}
    for name, path in paths.items():
        path.write_bytes(FILES[name]())
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile_files", *map(str, paths.values())],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["name"] for result in results] == list(FILES), done.stderr[-500:]
    for result in results:
        assert result["said"] != "accepted", result
        assert "\n" not in result["said"], result
        assert len(result["said"]) < 2500, result
        assert result["cpu_s"] <= MAX_CPU_S, result
        assert result["memory"] <= MAX_BYTES + paths[result["name"]].stat().st_size, result
