"""No file takes more than five seconds of CPU time, or more than a gigabyte and its own size, to be refused."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.readers.file_formats import MAX_PICKLE_BYTES, content_of

from tests.export.sources.files import LEGACY, as_npz, as_safetensors, saved
from tests.fuzz.base import MAX_BYTES, MAX_CPU_S
from tests.helpers import REPOSITORY, ReadsNoted
from tests.hostile_files import FILES

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is Linux's to tell"
)


def measured(*paths: Path) -> list[dict[str, Any]]:
    """What reading each file came to, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile_files", *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["name"] for result in results] == [path.name for path in paths], done.stderr[-500:]
    return results


@pytest.mark.slow
@needs_linux
def test_hostile_files_are_refused_within_bounds(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in FILES}
    for name, path in paths.items():
        path.write_bytes(FILES[name]())
    results = measured(*paths.values())
    for result in results:
        assert result["said"] != "accepted", result
        assert "\n" not in result["said"], result
        assert len(result["said"]) < 2500, result
        assert result["cpu_s"] <= MAX_CPU_S, result
        assert result["memory"] <= MAX_BYTES + paths[result["name"]].stat().st_size, result


@pytest.mark.slow
@needs_linux
def test_a_refused_file_is_in_memory_once_or_as_its_library_needs_it(tmp_path: Path) -> None:
    """Of one tensor, so that a copy of it would be a copy of everything."""
    state = {"strange.weight": torch.randn(4096, 4096)}
    half = {"strange.weight": state["strange.weight"].half().repeat(2, 1)}
    weights = saved(state)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("latest_net_G.pth", weights)
    for name, data, times in (
        ("a.pt", weights, 1),
        ("a-old.pt", saved(state, **LEGACY), 1),
        ("a-half.pt", saved(half), 1),
        ("a.npz", as_npz({name: value.numpy() for name, value in state.items()}), 1),
        ("a.safetensors", as_safetensors(state), 2),
        ("a.pth.gz", gzip.compress(weights, 1), 2),
        ("a.zip", packed.getvalue(), 2),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        (result,) = measured(path)
        assert "the keys of no layout known here" in result["said"], result
        assert result["memory"] < times * len(weights) + 2**25, result
        path.unlink()


def test_no_more_of_a_file_before_torch_1_6_is_asked_for_than_it_has() -> None:
    """A read takes memory for as much as it asks for: terabytes here, for a storage that lies about its length."""
    sound = saved({"a.weight": torch.zeros(7)}, **LEGACY)
    at = sound.rindex(struct.pack("<q", 7))
    for numel in (8, 2**31, 2**39, 2**62, -1):
        file = ReadsNoted(sound[:at] + struct.pack("<q", numel) + sound[at + 8 :])
        with pytest.raises(BadInputError, match="a storage is shorter than it claims"):
            content_of(file, len(sound), "a.pth", "a.pth")
        assert max(file.asked) <= MAX_PICKLE_BYTES
