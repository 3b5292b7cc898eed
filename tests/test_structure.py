"""The house rules: what may import what, what works without the heavy packages, names that resolve here."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import cgan_bench
import cgan_export
import cgan_runtime
import cgan_trainer
import pytest

from tests.helpers import REPOSITORY, run_command

PACKAGES = {
    "cgan_trainer": cgan_trainer,
    "cgan_export": cgan_export,
    "cgan_runtime": cgan_runtime,
    "cgan_bench": cgan_bench,
}
ALLOWED = {
    "cgan_runtime": set(),
    "cgan_trainer": {"cgan_runtime"},
    "cgan_export": {"cgan_trainer", "cgan_runtime"},
    "cgan_bench": {"cgan_trainer", "cgan_runtime", "cgan_export"},
}
COMMANDS = ("cgan-data", "cgan-train", "cgan-export", "cgan-serve", "cgan-translate", "cgan-bench")
# Only Triton has this module's import.
INSIDE_TRITON = "cgan_runtime.serving.models"


def modules(package: str) -> list[str]:
    walk = pkgutil.walk_packages(PACKAGES[package].__path__, f"{package}.")
    return [package, *(m.name for m in walk if m.name != INSIDE_TRITON and not m.name.endswith("__main__"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_this_repositorys(package: str) -> None:
    assert Path(PACKAGES[package].__file__ or "").is_relative_to(REPOSITORY)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    root = Path(PACKAGES[package].__file__ or "").parent
    forbidden = set(PACKAGES) - ALLOWED[package] - {package}
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] not in forbidden, f"{path} imports {name}"
                assert package != "cgan_runtime" or name.partition(".")[0] != "torch", path


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is_for_and_exports_what_exists(package: str) -> None:
    for name in modules(package):
        module = importlib.import_module(name)
        assert module.__doc__, name
        for exported in getattr(module, "__all__", ()):
            assert hasattr(module, exported), f"{name}.{exported}"


def without(*hidden: str) -> str:
    """Code that makes imports of some packages fail, as where they are not installed."""
    return (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {hidden!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )


def test_the_runtime_runs_a_bundle_without_torch_or_onnx(bundle_path: Path) -> None:
    code = without("torch", "onnx", "tritonclient", "cgan_trainer", "cgan_export") + (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from cgan_runtime.bundle import read_bundle\n"
        f"generator = read_bundle(Path({str(bundle_path)!r})).generator()\n"
        "x = np.zeros((1, 3, 64, 64), dtype=np.float32)\n"
        "print(generator.generate({'condition': x}, [7], [0])['picture'].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 3, 64, 64)\n", done.stderr


def test_verifying_a_bundle_needs_no_torch(bundle_path: Path) -> None:
    code = without("torch", "onnxscript") + (
        f"sys.argv = ['cgan-export', '--verify', {str(bundle_path)!r}]\nfrom cgan_export.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden pictures" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_needs_none_of_the_heavy_packages(name: str) -> None:
    package = {"cgan-data": "cgan_trainer.cli.data", "cgan-train": "cgan_trainer.cli.train"}.get(name)
    package = (
        package
        or {
            "cgan-serve": "cgan_runtime.cli.serve",
            "cgan-translate": "cgan_runtime.cli.translate",
            "cgan-export": "cgan_export.cli",
            "cgan-bench": "cgan_bench.cli",
        }[name]
    )
    hidden = ("torch", "onnx", "onnxruntime", "onnxscript", "tritonclient", "PIL", "psutil")
    code = without(*hidden) + f"sys.argv = [{name!r}, '--help']\nfrom {package} import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_knows_its_version_and_suggests_the_option_that_was_meant(name: str) -> None:
    version = run_command(name, "--version")
    assert version.stdout.strip() == cgan_runtime.__version__
    wrong = run_command(name, *(("pix2pix",) if name == "cgan-train" else ()), "--versoin")
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert "Traceback" not in wrong.stderr


def test_only_packages_and_readmes_lie_in_the_stage_folders() -> None:
    """An editable installation puts these folders on the path: a loose file would become a module."""
    for stage in ("trainer", "export", "runtime", "bench"):
        found = {p.name for p in (REPOSITORY / stage).iterdir() if p.name != "__pycache__"}
        assert found == {"README.md", f"cgan_{stage}"}
