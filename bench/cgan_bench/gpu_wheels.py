"""Collect the packages for `make gpu-check` on a machine without a network: ``python -m cgan_bench.gpu_wheels``.

A GPU machine for a check is often a container with PyTorch for CUDA and nothing else. What else the runtime needs
travels as wheels: the base installation of cgan-deploy, and pycuda, which is built here because PyPI has no wheel.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import requires
from pathlib import Path
from typing import Annotated, Final, NoReturn

from cgan_runtime.atomic import atomic_folder
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import CganError, UsageError
from cyclopts import Parameter, validators

from cgan_bench.pycuda_wheel import QUIETLY, build_pycuda, cuda_root, program_output

__all__ = ["base_requirements", "main", "require_small"]

command = app("gpu-wheels")

# PyTorch is there and brings its own numpy; another one beside it would only be in the way.
ALREADY_THERE: Final = ("numpy",)
USE: Final = """On the GPU machine, with the folder and the source tree:
    python3 -m venv --system-site-packages .gpu
    .gpu/bin/pip install --no-index --no-deps {folder}/*.whl
    make gpu-check PYTHON=.gpu/bin/python
"""


@command.default
def gpu_wheels(
    *,
    to: Path,
    python: str = sys.executable,
    cuda: Path | None = None,
    limit_mib: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 64,
) -> None:
    """Build pycuda and download the other packages for make gpu-check.

    It takes a few minutes. Neither a GPU nor its driver is needed; the CUDA toolkit and a C++ compiler are.

    For example:

        python -m cgan_bench.gpu_wheels --to gpu-wheels --python python3.12

    Parameters
    ----------
    to
        The new folder for the wheels.
    python
        The Python that the GPU machine has, as a program that is here; by default the one that runs this.
    cuda
        Folder of the CUDA toolkit; by default $CUDA_HOME, that of nvcc, or /usr/local/cuda.
    limit_mib
        Largest size of all wheels together (64).
    """
    if (interpreter := shutil.which(python)) is None:
        raise UsageError(f"there is no program {python}; name a Python that is installed here.")
    root = cuda_root(cuda)
    with atomic_folder(to) as folder, tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        # An environment of its own: the build is not isolated, so that it takes the numpy which is here.
        sys.stderr.write("making an environment\n")
        program_output([interpreter, "-m", "venv", work / "venv"])
        own = work / "venv" / "bin" / "python"
        pip: list[str | Path] = [own, "-m", "pip"]
        program_output([*pip, "install", *QUIETLY, "setuptools", "wheel", "numpy"])
        sys.stderr.write("building pycuda\n")
        built = build_pycuda(own, root, work, folder)
        sys.stderr.write("downloading\n")
        options: list[str | Path] = [*QUIETLY, "--only-binary", ":all:", "--find-links", folder, "-d", folder]
        program_output([*pip, "download", *options, built, *base_requirements()])
        for wheel in [wheel for name in ALREADY_THERE for wheel in folder.glob(f"{name}-*.whl")]:
            wheel.unlink()
        require_small(folder, limit_mib)
    wheels = list(to.iterdir())
    mib = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    sys.stdout.write(f"{len(wheels)} wheels, {mib:.1f} MiB, in {to}\n{USE.format(folder=to)}")


def base_requirements() -> list[str]:
    """What the base installation asks for: "pillow>=11,<14" and so on, without the extras and what is there."""
    lines = [line for line in requires("cgan-deploy") or [] if "extra ==" not in line]
    return [line for line in lines if not line.startswith(ALREADY_THERE)]


def require_small(folder: Path, limit_mib: int) -> None:
    """Refuse wheels that are too much for the journey.

    Raises:
        CganError: together more than `limit_mib`; the largest are named.
    """
    sizes = {wheel.name.partition("-")[0]: wheel.stat().st_size / 2**20 for wheel in folder.iterdir()}
    if sum(sizes.values()) > limit_mib:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        named = ", ".join(f"{name} {sizes[name]:.1f}" for name in largest)
        raise CganError(
            f"the wheels have {sum(sizes.values()):.1f} MiB ({named}); raise --limit-mib {limit_mib} if they may."
        )


def main() -> NoReturn:
    """The command."""
    run(command)


if __name__ == "__main__":
    main()
