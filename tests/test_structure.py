"""The house rules: what may import what, what works without the heavy packages, names that resolve here."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
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
# The folders and root modules of the trainer, lowest first; what shares a line may be imported by its neighbours.
LAYERS: tuple[set[str], ...] = (
    {"unfinished", "seeding", "palette", "generator", "losses", "configs"}
    | {"file_kind", "checkpoint_paths", "part_names", "bounded_zip", "safe_unpickler"},
    {"nets"},
    {"data"},
    {"evaluation"},
    {"checkpoint", "checkpoint_v1"},
    {"families"},
    {"readers"},
    {"watching"},
    {"training"},
    {"ablation"},
    {"cli"},
    {"__main__"},
)
COMMANDS = ("cgan-data", "cgan-train", "cgan-export", "cgan-serve", "cgan-generate", "cgan-translate", "cgan-bench")
# Only Triton has what these modules import.
INSIDE_TRITON = frozenset(f"cgan_runtime.serving.{name}" for name in ("core_call", "models", "stage_times"))


def imports_of(package: str) -> Iterator[tuple[Path, str]]:
    """(file, "a.b" or "a.b.name") of every import, those in functions and for type checkers too."""
    for path in sorted(Path(PACKAGES[package].__file__ or "").parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively: write the package's name"
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def folder_graph(package: str) -> dict[str, set[str]]:
    """Which folder of a package imports which. The package's `__init__` only names what others define: left out."""
    root = Path(PACKAGES[package].__file__ or "").parent
    folders = {path.parent.name for path in root.glob("*/__init__.py")}
    modules = {path.stem for path in root.glob("*.py")} - {"__init__"}
    graph: dict[str, set[str]] = {name: set() for name in sorted(folders | modules)}
    for path, imported in imports_of(package):
        folder = path.relative_to(root).parts[0].removesuffix(".py")
        target = imported.split(".")[1] if imported.startswith(f"{package}.") else ""
        if folder in graph and target in graph and folder != target:
            graph[folder].add(target)
    return graph


def circle(graph: dict[str, set[str]], start: str) -> list[str]:
    """The shortest way from a folder back to itself along imports; empty where there is none."""
    ways, seen = [[start]], set()
    for way in ways:
        for folder in sorted(graph[way[-1]]):
            if folder == start:
                return [*way, folder]
            if folder not in seen:
                seen.add(folder)
                ways.append([*way, folder])
    return []


def modules(package: str) -> list[str]:
    walk = pkgutil.walk_packages(PACKAGES[package].__path__, f"{package}.")
    return [package, *(m.name for m in walk if m.name not in INSIDE_TRITON and not m.name.endswith("__main__"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_this_repositorys(package: str) -> None:
    assert Path(PACKAGES[package].__file__ or "").is_relative_to(REPOSITORY)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package: str) -> None:
    for path, imported in imports_of(package):
        assert imported.partition(".")[0] not in set(PACKAGES) - ALLOWED[package] - {package}, (path, imported)
        assert package != "cgan_runtime" or imported.partition(".")[0] != "torch", path


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_between_the_folders_of_a_package(package: str) -> None:
    """A root module counts as a folder of its own."""
    graph = folder_graph(package)
    for folder in graph:
        assert circle(graph, folder) == []


def test_no_import_of_the_trainer_runs_up() -> None:
    floor = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}
    graph = folder_graph("cgan_trainer")
    assert set(floor) == set(graph), "a new folder or root module belongs into LAYERS and docs/architecture.md"
    up = [f"{a} -> {b}" for a, targets in graph.items() for b in targets if floor[b] > floor[a]]
    assert up == []


def test_the_layers_are_those_of_the_documentation() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    (block,) = re.findall(r"^```layers\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    told = [set(line.split("#")[0].split()) for line in block.splitlines()]
    assert [folders - {"__main__"} for folders in LAYERS if folders != {"__main__"}] == told[::-1]


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_verifying_a_bundle_needs_no_torch(bundle_path: Path) -> None:
    code = without("torch", "onnxscript") + (
        f"sys.argv = ['cgan-export', '--verify', {str(bundle_path)!r}]\nfrom cgan_export.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "golden images" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.slow
def test_help_needs_none_of_the_heavy_packages(name: str) -> None:
    package = {"cgan-data": "cgan_trainer.cli.data", "cgan-train": "cgan_trainer.cli.train"}.get(name)
    package = (
        package
        or {
            "cgan-serve": "cgan_runtime.cli.serve",
            "cgan-generate": "cgan_runtime.cli.generate",
            "cgan-translate": "cgan_runtime.cli.translate",
            "cgan-export": "cgan_export.cli",
            "cgan-bench": "cgan_bench.cli",
        }[name]
    )
    hidden = ["torch", "onnx", "onnxruntime", "onnxscript", "tritonclient", "PIL", "psutil", "numpy"]
    if name != "cgan-train":  # the limits in its options' annotations are pydantic's
        hidden.append("pydantic")
    code = without(*hidden) + f"sys.argv = [{name!r}, '--help']\nfrom {package} import main\nmain()\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout
    told = " ".join(done.stdout.split())
    assert "--debug" in told
    assert "130 interrupted" in told
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
    """An editable installation puts these folders on the path: a loose file would become a module.

    What was measured on other machines is text.
    """
    for stage in ("trainer", "export", "runtime", "bench"):
        found = {p.name for p in (REPOSITORY / stage).iterdir() if p.name != "__pycache__"}
        assert found - {"results"} == {"README.md", f"cgan_{stage}"}
    assert {path.suffix for path in (REPOSITORY / "bench" / "results").iterdir()} == {".md"}
