"""The interpreter environment that Triton and its Python models run in.

Triton's Python backend corrupts tensors under numpy 2 (it was built against 1.x), so the server has a virtual
environment of its own: the `tritonserver` binary inside the nvidia-pytriton wheel, numpy 1.26, Pillow, pydantic and
what executes the artifacts. It lies in the user's cache folder, named by what is in it, and is made once.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cgan_runtime.atomic import sweep_leftovers, temporary_folder
from cgan_runtime.bundle import DEFAULT_BACKEND
from cgan_runtime.claims import claim
from cgan_runtime.errors import CganError
from cgan_runtime.runners import runner_kind

__all__ = [
    "OWN_PACKAGES",
    "ServerEnvironment",
    "default_root",
    "find_environment",
    "make_environment",
    "model_packages",
]

# --no-deps: the binary, the backend and the stubs need none of pytriton's own dependencies.
TRITON_WHEEL: Final = "nvidia-pytriton==0.7.0"  # Triton 2.51.0, the container release 24.10
OWN_PACKAGES: Final = ("numpy>=1.26,<2", "pillow>=11,<14", "pydantic>=2.12,<3")  # what our own code in it imports
READY_MARK: Final = "cgan-ready"
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class ServerEnvironment:
    """A finished environment."""

    root: Path

    @property
    def triton(self) -> Path:
        """Folder of the Triton distribution inside the wheel."""
        return _site_packages(self.root) / "pytriton" / "tritonserver"

    @property
    def server(self) -> Path:
        """The tritonserver binary."""
        return self.triton / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """A backend directory with the Python backend and the stub of this interpreter."""
        return self.root / "backends"

    def describe(self, backend: str) -> str:
        """What executes the artifacts of a backend, with its version where it is a package of this environment."""
        package = backend.replace("_", "-")
        (found, *_) = (*importlib.metadata.distributions(name=package, path=[str(_site_packages(self.root))]), None)
        return package if found is None else f"{package} {found.version}"

    def variables(self, home: Path) -> dict[str, str]:
        """The whole environment of the server process; PATH selects the interpreter of the models."""
        return {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "LD_LIBRARY_PATH": str(Path(sys.base_prefix) / "lib"),  # libpython of the stub
            "ORT_DISABLE_TELEMETRY": "1",
        }


def model_packages(backend: str = DEFAULT_BACKEND) -> tuple[str, ...]:
    """What the models import, to run artifacts of a backend.

    Raises:
        CganError: this release has no runner for it.
    """
    return (*OWN_PACKAGES, *runner_kind(backend).packages)


def default_root(backend: str = DEFAULT_BACKEND) -> Path:
    """Where this release's environment for this Python and a backend lies."""
    import platformdirs

    content = "\n".join((TRITON_WHEEL, *model_packages(backend), sys.base_prefix, _python_version()))
    name = f"triton-py{_python_version()}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    return platformdirs.user_cache_path("cgan-deploy") / name


def find_environment(root: Path | None = None, *, backend: str = DEFAULT_BACKEND) -> ServerEnvironment | None:
    """The environment if it was made completely, else None."""
    root = root or default_root(backend)
    return ServerEnvironment(root=root) if (root / READY_MARK).exists() else None


def make_environment(
    root: Path | None = None, say: Callable[[str], None] = print, *, backend: str = DEFAULT_BACKEND
) -> ServerEnvironment:
    """Make the environment (about 150 MB from the package index), or return it if it is there.

    Where another process is making it, wait for that one.

    Args:
        root: where; `default_root` if None.
        say: told what is being done.
        backend: of the artifacts that will be served.

    Raises:
        CganError: this release has no runner for the backend; or venv, pip or the platform failed; says which and
            what to install. Nothing is left behind.
        OSError: there is no room for it, or no permission; the same.
    """
    root = root or default_root(backend)
    found = find_environment(root)
    if found is not None:
        return found
    _require_platform()
    # One process at a time: two would fetch the same 150 MB twice.
    with claim(root, wait=lambda: say(f"another process is making {root}; waiting for it")):
        made = find_environment(root)  # by the process that held the lock before
        if made is not None:
            return made
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise CganError(f"{root} is not a complete environment of the server: remove it and try again.")
        return _make(root, model_packages(backend), say)


def _make(root: Path, packages: Sequence[str], say: Callable[[str], None]) -> ServerEnvironment:
    say(f"making the server environment in {root} (once, about 150 MB)")
    sweep_leftovers(root.parent)
    with temporary_folder(root) as unfinished:
        python = str(unfinished / "bin" / "python")
        # In two steps, for venv keeps to itself what ensurepip said, as that the disk is full.
        _command([sys.executable, "-m", "venv", "--without-pip", str(unfinished)], "python -m venv")
        _command([python, "-m", "ensurepip"], "python -m ensurepip (Debian: apt install python3-venv)")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _command([*pip, "--no-deps", TRITON_WHEEL], f"pip install {TRITON_WHEEL}")
        _command([*pip, *packages], "pip install of the model packages")
        _link_backend(unfinished)
        _require_libraries(unfinished)
        (unfinished / READY_MARK).touch()
        unfinished.rename(root)
    return ServerEnvironment(root=root)


def _require_platform() -> None:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise CganError(
            f"Triton's wheel exists for Linux on x86_64 only, this is {sys.platform} {os.uname().machine}."
        )


def _link_backend(root: Path) -> None:
    """Links, never copies: a copied stub loses the library path that is relative to its place."""
    triton = ServerEnvironment(root=root).triton
    stub = triton / "python_backend_stubs" / _python_version() / "triton_python_backend_stub"
    if not stub.exists():
        have = ", ".join(sorted(p.name for p in (triton / "python_backend_stubs").iterdir()))
        raise CganError(f"Triton has no Python backend for Python {_python_version()}; use one of: {have}.")
    folder = root / "backends" / "python"
    folder.mkdir(parents=True)
    sources = [
        triton / "backends" / "python" / name for name in ("libtriton_python.so", "triton_python_backend_utils.py")
    ]
    for source in (*sources, stub):
        # Relative, because the folder gets its final name only when all is done.
        (folder / source.name).symlink_to(os.path.relpath(source, folder))


def _require_libraries(root: Path) -> None:
    """A stub whose libraries are missing would hang the server without opening a port."""
    # The real path: ldd resolves library paths that are relative to the file from the name it is given.
    stub = (root / "backends" / "python" / "triton_python_backend_stub").resolve()
    variables = ServerEnvironment(root=root).variables(root)
    listing = subprocess.run(
        ["/usr/bin/ldd", str(stub)], env=variables, capture_output=True, text=True, check=False
    )
    missing = [line.split()[0] for line in listing.stdout.splitlines() if "not found" in line]
    if missing:
        raise CganError(
            f"Triton's Python backend needs {', '.join(missing)}; install it (Debian: apt install "
            f"libpython{_python_version()}) or use a Python built with --enable-shared."
        )


def _command(words: list[str], what: str) -> None:
    # PYTHONPATH and an active environment must not leak into the new one.
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if (full := next((n for n in _NO_ROOM if os.strerror(n) in done.stderr + done.stdout), None)) is not None:
            raise OSError(full, os.strerror(full))
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise CganError(f"{what} failed: {last}")


def _site_packages(root: Path) -> Path:
    return root / "lib" / f"python{_python_version()}" / "site-packages"


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
