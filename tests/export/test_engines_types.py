"""What is used of TensorRT, against its published types: no TensorRT installs where there is no GPU."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import cgan_export
import cgan_runtime
import pytest

# (class of TensorRT, what of ours it must be)
PAIRS = (
    ("Builder", "api.Builder"),
    ("IBuilderConfig", "api.Config"),
    ("INetworkDefinition", "api.Network"),
    ("ITensor", "api.NetworkTensor"),
    ("IOptimizationProfile", "api.OptimizationProfile"),
    ("ITimingCache", "api.TimingCache"),
    ("OnnxParser", "api.Parser"),
    ("ParserError", "api.ParserError"),
    ("type[{0}BuilderFlag]", "api.Members"),
    ("type[{0}MemoryPoolType]", "api.Members"),
    ("type[{0}HardwareCompatibilityLevel]", "api.Members"),
    ("ICudaEngine", "engine.CudaEngine"),
    ("IExecutionContext", "engine.Context"),
)


def published_types() -> str:
    """The stub file, as valid Python: it has a keyword as a parameter, and a default before a parameter without."""
    (file,) = (f for f in distribution("tensorrt-stubs").files or () if f.name == "tensorrt.pyi")
    text = re.sub(r"\bin: ", "in_: ", Path(str(file.locate())).read_text(encoding="utf-8"))
    lines = text.splitlines()
    for _ in range(10):
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            assert error.lineno is not None
            lines[error.lineno - 1] = re.sub(r" = \w+", "", lines[error.lineno - 1])
        else:
            # It has other faults of its own: `bool` is a value there, and some names are missing.
            return "\n".join(["# mypy: ignore-errors", *lines])
    raise AssertionError("tensorrt-stubs has more faults than are mended here")


def mypy(folder: Path, text: str) -> str:
    (folder / "tensorrt_typed").mkdir(exist_ok=True)
    (folder / "tensorrt_typed" / "__init__.pyi").write_text(published_types(), encoding="utf-8")
    (folder / "check.py").write_text(text, encoding="utf-8")
    roots = [folder, *(Path(str(package.__file__)).parents[1] for package in (cgan_export, cgan_runtime))]
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent", "check.py"]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, roots))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


def checks(pairs: tuple[tuple[str, str], ...]) -> str:
    lines = [
        "import tensorrt_typed as trt",
        "from cgan_export.engines import api",
        "from cgan_runtime.runners.tensorrt import engine",
    ]
    for number, (theirs, ours) in enumerate(pairs):
        named = theirs.format("trt.") if "{0}" in theirs else f"trt.{theirs}"
        lines.append(f"def check_{number}(made: {named}) -> {ours}:\n    return made")
    return "\n".join(lines)


@pytest.mark.slow
def test_what_is_used_of_tensorrt_is_there_with_these_types(tmp_path: Path) -> None:
    wrong = (("ITensor", "api.Builder"), ("IBuilderConfig", "engine.Context"))
    told = mypy(tmp_path, checks((*PAIRS, *wrong)))
    for _, ours in wrong:  # the check can fail
        assert f'expected "{ours.partition(".")[2]}"' in told
    assert "Found 2 errors in 1 file" in told, told
