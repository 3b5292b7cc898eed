"""The PTX that is shipped is that of noise.cu; no operation is fused, nothing warns, nothing is overrun."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cgan_runtime.cuda.device_noise import PTX
from cgan_runtime.cuda.noise_ptx import compiled, nvcc_version, title
from cgan_runtime.errors import CganError

from tests.helpers import REPOSITORY
from tests.runtime.cpu_noise import compile_for_the_cpu

TEXT = PTX.read_text(encoding="ascii")
TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "sm_121")
needs_nvcc = pytest.mark.skipif(nvcc_version() is None, reason="no nvcc here: the CUDA toolkit is not installed")
needs_ptxas = pytest.mark.skipif(shutil.which("ptxas") is None, reason="no ptxas here: no CUDA toolkit")

# Every distribution and type, whole and broken blocks and rows, every size of number; prints a digest of all of it.
SWEEP = """
import ctypes, hashlib, sys
import numpy as np
from pathlib import Path
from tests.runtime.cpu_noise import CpuDriver, drawn, noise_input
all_of_it = hashlib.sha256()
driver = CpuDriver(Path(sys.argv[1]))
for shape in ((), (1,), (7,), (8,), (3, 5, 7), (16, 8, 9)):
    inputs = [(noise_input("mask", 0, p=0.5), shape, half) for half in (False, True)]
    names = ("uniform01", "uniform11", "normal")
    inputs += [(noise_input(name, 2**32 - 1), shape, half) for name in names for half in (False, True)]
    for values in drawn(driver, inputs, [0, 7, 2**64 - 1], [0, 1, 2**32 - 1]):
        all_of_it.update(values.tobytes())
singles = np.arange(0, 0x47000000, 4097, dtype=np.uint32)  # the float32 of every exponent from 0 to 2**15
halves = np.empty(len(singles), dtype=np.uint16)
addresses = map(ctypes.c_void_p, (singles.ctypes.data, halves.ctypes.data))
driver.code.halves_of(*addresses, ctypes.c_uint64(len(halves)))
all_of_it.update(halves.tobytes())
print(all_of_it.hexdigest())
"""


def test_it_was_made_from_the_source_as_it_is_now() -> None:
    assert TEXT.splitlines()[0] == title(), "noise.cu was changed: run python -m cgan_runtime.cuda.noise_ptx"


@needs_nvcc
def test_it_is_what_the_same_nvcc_makes_of_the_source() -> None:
    made = compiled()
    if f"V{nvcc_version()}" not in TEXT:
        pytest.skip(f"noise.ptx was made by another nvcc than {nvcc_version()}; the source compiles")
    assert made == TEXT


def test_no_operation_is_fused_and_every_one_is_rounded_to_nearest() -> None:
    """Without `.rn` the driver's compiler may fuse a multiplication and an addition; with it, it must not."""
    assert not re.findall(r"\b(?:fma|mad)\.(?:rn\.)?f\d+", TEXT)
    operations = re.findall(r"\b(?:add|sub|mul|div|sqrt)\.\S*f(?:32|64)\b", TEXT)
    assert len(operations) > 100
    assert {operation.split(".", 1)[1] for operation in operations} == {"rn.f64"}
    assert not re.findall(r"\.ftz|\.approx", TEXT)


@needs_nvcc
def test_with_fusing_the_compiler_would_fuse() -> None:
    """The look above can see it."""
    assert re.search(r"\bfma\.rn\.f64", compiled("-fmad=true"))


@needs_ptxas
@pytest.mark.parametrize("target", TARGETS)
def test_every_gpu_from_turing_on_takes_it(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["ptxas", "-v", "-Werror", f"-arch={target}", "-o", tmp_path / "noise.cubin", PTX],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stderr


def test_without_nvcc_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert nvcc_version() is None
    with pytest.raises(CganError, match=r"^nvcc is not on the PATH; install the CUDA toolkit, or [^\n]*\.$"):
        compiled()


def test_nothing_is_overrun_or_undefined(tmp_path: Path) -> None:
    """The same digest from code that stops at the first overrun, overflow or shift beyond a word."""
    sanitisers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
    plain, checked = tmp_path / "plain", tmp_path / "checked"
    for folder, flags in ((plain, ()), (checked, sanitisers)):
        folder.mkdir()
        compile_for_the_cpu(folder, *flags)
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"}  # Python's own leaks
    digests = [
        subprocess.run(
            [sys.executable, "-c", SWEEP, folder / "noise.so"],
            env=variables,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        for folder, variables in ((plain, os.environ), (checked, environment))
    ]
    assert digests[1].returncode == 0, digests[1].stderr
    assert digests[1].stdout == digests[0].stdout
    assert len(digests[0].stdout.strip()) == hashlib.sha256().digest_size * 2
