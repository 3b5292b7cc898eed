"""Make noise.ptx from noise.cu with nvcc: ``python -m cgan_runtime.cuda.noise_ptx``; once after each change of it.

The PTX is kept with the source, because those who install or run this have no CUDA toolkit. Its first line says of
which source it is, so that a test on any machine notices a source that was changed alone.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from cgan_runtime.atomic import write_atomic
from cgan_runtime.cuda.device_noise import PTX
from cgan_runtime.errors import CganError

__all__ = ["SOURCE", "compiled", "nvcc_version", "title"]

SOURCE: Final = PTX.with_suffix(".cu")
# Fused multiply-add would give other bits than the CPU; every warning is an error.
FLAGS: Final = ("-ptx", "-arch=compute_75", "-fmad=false", "-Werror", "all-warnings")
# nvcc writes its own version, which only drivers of its age or newer load. The kernel uses nothing newer than this
# one, of CUDA 11.0; ptxas refuses a text that does.
PTX_VERSION: Final = "7.0"


def title() -> str:
    """The first line of the PTX of the source as it is now."""
    return f"// {SOURCE.name}, SHA-256 {hashlib.sha256(SOURCE.read_bytes()).hexdigest()}"


def nvcc_version() -> str | None:
    """Such as "13.0.88", or None where there is no nvcc."""
    if (nvcc := shutil.which("nvcc")) is None:
        return None
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"V(\d+\.\d+\.\d+)", said)
    return found[1] if found else None


def compiled(*flags: str) -> str:
    """The PTX of the source.

    Args:
        flags: of nvcc besides `FLAGS`.

    Raises:
        CganError: no nvcc, or a source that does not compile.
    """
    if (nvcc := shutil.which("nvcc")) is None:
        raise CganError("nvcc is not on the PATH; install the CUDA toolkit, or go on with noise.ptx as it is.")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, PTX.name)
        done = subprocess.run(
            [nvcc, *FLAGS, *flags, "-o", out, SOURCE], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CganError(f"nvcc cannot compile {SOURCE}: {done.stderr.strip()}")
        text = out.read_text(encoding="ascii")
    return f"{title()}\n{re.sub(r'(?m)^.version .*$', f'.version {PTX_VERSION}', text)}"


if __name__ == "__main__":
    try:
        write_atomic(PTX, compiled())
    except CganError as error:
        sys.exit(f"noise_ptx: error: {error}")
