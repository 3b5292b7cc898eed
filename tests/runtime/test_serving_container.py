"""Which container serves a plan, the line that starts it, and the command that writes its repository."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError, UsageError
from cgan_runtime.manifest import Plan
from cgan_runtime.own_plans import remember_own
from cgan_runtime.serving.container_run import ContainerRun, plan_run
from cgan_runtime.serving.containers import CONTAINERS, find_container, misfit, suitable
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.ports import Ports

from tests.helpers import REPOSITORY, assert_one_sentence, run_here
from tests.runtime.plans import (
    VERSION,
    batches,
    bundle_with_plans,
    config_of,
    contract_of,
    plan,
    refusal,
)


@pytest.fixture
def contract() -> Contract:
    return contract_of("unet, batch norm")


def test_the_table_of_containers_is_of_releases_with_their_source() -> None:
    page = (REPOSITORY / "docs" / "serving.md").read_text(encoding="utf-8")
    assert [one.tag for one in CONTAINERS] == sorted({one.tag for one in CONTAINERS})
    for one in CONTAINERS:
        assert re.fullmatch(r"\d+(\.\d+){3}", one.tensorrt or "")
        assert f"| {one.tag} | {one.tensorrt} | {one.source} |" in page
        assert find_container(one.tag) == one


@pytest.mark.parametrize("tag", ["latest", "26.7", "26.13", "26.07-py3", ""])
def test_a_container_that_is_no_release(tag: str) -> None:
    assert "such as 26.03" in refusal(lambda: find_container(tag), UsageError)


@pytest.mark.parametrize(
    ("of", "fitting"),
    [
        (plan(version="11.1.0.106"), ["26.07"]),
        (plan(version="10.16.1.11"), ["26.05"]),
        (plan(version="11.4.0.106"), []),
        (plan(version="11.1.0.106", version_compatible=True), ["26.07", "26.08"]),
        (plan(version="11.2.0.1", version_compatible=True), ["26.08"]),
        (plan(version="11.4.0.106", version_compatible=True), []),
        (plan(version="10.13.3.9", version_compatible=True), ["26.03", "26.05", "26.07", "26.08"]),
        (plan(version="10.16.1.11", version_compatible=True), ["26.05", "26.07", "26.08"]),
    ],
)
def test_which_containers_run_a_plan(of: Plan, fitting: list[str]) -> None:
    assert [one.tag for one in suitable([of])] == fitting
    assert misfit(of, find_container("26.06")) is None, "not known: not refused"


def run_of(*bundles: Bundle, folder: Path | None = None, **options: Any) -> ContainerRun:
    del folder
    return plan_run(
        bundles, GpuOptions(**options), host="127.0.0.1", ports=Ports(http=9000, grpc=9001, metrics=9002)
    )


def test_the_container_is_chosen_by_the_plans(contract: Contract, tmp_path: Path) -> None:
    def of(one: Plan, name: str, **options: Any) -> ContainerRun:
        return run_of(bundle_with_plans(tmp_path / name, contract, {"a.plan": one}), **options)

    known = of(plan(), "known")
    assert known.container.tag == "26.07"
    assert "containers that run them: 26.07 (TensorRT 11.1.0.106)." in known.notes[0]
    unknown = of(plan(version="11.4.0.106"), "unknown")
    assert unknown.container.tag == "YY.MM"
    assert (
        "no container that is known here runs plans of TensorRT 11.4.0.106 (26.03 has 10.16.0.72"
        in unknown.notes[0]
    )
    said = of(plan(version="11.4.0.106"), "said", container=find_container("26.10"))
    assert said.container.tag == "26.10"
    assert "which TensorRT container 26.10 has is not known here" in said.notes[0]
    assert of(plan(), "told", container=find_container("26.07")).notes == ()


def test_a_plan_that_the_container_does_not_run_is_left_out_beside_one_that_it_runs(
    contract: Contract, tmp_path: Path
) -> None:
    plans = {"a.plan": plan("sm86"), "b.plan": plan("sm89", version="11.2.1.2")}
    run = run_of(bundle_with_plans(tmp_path, contract, plans), container=find_container("26.08"))
    run.write(tmp_path / "r")
    assert [p.name for p in (tmp_path / "r" / "net_core" / "1").iterdir()] == ["b.plan"]
    (note,) = run.notes
    assert "a.plan is left out: it was built with TensorRT 11.1.0.106 and container 26.08 has 11.2.1.2." in note


def test_bundles_of_two_tensorrts_have_no_container(contract: Contract, tmp_path: Path) -> None:
    two = [
        bundle_with_plans(tmp_path, contract, {"a.plan": plan(version=version)}, name=f"net{number}")
        for number, version in enumerate((VERSION, "11.2.1.2"))
    ]
    assert "serve them apart" in refusal(lambda: run_of(*two), BundleError)


def test_the_docker_line_is_words_of_a_shell(contract: Contract, tmp_path: Path) -> None:
    compatible = plan(version_compatible=True)
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": compatible})
    line = run_of(bundle, noise="device").docker_line(tmp_path / "my models")
    words = shlex.split(line)
    assert words[:2] == ["docker", "run"]
    options = dict(pairwise(words))
    assert options["--gpus"] == "all"
    assert options["-v"] == f"{tmp_path / 'my models'}:/models:ro"
    assert [w for w, before in zip(words[1:], words, strict=False) if before == "-p"] == [
        "127.0.0.1:9000:8000",
        "127.0.0.1:9001:8001",
        "127.0.0.1:9002:8002",
    ]
    assert "nvcr.io/nvidia/tritonserver:26.08-py3" in words
    inside = words[-1]
    assert subprocess.run(["sh", "-n", "-c", inside], check=False).returncode == 0
    assert "exec tritonserver --model-repository=/models --disable-auto-complete-config" in inside
    assert "--backend-config=tensorrt,version-compatible=true" in inside
    for package in ("pillow>=11,<14", "pydantic>=2.12,<3", "numpy>=1.26,<3", "cuda-bindings>=13,<14"):
        assert f'"{package}"' in inside
    plain = run_of(bundle_with_plans(tmp_path / "plain", contract, {"a.plan": plan()})).docker_line(tmp_path)
    assert "version-compatible" not in plain
    assert "cuda-bindings" not in plain


def test_the_shared_memory_holds_the_tensors_of_the_largest_batch(contract: Contract, tmp_path: Path) -> None:
    run = run_of(bundle_with_plans(tmp_path, contract, {"a.plan": plan(profiles=batches((1, 64, 4096)))}))
    (mib,) = re.findall(r"--shm-size (\d+)m", run.docker_line(tmp_path))
    row = sum(4 * prod(map(int, t.shape)) for t in (*contract.inputs, *contract.outputs))
    # Two processes of each of the two front models, each with what it is given and what it sends on.
    assert 4096 * row * 8 <= int(mib) * 2**20 < 2 * 4096 * row * 8


def test_the_command_writes_the_repository_and_prints_how_to_start_it(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()}, name="facades")
    remember_own(bundle.manifest.artifacts[2].sha256)
    words = (bundle.path, "--triton-repo", tmp_path / "r", "--target", "ngc")
    done = run_here("cgan-serve", *words, "--container", "26.07", "--instances", "2", "--device", "cuda:1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path / 'r'} with facades_core, facades, facades_png\n")
    assert "docker run --rm --gpus all" in done.stdout
    assert f"-v {tmp_path / 'r'}:/models:ro" in done.stdout
    assert "tritonserver:26.07-py3" in done.stdout
    assert (
        "curl -sS --fail-with-body --data-binary @- http://127.0.0.1:8000/v2/models/facades_png/infer"
        in done.stdout
    )
    assert "--url grpc://127.0.0.1:8001 --model facades" in done.stdout
    (group,) = config_of(tmp_path / "r", "facades_core").instance_group
    assert (group.count, list(group.gpus)) == (2, [1])
    before = sorted((tmp_path / "r").rglob("*"))
    assert_one_sentence(run_here("cgan-serve", *words), 2, "exists already")
    assert sorted((tmp_path / "r").rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--target", "ngc"], 2, "say where with --triton-repo DIR"),
        (["--target", "ngc", "--triton-repo", "r"], 3, "may hold program code"),
        (["--target", "ngc", "--triton-repo", "r", "--container", "26.05"], 3, "container 26.05 has 10.16.1.11"),
        (["--target", "ngc", "--triton-repo", "r", "--device", "cpu"], 2, "no device 'cpu' for --target ngc"),
        (["--target", "ngc", "--triton-repo", "r", "--threads", "2"], 2, "--threads is for engines on the CPU"),
        (
            ["--triton-repo", "r", "--instances", "2", "--noise", "device"],
            2,
            "--instances, --noise needs --target ngc",
        ),
    ],
)
def test_a_command_that_cannot_be_done_leaves_nothing(
    words: list[str], code: int, said: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert_one_sentence(run_here("cgan-serve", bundle.path, *words), code, said)
    assert not [path for path in here.iterdir() if not path.name.endswith(".lock")]


def test_a_bundle_that_changed_leaves_no_repository(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    (bundle.path / "engines" / "a.plan").write_bytes(b"another plan")
    changed = replace(bundle)
    with pytest.raises(BundleError, match="is damaged"):
        run_of(changed).write(tmp_path / "r")
