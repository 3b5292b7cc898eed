"""Two builds of ONNX Runtime in one folder, and none, are said with the lines that repair it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.errors import CganError
from cgan_runtime.runners.onnxruntime import absence, gpu_absence, import_onnxruntime, module

from tests.runtime.onnxruntime.fake_gpu import FakeGpu

GPU_LINE = (
    "onnxruntime and onnxruntime-gpu are installed over each other, and each has lost files to the other; run: "
    'pip uninstall --yes onnxruntime onnxruntime-gpu && pip install "onnxruntime-gpu[cuda,cudnn]>=1.27,<2"'
)


def install(folder: Path, *names: str) -> None:
    """The metadata of packages, as pip writes it."""
    for name in names:
        entry = folder / f"{name.replace('-', '_')}-1.31.1.dist-info"
        entry.mkdir(parents=True)
        (entry / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")


def test_two_builds_are_refused_for_a_gpu_and_serve_the_cpu(
    gpu: FakeGpu, blends: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "packages", "onnxruntime-gpu")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    assert module.installed_builds() == ["onnxruntime", "onnxruntime-gpu"]
    with pytest.raises(CganError) as caught:
        blends.runner(device="cuda")
    assert str(caught.value) == GPU_LINE
    assert not gpu.providers
    blends.runner().close()


@pytest.mark.parametrize("builds", [[], ["onnxruntime"], ["onnxruntime-openvino"]])
def test_the_build_that_is_here_is_the_one_to_remove(builds: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has no metadata, as one that was built from source, it is called by its usual name."""
    monkeypatch.setattr(module, "BUILDS", tuple(builds))
    monkeypatch.setattr(import_onnxruntime(), "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(module, "version", lambda name: name)
    said = gpu_absence() or ""
    assert said.startswith("the ONNX Runtime installed here has no CUDA; run: pip uninstall --yes ")
    assert said.split("--yes ")[1].split(" && ")[0] == (builds or ["onnxruntime"])[0]


def said_by(folder: Path) -> str:
    """What is said where the packages of a folder come first, in an interpreter without others."""
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, *{sys.path!r}]\n"
    code += "from cgan_runtime.runners.onnxruntime import absence; print(absence())"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["", "raise ImportError('libonnxruntime.so.1: no such file')"])
def test_what_an_uninstalled_build_leaves_is_explained(tmp_path: Path, broken: str) -> None:
    """Of two builds one was uninstalled: the folder is there, and without its files."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text(broken)
    said = said_by(tmp_path)
    assert said.startswith("onnxruntime cannot be imported (")
    assert said.endswith("; run: pip install --force-reinstall onnxruntime")
    install(tmp_path, "onnxruntime-gpu")
    said = said_by(tmp_path)
    assert said.startswith("onnxruntime and onnxruntime-gpu are installed over each other")
    assert said.endswith("; run: pip uninstall --yes onnxruntime onnxruntime-gpu && pip install onnxruntime")


def test_a_package_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(module, "BUILDS", ())
    assert absence() == "onnxruntime is not installed; run: pip install onnxruntime"
