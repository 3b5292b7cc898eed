"""Our drivers of CUDA do what `driver_checks` says, over a libcuda.so.1 that runs on the CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cgan_runtime.cuda.driver import DRIVERS, DriverError
from cgan_runtime.cuda.failures import SAID, driver_error, no_such_device, size_words

from tests.helpers import REPOSITORY

PACKAGES = {"pycuda": "pycuda", "cuda-bindings": "cuda"}


@pytest.fixture(scope="module")
def fake_libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is here")
    library = tmp_path_factory.mktemp("fake") / "libcuda.so.1"
    source = Path(__file__).with_name("fake_libcuda.c")
    options = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([compiler, *options, "-o", str(library), str(source), "-ldl"], check=True)
    return library


def run_checks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.runtime.cuda.driver_checks", *arguments]
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_does_what_the_protocol_says(name: str, fake_libcuda: Path) -> None:
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{name} is not installed")
    done = run_checks(name, str(fake_libcuda))
    assert done.returncode == 0, done.stderr
    assert f"{name}: 7 checks passed" in done.stdout


def test_every_code_has_one_whole_sentence() -> None:
    for code, sentence in SAID.items():
        assert str(driver_error("cuCall", code, "words")) == sentence
        assert sentence.endswith("."), code
    assert str(driver_error("cuCall", 999, "unknown error.")) == "cuCall failed: unknown error (CUDA error 999)."
    assert str(driver_error("cuCall", -1, "a\nb")) == "cuCall failed: a\N{REPLACEMENT CHARACTER}b."


def test_errors_of_cuda_end_a_command_with_1() -> None:
    assert DriverError("").exit_code == 1


@pytest.mark.parametrize(
    ("number", "count", "words"),
    [
        (0, 0, "no NVIDIA GPU is visible"),
        (1, 1, "GPU 1 was asked for, only number 0 is"),
        (5, 2, "only 0 to 1 are"),
    ],
)
def test_a_gpu_that_is_not_here_is_named(number: int, count: int, words: str) -> None:
    assert words in str(no_such_device(number, count))


def test_sizes_are_said_in_the_unit_that_fits() -> None:
    sizes = [1023, 1024, 5 << 20, (1 << 30) - 1, 3 << 29]
    assert [size_words(size) for size in sizes] == ["1023 bytes", "1.0 KiB", "5.0 MiB", "1024.0 MiB", "1.5 GiB"]
