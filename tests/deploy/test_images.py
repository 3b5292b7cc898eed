"""The Dockerfiles name what exists. No container engine is needed: they are read, and linted by hadolint."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.cli import serve
from cgan_runtime.serving.container_run import DEVICE_PACKAGES, FRONT_PACKAGES, plan_run
from cgan_runtime.serving.containers import CONTAINERS
from cgan_runtime.serving.environment import TRITON_WHEEL, ServerEnvironment, model_packages
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.ports import Ports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.manifests import DEPLOY, instructions, require_understood, values_of
from tests.helpers import REPOSITORY

BOTH = ("Dockerfile", "Dockerfile.ngc")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==")
        for line in (DEPLOY / "docker" / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
}


@pytest.mark.parametrize("name", BOTH)
def test_hadolint_finds_nothing(name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = beside if beside.exists() else shutil.which("hadolint")
    assert program is not None
    done = subprocess.run([program, DEPLOY / "docker" / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", BOTH)
def test_what_is_copied_exists(name: str) -> None:
    copied = [words for words in map(shlex.split, values_of(name, "COPY")) if not words[0].startswith("--from")]
    assert copied
    for *sources, _ in copied:
        assert [source for source in sources if not (REPOSITORY / source).exists()] == []


@pytest.mark.parametrize("name", BOTH)
def test_it_runs_as_a_user_without_rights(name: str) -> None:
    words = [word for word, _ in instructions(name)]
    (user,) = values_of(name, "USER")
    assert all(int(number) >= 10000 for number in user.split(":"))
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER") :]


@pytest.mark.parametrize("name", BOTH)
def test_health_is_asked_of_a_program_that_is_there(name: str) -> None:
    (check,) = values_of(name, "HEALTHCHECK")
    program = json.loads(check.partition("CMD ")[2])[1]
    assert program in [words.split()[-1] for words in values_of(name, "COPY")]


def test_the_build_has_every_file_that_the_package_names() -> None:
    copied = {source for words in values_of("Dockerfile", "COPY") for source in words.split()[:-1]}
    hatch = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    needed = {Path(package).parts[0] for package in hatch["targets"]["wheel"]["packages"]}
    assert needed | {PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml"} <= copied


def test_what_is_run_is_ours() -> None:
    runs = " && ".join(values_of("Dockerfile", "RUN"))
    (extra,) = re.findall(r'install "\.\[(\w+)\]"', runs)
    assert extra in PROJECT["optional-dependencies"]
    programs = re.findall(r"/venv/bin/(cgan[\w-]*)((?: --[\w-]+)*)", runs)
    assert programs == [("cgan-serve", " --setup")]
    assert require_understood(["cgan-serve"], ["--setup"])["setup"] is True
    assert "cgan-serve" in PROJECT["scripts"]
    (entry_point,) = values_of("Dockerfile", "ENTRYPOINT")
    said = require_understood(json.loads(entry_point), ["/models/facades"])
    assert said["host"] == "0.0.0.0"
    ports = [
        str(inspect.signature(serve.serve).parameters[f"{kind}_port"].default)
        for kind in ("http", "grpc", "metrics")
    ]
    assert values_of("Dockerfile", "EXPOSE") == [" ".join(ports)]


def test_the_line_of_the_page_starts_it() -> None:
    page = (DEPLOY / "README.md").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^    (docker run .*)", page, re.MULTILINE)
    words = shlex.split(line)
    image = next(place for place, word in enumerate(words) if word.startswith("cgan-deploy:"))
    (entry_point,) = values_of("Dockerfile", "ENTRYPOINT")
    said = require_understood(json.loads(entry_point), words[image + 1 :])
    mounts = [word.split(":")[1] for word in words if word.endswith(":ro")]
    assert [str(path) for path in said["bundles"]] == mounts
    writable = {word.partition(":")[0] for before, word in pairwise(words) if before == "--tmpfs"}
    assert writable == {"/tmp", "/state"}
    (grace,) = [int(word) for before, word in pairwise(words) if before == "--stop-timeout"]
    assert grace > said["drain_seconds"] + 5


def test_the_environment_is_found_where_it_was_made() -> None:
    build, run = (dict(word.split("=", 1) for word in shlex.split(text)) for text in values_of("Dockerfile", "ENV"))
    assert build["XDG_CACHE_HOME"] == run["XDG_CACHE_HOME"]
    (kept,) = [words for words in values_of("Dockerfile", "COPY") if words.startswith("--from=build")]
    assert run["XDG_CACHE_HOME"].startswith(kept.split()[-1])


def test_triton_has_a_backend_for_the_python_of_the_image(server_environment: ServerEnvironment) -> None:
    (image,) = [rest for word, rest in instructions("Dockerfile") if word == "ARG"]
    version = re.search(r"python:(\d+)\.(\d+)-slim", image)
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)  # requires-python
    assert (server_environment.triton / "python_backend_stubs" / f"{version[1]}.{version[2]}").is_dir()


def test_the_versions_of_the_image_are_those_that_are_allowed() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"], *model_packages(), TRITON_WHEEL]
    for requirement in map(Requirement, wanted):
        pinned = PINS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), f"{requirement} and {pinned}"


def test_the_image_for_gpus_has_what_the_models_import() -> None:
    (run,) = values_of("Dockerfile.ngc", "RUN")
    assert [word for word in shlex.split(run) if ">" in word] == [*FRONT_PACKAGES, *DEVICE_PACKAGES]
    (release,) = values_of("Dockerfile.ngc", "ARG")
    tag = release.removeprefix("TRITON=")
    assert tag in {container.tag for container in CONTAINERS}
    assert tag >= "26.06"


def test_the_image_for_gpus_is_started_as_the_printed_line_does(bundle: Bundle) -> None:
    printed = plan_run([bundle], GpuOptions(backend="onnxruntime"), host="127.0.0.1", ports=Ports())
    (entry_point,) = values_of("Dockerfile.ngc", "ENTRYPOINT")
    program, *flags = json.loads(entry_point)
    assert program == "tritonserver"
    assert [flag for flag in flags if flag not in printed.docker_line(Path("/models"))] == []
