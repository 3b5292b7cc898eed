"""The wheels for a GPU machine: pycuda is linked with the driver's library, and nothing is left of a failure.

The build itself needs the network, the CUDA toolkit and minutes: a program stands in for pip and leaves the wheel
that a build leaves, made by the real compiler and linker.
"""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from cgan_bench.gpu_wheels import base_requirements, main, require_small
from cgan_bench.pycuda_wheel import VERSION, cuda_root, needed_libraries, siteconf, stand_in
from cgan_runtime.errors import CganError, UsageError

from tests.helpers import REPOSITORY

pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="no binutils here")

# A program that does what the command asks of Python and pip; what it was asked is in a file beside it.
PIP = """#!{python}
import json, os, pathlib, shutil, sys
words, log = sys.argv[1:], pathlib.Path({log!r})
asked = json.loads(log.read_text()) if log.exists() else []
log.write_text(json.dumps([*asked, [words, os.environ.get("LDFLAGS"), os.environ["PATH"]]]))
if words[:2] == ["-m", "venv"]:
    own = pathlib.Path(words[2], "bin", "python")
    own.parent.mkdir(parents=True)
    shutil.copy(__file__, own)
elif "wheel" in words and "-w" in words:
    name = "pycuda-{version}-cp312-cp312-linux_x86_64.whl"
    shutil.copy({wheel!r}, pathlib.Path(words[words.index("-w") + 1], name))
    shutil.copy(pathlib.Path(words[-1], "siteconf.py"), log.with_name("siteconf.py"))
elif "download" in words:
    folder = pathlib.Path(words[words.index("-d") + 1])
    if "--no-binary" in words:
        shutil.copy({sdist!r}, folder)
    else:
        if log.with_name("offline").exists():
            sys.exit("ERROR: no network\\nERROR: no matching distribution")
        for name in ("numpy-2.5.5-cp312.whl", "pillow-13.0.0-cp312.whl"):
            pathlib.Path(folder, name).write_bytes(b"x" * 2**20)
"""


