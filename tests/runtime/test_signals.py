"""Ctrl-C is an interruption, whatever the libraries that execute did to the signals of the process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

# Two at once, closed in the order in which they were opened.
PROGRAM = """
import gc, os, signal, sys
from cgan_bench.backends.openvino_plain import DefaultOpenVino
from cgan_runtime.bundle import read_bundle
from cgan_runtime.runners import runner_kind
from pathlib import Path

bundle, backend = read_bundle(Path(sys.argv[1])), sys.argv[2]
contract, file = bundle.manifest.contract, bundle.path / "model.onnx"

def opened():
    if backend == "openvino, as a peer":
        return DefaultOpenVino(file, contract, threads=1)
    return runner_kind(backend).open(file.read_bytes(), contract)

signal.signal(signal.SIGINT, signal.default_int_handler)
first = opened()
second = opened()
for runner in (first, second):
    runner.close()
del first, second, runner
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "openvino, as a peer"])
def test_ctrl_c_after_runners_have_gone_is_an_interruption(bundle_path: Path, backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle_path), backend],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_openvino_is_opened_once_in_a_process() -> None:
    """A second Core could leave the first one's signal stack behind: see `shared_core`."""
    opened = [
        str(path.relative_to(REPOSITORY))
        for stage in ("trainer", "export", "runtime", "bench")
        for path in (REPOSITORY / stage).rglob("*.py")
        if re.search(r"\bCore\(\)", path.read_text()) or "openvino.compile_model" in path.read_text()
    ]
    assert opened == ["runtime/cgan_runtime/runners/openvino.py"]
