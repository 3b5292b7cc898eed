"""Build a wheel of pycuda, which PyPI has as source only, on a machine that may have no GPU.

The build needs the CUDA toolkit (for cuda.h) and a C++ compiler. Where no driver is installed there is no
libcuda.so.1 to link with: a library of that name with the one function that the linker wants stands in. It is not
part of the wheel; on the GPU machine the driver's own library is loaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cgan_runtime.errors import CganError, UsageError

__all__ = [
    "VERSION",
    "build_pycuda",
    "cuda_root",
    "needed_libraries",
    "program_output",
    "siteconf",
    "stand_in",
    "tool",
]

VERSION: Final = "2026.1"
DRIVER: Final = "libcuda.so.1"
QUIETLY: Final = ("--quiet", "--disable-pip-version-check")


def cuda_root(given: Path | None = None) -> Path:
    """The folder of the CUDA toolkit: the given one, $CUDA_HOME, that of nvcc, or /usr/local/cuda.

    Raises:
        UsageError: none of them has include/cuda.h.
    """
    nvcc = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), Path(nvcc).resolve().parents[1] if nvcc else None, "/usr/local/cuda"]
    looked = [given] if given else [Path(place) for place in places if place]
    for root in looked:
        if (root / "include" / "cuda.h").is_file():
            return root.resolve()
    where = ", ".join(map(str, looked))
    raise UsageError(f"no include/cuda.h in {where}; install the CUDA toolkit, or name its folder with --cuda.")


def siteconf(root: Path, stand_in_folder: Path) -> str:
    """The siteconf.py of pycuda's setup: literals only, which is all that it takes."""
    return "".join(
        f"{key} = {value!r}\n"
        for key, value in {
            "CUDA_ROOT": str(root),
            "CUDA_ENABLE_CURAND": False,  # cuRAND is not part of every toolkit, and nothing here uses it
            "USE_SHIPPED_BOOST": True,
            "CUDADRV_LIB_DIR": [str(stand_in_folder)],
        }.items()
    )


def stand_in(folder: Path) -> Path:
    """A libcuda.so to link with, in the folder.

    It must have a function that pycuda uses: the linker drops a library of which nothing is used, and the wheel
    would not load the driver's.
    """
    source, library = folder / "libcuda.c", folder / "libcuda.so"
    source.write_text("int cuInit(unsigned flags) { return 100 + (int)flags; }\n", encoding="ascii")
    program_output([tool("gcc"), "-shared", "-fPIC", f"-Wl,-soname,{DRIVER}", "-o", library, source])
    return library


def needed_libraries(wheel: Path, folder: Path) -> set[str]:
    """The shared libraries that pycuda's extension module asks for; it is unpacked into the folder."""
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if re.search(r"(^|/)_driver\.[^/]*\.so$", name)), None)
        if name is None:
            raise CganError(f"{wheel.name} has no extension module; the build of pycuda has gone wrong.")
        module = archive.extract(name, folder)
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", program_output([tool("readelf"), "-d", module])))


def build_pycuda(python: Path, root: Path, work: Path, target: Path) -> Path:
    """Build the wheel; takes a minute or two.

    Args:
        python: with pip, setuptools, wheel and numpy; the wheel is for this version of Python.
        root: of the CUDA toolkit.
        work: an empty folder.
        target: where the wheel is put.

    Raises:
        CganError: no network, no compiler, or a wheel that would not load the driver.
    """
    pip: list[str | Path] = [python, "-m", "pip"]
    options = [*QUIETLY, "--no-deps", "--no-build-isolation"]
    program_output([*pip, "download", *options, "--no-binary", ":all:", "-d", work, f"pycuda=={VERSION}"])
    _unpack(work / f"pycuda-{VERSION}.tar.gz", work)
    source = work / f"pycuda-{VERSION}"
    (source / "siteconf.py").write_text(siteconf(root, stand_in(work).parent), encoding="utf-8")
    # -s leaves out the symbols for debuggers: 0.7 MB instead of 5.4 MB.
    search = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    program_output([*pip, "wheel", *options, "-w", target, source], {"PATH": search, "LDFLAGS": "-s"})
    wheel = next(target.glob(f"pycuda-{VERSION}-*.whl"))
    if DRIVER not in (needed := needed_libraries(wheel, work)):
        raise CganError(f"{wheel.name} asks for {', '.join(sorted(needed))}, not for {DRIVER}: it could not load.")
    return wheel


def tool(name: str) -> str:
    """The path of a program.

    Raises:
        CganError: it is not there.
    """
    if (path := shutil.which(name)) is None:
        raise CganError(f"{name} is not on the PATH; install a C and C++ compiler (Debian: build-essential).")
    return path


def program_output(words: Sequence[str | Path], variables: Mapping[str, str] | None = None) -> str:
    """What a program prints.

    Args:
        words: the program and its arguments.
        variables: of the environment, besides those there are.

    Raises:
        CganError: it failed; the last line that it said.
    """
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        command = " ".join([Path(words[0]).name, *map(str, words[1:4])])
        raise CganError(f"{command} ... failed with exit code {done.returncode}: {said}")
    return done.stdout


def _unpack(path: Path, folder: Path) -> None:
    """What is in a .tar.gz, into a folder, and nothing beside it."""
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
            return
        # Python before 3.11.4 has no filters.
        inside = [member for member in archive if member.isreg() or member.isdir()]
        for member in inside:
            if not (folder / member.name).resolve().is_relative_to(folder.resolve()):
                raise CganError(f"{path.name} would write to {member.name}, beside its folder.")
        archive.extractall(folder, members=inside)  # noqa: S202 - each was looked at