def extension(folder: Path, code: str) -> Path:
    """A wheel with an extension module of this code, linked as pycuda's is."""
    folder.mkdir()
    library = stand_in(folder)
    source, module = folder / "module.c", folder / "_driver.cpython-312-x86_64-linux-gnu.so"
    source.write_text(code)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wl,--as-needed", "-o", module, source, f"-L{library.parent}", "-lcuda"],
        check=True,
    )
    wheel = folder / "pycuda.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(module, f"pycuda/{module.name}")
    return wheel


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Uses the driver."""
    folder = tmp_path_factory.mktemp("wheel") / "good"
    return extension(folder, "int cuInit(unsigned); int start(void) { return cuInit(0); }")


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    root = tmp_path / "toolkit"
    (root / "include").mkdir(parents=True)
    (root / "include" / "cuda.h").touch()
    return root


def pip(folder: Path, wheel: Path) -> Path:
    """The stand-in, as a program."""
    sdist = folder / f"pycuda-{VERSION}.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        entry = tarfile.TarInfo(f"pycuda-{VERSION}/setup.py")
        archive.addfile(entry, io.BytesIO())
    program = folder / "python3.12"
    text = PIP.format(
        python=sys.executable, log=str(folder / "asked.json"), wheel=str(wheel), sdist=str(sdist), version=VERSION
    )
    program.write_text(text)
    program.chmod(0o755)
    return program


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path | int) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu-wheels", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_settings_are_literals_and_name_toolkit_and_stand_in() -> None:
    body = ast.parse(siteconf(Path("/opt/it's cuda"), Path("/tmp/stub"))).body
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in body}  # type: ignore[attr-defined]  # else it fails
    assert values == {
        "CUDA_ROOT": "/opt/it's cuda",
        "CUDA_ENABLE_CURAND": False,
        "USE_SHIPPED_BOOST": True,
        "CUDADRV_LIB_DIR": ["/tmp/stub"],
    }


def test_a_module_linked_with_the_stand_in_asks_for_the_drivers_library(good: Path, tmp_path: Path) -> None:
    assert "libcuda.so.1" in needed_libraries(good, tmp_path)
    unused = extension(tmp_path / "unused", "int start(void) { return 0; }")
    assert "libcuda.so.1" not in needed_libraries(unused, tmp_path / "again")


def test_the_toolkit_is_the_one_that_is_named_or_a_sentence(toolkit: Path, tmp_path: Path) -> None:
    assert cuda_root(toolkit) == toolkit
    with pytest.raises(
        UsageError, match=r"^no include/cuda.h in .*none; install the CUDA toolkit, or [^.]* --cuda\.$"
    ):
        cuda_root(tmp_path / "none")


def test_the_environment_names_the_toolkit(toolkit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(toolkit))
    assert cuda_root() == toolkit


def test_what_travels_is_the_base_installation_without_numpy() -> None:
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[^a-z-]", line)[0] for line in listed}
    assert {re.split(r"[^a-z-]", line)[0] for line in base_requirements()} == names - {"numpy"}


def test_the_folder_has_pycuda_and_the_rest_and_no_numpy(
    good: Path, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, folder = pip(tmp_path, good), tmp_path / "wheels"
    assert run(monkeypatch, "--to", folder, "--python", program, "--cuda", toolkit) == 0
    assert {wheel.name.partition("-")[0] for wheel in folder.iterdir()} == {"pycuda", "pillow"}
    said = capsys.readouterr().out
    assert said.startswith("2 wheels, 1.0 MiB, in ")
    assert f"--no-deps {folder}/*.whl" in said
    asked = json.loads((tmp_path / "asked.json").read_text())
    (flags, search) = next((flags, search) for words, flags, search in asked if "-w" in words)
    assert flags == "-s"
    assert search.startswith(f"{toolkit / 'bin'}:")
    assert str(toolkit) in (tmp_path / "siteconf.py").read_text()


def test_a_pycuda_that_could_not_load_is_refused(
    toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unused = extension(tmp_path / "unused", "int start(void) { return 0; }")
    folder = tmp_path / "wheels"
    assert run(monkeypatch, "--to", folder, "--python", pip(tmp_path, unused), "--cuda", toolkit) == 1
    assert "not for libcuda.so.1: it could not load." in capsys.readouterr().err
    assert not folder.exists()


def test_a_failure_leaves_nothing_and_says_the_last_line(
    good: Path, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, folder = pip(tmp_path, good), tmp_path / "wheels"
    (tmp_path / "offline").touch()
    assert run(monkeypatch, "--to", folder, "--python", program, "--cuda", toolkit) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "gpu-wheels: error: python -m pip download ... failed with exit code 1: ERROR: no matching distribution"
    )
    assert not folder.exists()
    assert not list(tmp_path.glob("*wheels*"))


def test_more_than_may_travel_is_refused(tmp_path: Path) -> None:
    for name, size in (("onnxruntime", 3), ("pillow", 2), ("rich", 1)):
        (tmp_path / f"{name}-1.whl").write_bytes(b"x" * size * 2**20)
    require_small(tmp_path, 6)
    with pytest.raises(
        CganError, match=r"^the wheels have 6\.0 MiB \(onnxruntime 3\.0, pillow 2\.0, rich 1\.0\); "
    ):
        require_small(tmp_path, 5)


def test_too_large_a_folder_is_not_left(
    good: Path, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, folder = pip(tmp_path, good), tmp_path / "wheels"
    assert run(monkeypatch, "--to", folder, "--python", program, "--cuda", toolkit, "--limit-mib", 1) == 1
    assert "gpu-wheels: error: the wheels have 1.0 MiB (pillow 1.0, pycuda " in capsys.readouterr().err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--python", "python9.9"), "there is no program python9.9; name a Python that is installed here."),
        (("--cuda", "nowhere"), "no include/cuda.h in nowhere;"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "--to", tmp_path / "wheels", *words) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "wheels").exists()
