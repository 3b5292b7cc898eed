"""What `import cgan_runtime` offers: every name is there, documented, and costs nothing before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cgan_runtime
import pytest

SOURCE = Path(cgan_runtime.__file__ or "").read_text()


@pytest.mark.parametrize("name", cgan_runtime.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(cgan_runtime, name)
    if name not in ("__version__", "ENCODERS", "DECODERS", "RUNNERS"):
        assert value.__doc__


def test_type_checkers_see_the_names_that_run() -> None:
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {name: f"cgan_runtime.{module}" for name, module in cgan_runtime._HOME.items()}
    assert {**seen, "noise": "cgan_runtime.noise"} == homes
    assert {*homes, "__version__"} == set(cgan_runtime.__all__) == set(dir(cgan_runtime))


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    assert not hasattr(cgan_runtime, "no_such_name")


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'numpy', 'pydantic', 'onnxruntime', 'PIL', 'tritonclient'}"
    code = f"import cgan_runtime, sys; print(sorted({{m.partition('.')[0] for m in sys.modules}} & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_noise_is_the_module_before_and_after_its_import() -> None:
    code = (
        "import cgan_runtime as r; first = r.noise; import cgan_runtime.noise as module\n"
        "print(first is module is r.noise, module.noise('normal', (1,), seed=7, tensor=0).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True (1,)\n", done.stderr
