"""What a provider's library needs is found and said, with real shared libraries where pip would put them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cgan_runtime.runners.onnxruntime import import_onnxruntime
from cgan_runtime.runners.onnxruntime.libraries import needed_libraries

CAPI = Path(str(import_onnxruntime().__file__)).parent / "capi"
# Names that no machine has, but for those that the code knows.
BLAS, RAND, CUDNN, DRIVER = "libcgan_blas.so.13", "libcgan_rand.so.10", "libcudnn.so.9", "libcuda.so.1"
INFER, PARSER = "libnvinfer.so.10", "libnvonnxparser.so.10"

# A process of its own, because nothing can unload a library again.
PROGRAM = """
import sys
from types import SimpleNamespace
from cgan_runtime.errors import CganError
from cgan_runtime.runners.onnxruntime.devices import parse_device
from cgan_runtime.runners.onnxruntime.libraries import require_libraries, tensorrt_version

def preload_dlls():
    print("Failed to load libcublas.so.13")  # as the real one does, on stdout

ort = SimpleNamespace(__file__=sys.argv[1], cuda_version="13.0", preload_dlls=preload_dlls)
try:
    require_libraries(ort, parse_device(sys.argv[2]))
except CganError as error:
    print(error)
else:
    print("all here", tensorrt_version(ort) if sys.argv[2] == "tensorrt" else "")
"""


class Site:
    """A folder of packages with a build of ONNX Runtime for GPUs, all of them empty shells."""

    def __init__(self, root: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler is here")
        self.compiler, self.packages, self.system = compiler, root / "packages", root / "system"
        shells = {name: self.library(root / "shells", name) for name in (BLAS, RAND, DRIVER, INFER, PARSER)}
        capi = "onnxruntime/capi"
        self.library(
            self.packages / capi, "libonnxruntime_providers_cuda.so", [shells[n] for n in (BLAS, RAND, DRIVER)]
        )
        self.library(self.packages / capi, "libonnxruntime_providers_tensorrt.so", [shells[INFER], shells[PARSER]])
        (self.packages / "onnxruntime" / "__init__.py").touch()

    def library(self, folder: Path, name: str, needs: list[Path] | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        code = "int getInferLibVersion(void) { return 101601; }"
        command = [self.compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", f"-Wl,-soname,{name}", "-x", "c", "-"]
        command += ["-o", str(folder / name), "-x", "none", *map(str, needs or [])]
        subprocess.run(command, input=code, text=True, check=True)
        return folder / name

    def installed(self, name: str, version: str) -> None:
        folder = self.packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def answer(self, device: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.packages), *sys.path]),
            "LD_LIBRARY_PATH": str(self.system),
        }
        command = [sys.executable, "-c", PROGRAM, str(self.packages / "onnxruntime" / "__init__.py"), device]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def with_cuda(site: Site) -> Site:
    site.library(site.system, DRIVER)
    site.library(site.packages / "nvidia" / "cu13" / "lib", BLAS)
    site.library(site.packages / "nvidia" / "curand" / "lib", RAND)
    site.library(site.packages / "nvidia" / "cudnn" / "lib", CUDNN)
    return site


@pytest.mark.slow
def test_the_driver_is_asked_for_before_anything_is_installed(site: Site) -> None:
    if shutil.which("nvidia-smi") is not None:
        pytest.skip("a driver is here")
    said = site.answer("cuda")
    assert said.startswith("no NVIDIA driver (libcuda.so.1) is here; ")
    assert "pip" not in said
    assert "\n" not in said


@pytest.mark.slow
def test_libraries_of_cuda_that_are_missing_are_named_with_the_pip_line(site: Site) -> None:
    site.library(site.system, DRIVER)
    line = 'not found here; run: pip install "onnxruntime-gpu[cuda,cudnn]>=1.27,<2"'
    assert site.answer("cuda") == f"ONNX Runtime's CUDA provider needs {BLAS}, {RAND}, {CUDNN}, {line}"
    site.library(site.packages / "nvidia" / "cudnn" / "lib", CUDNN)
    assert site.answer("tensorrt") == f"ONNX Runtime's CUDA provider needs {BLAS}, {RAND}, {line}"


@pytest.mark.slow
def test_libraries_are_found_where_pip_puts_them(site: Site) -> None:
    assert with_cuda(site).answer("cuda") == "all here"


@pytest.mark.slow
def test_another_tensorrt_is_explained(site: Site) -> None:
    """PyPI's newest is 11, and the provider is linked to 10."""
    with_cuda(site)
    needs = f"ONNX Runtime's TensorRT provider needs TensorRT 10 ({INFER}, {PARSER})"
    line = 'run: pip install "tensorrt-cu13>=10,<11" (or give --device cuda:0)'
    assert site.answer("tensorrt") == f"{needs}, not found here; {line}"
    site.library(site.packages / "tensorrt_libs", "libnvinfer.so.11")
    site.library(site.packages / "tensorrt_libs", "libnvonnxparser.so.11")
    site.installed("tensorrt-cu13", "11.4.0.106")
    assert site.answer("tensorrt") == f"{needs}, and TensorRT 11.4.0.106 is installed; {line}"


@pytest.mark.slow
def test_the_right_tensorrt_is_loaded_from_its_package(site: Site) -> None:
    with_cuda(site)
    for name in (INFER, PARSER):
        site.library(site.packages / "tensorrt_libs", name)
    assert site.answer("tensorrt") == "all here 10.16.1"


def test_what_a_library_needs_is_what_readelf_says() -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("no readelf is here")
    files = [*CAPI.glob("*.so*"), *Path(sys.prefix).rglob("numpy/_core/*.so")]
    assert len(files) > 5
    for path in files:
        said = subprocess.run([readelf, "-d", path], capture_output=True, text=True, check=True).stdout
        assert needed_libraries(path) == re.findall(r"\(NEEDED\).*\[(.+)\]", said), path


def test_a_file_that_is_no_library_needs_nothing(tmp_path: Path) -> None:
    whole = next(CAPI.glob("libonnxruntime_providers_shared.so")).read_bytes()
    files = [b"", b"text", whole[:40], whole[:200], whole[:64] + bytes(1000), b"\x7fELF\x01\x01" + whole[6:]]
    for content in files:
        (tmp_path / "lib.so").write_bytes(content)
        assert needed_libraries(tmp_path / "lib.so") == []
    assert needed_libraries(tmp_path / "none.so") == []
