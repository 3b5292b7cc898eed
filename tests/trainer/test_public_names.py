"""What `import cgan_trainer` offers: every name is there, documented, and needs torch only when it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cgan_trainer
import pytest

SOURCE = Path(cgan_trainer.__file__ or "").read_text()
VALUES = ("__version__", "CONFIGS", "FAMILIES", "READERS", "Judge")


@pytest.mark.parametrize("name", cgan_trainer.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(cgan_trainer, name)
    assert name in VALUES or value.__doc__


def test_type_checkers_see_the_names_that_run() -> None:
    (block,) = (node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == {name: f"cgan_trainer.{module}" for name, module in cgan_trainer._HOME.items()}
    assert {*seen, "__version__"} == set(cgan_trainer.__all__) == set(dir(cgan_trainer))


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = cgan_trainer.trian


def test_importing_the_package_or_the_options_imports_no_torch() -> None:
    code = (
        "import sys; from cgan_trainer import CONFIGS, RunOptions\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'torch', 'numpy', 'PIL', 'onnx'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
