"""What is to be installed exists and works: the extras of pyproject.toml, and every pip line of the repository."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgan_export.engines import flavours as builders
from cgan_runtime.runners.onnxruntime import module
from cgan_runtime.runners.tensorrt import flavours as runners
from cgan_runtime.serving.container_run import DEVICE_PACKAGES, FRONT_PACKAGES
from cgan_runtime.serving.environment import TRITON_WHEEL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Packages of which PyPI has no wheel of the libraries, and why an extra may bring one all the same.
WITHOUT_WHEEL = {
    "pycuda": None,  # needs the CUDA toolkit, a compiler and settings: make gpu-wheels
    "tensorrt": "its setup gets wheels from NVIDIA's own index",
    "tensorrt-rtx": "a few lines that ask for packages with wheels",
}
# What pip lines name besides the dependencies of this project, and the extras of it that exist (PyPI, 2026-11).
OTHERS: dict[str, set[str]] = {
    "onnxruntime-gpu": {"cuda", "cudnn"},
    "tensorrt-cu13": set(),
    "pre-commit": set(),
    "tensorrt-stubs": set(),
    "nvidia-pytriton": set(),
}
# Placeholders in printed lines, and what stands there.
PLACEHOLDERS = {
    "{GPU_BUILD}": [module.GPU_BUILD],
    "{wanted}": [module.GPU_BUILD, module.CPU_BUILD],
    "{builds[0]}": ["onnxruntime"],
    "{self.package}": [runners.TENSORRT.package, runners.TENSORRT_RTX.package],
    "{self.library.package}": [flavour.library.package for flavour in builders.FLAVOURS.values()],
    "{package}": ["tensorrt-cu13"],
    "{major}": ["10"],
    "{major + 1}": ["11"],
    "{extra}": list(EXTRAS),
    "{TRITON_WHEEL}": [TRITON_WHEEL],
    "{quoted}": [*FRONT_PACKAGES, *DEVICE_PACKAGES],
    "{options.container.tensorrt}": ["11.1.0.106"],
    "$(TENSORRT_TYPES": ["tensorrt-stubs"],
}


def brought_by(extra: str | None) -> list[Requirement]:
    """Everything that the base and an extra ask for, through other extras too."""
    found: list[Requirement] = []
    waiting = [Requirement(text) for text in [*PROJECT["dependencies"], *(EXTRAS[extra] if extra else [])]]
    while waiting:
        requirement = waiting.pop()
        if requirement.name == PROJECT["name"]:
            waiting += [Requirement(text) for name in requirement.extras for text in EXTRAS[name]]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_no_extra_brings_two_builds_of_onnxruntime(extra: str | None) -> None:
    names = {canonicalize_name(requirement.name) for requirement in brought_by(extra)}
    assert names & set(module.BUILDS) == {"onnxruntime"}


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_no_extra_brings_what_does_not_install(extra: str | None) -> None:
    names = {canonicalize_name(requirement.name) for requirement in brought_by(extra)}
    assert not [name for name in names & set(WITHOUT_WHEEL) if WITHOUT_WHEEL[name] is None]


def test_what_works_without_a_gpu_brings_nothing_for_one() -> None:
    for extra in ("all", "train", "export", "serve", "bench", "signing"):
        names = {canonicalize_name(requirement.name) for requirement in brought_by(extra)}
        assert not [name for name in names if re.match(r"tensorrt|cuda|pycuda|nvidia", name)], extra


def pip_lines() -> Iterator[tuple[str, str]]:
    """(where, what follows "pip install") for every such line that the repository prints or documents."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = REPOSITORY / name
        if name.startswith("tests/") or path.suffix not in {".py", ".md", ".toml", ".yaml", ".j2", ".sh", ""}:
            continue
        if not path.is_file():
            continue
        # A literal may be cut in two, and a line of text too.
        text = re.sub(r'"\n\s*f?"|"\n\s*f?\'', "", path.read_text(encoding="utf-8"))
        for match in re.finditer(r"pip install\s+([^\n`]*(?:\n\s+\"cgan[^\n`]*)?)", text):
            yield f"{name}: {match.group()}", match[1]


def requirement_in(line: str) -> str | None:
    """What a line installs first; None where it is a file, or no pip line ("pip install of packages failed")."""
    for token in re.findall(r'"[^"]*"|\'[^\']*\'|\S+', line):
        bare = token.strip("\"'`),;")
        if bare.startswith("-"):
            continue
        if bare.endswith(".whl") or bare == "of":
            return None
        return f"{PROJECT['name']}{bare[1:]}" if bare.startswith(".") else bare.rstrip(".")
    return None


def filled_in(text: str) -> list[str]:
    """The text with every placeholder replaced by each value that can stand there."""
    texts = [text]
    for placeholder, values in PLACEHOLDERS.items():
        if placeholder in text:
            texts = [one.replace(placeholder, value) for one in texts for value in values]
    return texts


def test_every_pip_line_names_what_exists() -> None:
    own = {canonicalize_name(r.name): r for extra in (None, *EXTRAS) for r in brought_by(extra)}
    seen = []
    for where, line in pip_lines():
        for text in filled_in(requirement_in(line) or PROJECT["name"]):
            requirement = Requirement(text.strip("\"'"))
            name = canonicalize_name(requirement.name)
            seen.append(name)
            if name == PROJECT["name"]:
                assert requirement.extras <= set(EXTRAS), where
            elif name in OTHERS:
                assert requirement.extras <= OTHERS[name], where
            else:
                assert name in own, where
                assert WITHOUT_WHEEL.get(name, "") is not None, where
    assert {"cgan-deploy", "onnxruntime", "onnxruntime-gpu", "tensorrt", "cuda-bindings"} <= set(seen)
    assert len(seen) > 25
