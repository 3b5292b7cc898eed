"""No file takes more than five seconds of CPU time, or more than a gigabyte and its own size, to be refused."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.readers.file_formats import MAX_PICKLE_BYTES, content_of

from tests.export.sources.files import LEGACY, saved
from tests.fuzz.base import MAX_BYTES, MAX_CPU_S
from tests.helpers import REPOSITORY, ReadsNoted
from tests.hostile_files import FILES


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


def test_no_more_of_a_file_before_torch_1_6_is_asked_for_than_it_has() -> None:
    """A read takes memory for as much as it asks for: terabytes here, for a storage that lies about its length."""
    sound = saved({"a.weight": torch.zeros(7)}, **LEGACY)
    at = sound.rindex(struct.pack("<q", 7))
    for numel in (8, 2**31, 2**39, 2**62, -1):
        file = ReadsNoted(sound[:at] + struct.pack("<q", numel) + sound[at + 8 :])
        with pytest.raises(BadInputError, match="a storage is shorter than it claims"):
            content_of(file, len(sound), "a.pth", "a.pth")
        assert max(file.asked) <= MAX_PICKLE_BYTES
