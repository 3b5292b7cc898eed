"""TensorRT itself, which builds only where a GPU is: what is asked of it, against a stand-in that records it."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cgan_export.engines import timing_cache
from cgan_export.engines.builder import BuildOptions, Built, Report, build_plan
from cgan_export.engines.engines import EngineWish, Source, build_engines
from cgan_export.engines.flavours import FLAVOURS, flavour
from cgan_export.engines.profiles import parse_batches, profiles_for
from cgan_runtime.contract import Contract
from cgan_runtime.cuda.driver import Device
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.manifest import Figure
from cgan_runtime.own_plans import is_own

from tests.export.engines import KINDS, graph_of
from tests.export.fake_tensorrt import CACHE, FakeTensorRT

TENSORRT = flavour("tensorrt")
GPU = Device(number=0, name="NVIDIA H100 80GB HBM3", target="sm90", memory_bytes=80 << 30, driver="13.0")


@pytest.fixture(scope="module")
def graph() -> tuple[bytes, Contract]:
    return graph_of(KINDS["two noise inputs"]())


def installed(patch: pytest.MonkeyPatch, version: str = "11.4.0.106", **how: object) -> FakeTensorRT:
    fake = FakeTensorRT(version, **how)  # type: ignore[arg-type]  # of any way
    patch.setitem(sys.modules, "tensorrt", fake)
    return fake


def no_gates(*_: object) -> dict[str, Figure]:
    raise AssertionError("nothing runs here")


def build(graph: tuple[bytes, Contract], report: Report | None = None, **options: object) -> Built:
    model, contract = graph
    profiles = profiles_for(contract, parse_batches(["1", "1..16"]))
    wanted = BuildOptions(**options)  # type: ignore[arg-type]  # of any option
    return build_plan(TENSORRT, model, contract, profiles, options=wanted, device=GPU, report=report)


@pytest.mark.parametrize("version", ["10.12.0", "10.16.1.11", "11.4.0.106"])
def test_the_network_is_strongly_typed_and_no_flag_changes_a_type(
    version: str, graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch, version)
    built = build(graph)
    assert fake.network_flags == [1 << 1], "STRONGLY_TYPED is the second of this enumeration"
    (config,) = fake.configs
    assert config.flags == []
    assert config.profiling_verbosity.name == "DETAILED"
    assert (built.plan.version, built.plan.targets, built.plan.gpu) == (version, ("sm90",), GPU.name)
    assert [profile.shapes["z"] for profile in config.profiles] == [
        ((1, 16), (1, 16), (1, 16)),
        ((1, 16), (16, 16), (16, 16)),
    ]


def test_a_version_without_the_flag_has_no_other_networks(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch, without=("STRONGLY_TYPED",))
    build(graph)
    assert fake.network_flags == [0]


def test_every_option_reaches_tensorrt_and_the_plans_entry(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = installed(monkeypatch)
    options: dict[str, Any] = {
        "workspace": 1 << 30,
        "hardware": "ampere_plus",
        "version_compatible": True,
        "refit": True,
    }
    plan = build(graph, **options).plan
    (config,) = fake.configs
    assert set(config.flags) == {"REFIT", "VERSION_COMPATIBLE"}
    assert config.pools == {"WORKSPACE": 1 << 30}
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert (plan.hardware, plan.version_compatible, plan.refittable) == ("ampere_plus", True, True)


@pytest.mark.parametrize(
    ("missing", "options", "told"),
    [
        ("REFIT", {"refit": True}, "--refit"),
        ("VERSION_COMPATIBLE", {"version_compatible": True}, "--version-compatible"),
        ("AMPERE_PLUS", {"hardware": "ampere_plus"}, "--hardware-compatible"),
        ("WORKSPACE", {"workspace": 1}, "--workspace"),
    ],
)
def test_what_a_version_does_not_have_is_named(
    missing: str,
    options: dict[str, Any],
    told: str,
    graph: tuple[bytes, Contract],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, without=(missing,))
    with pytest.raises(CganError, match=f"TensorRT 11.4.0.106 has no {missing}; leave out {told}"):
        build(graph, **options)


def test_a_build_that_fails_says_what_tensorrt_said(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = (
        "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (no tactic for Conv_0 In x at /a/b.cpp:3)"
    )
    installed(monkeypatch, fails=said)
    path = tmp_path / "cache"
    with pytest.raises(CganError, match=r"TensorRT 11.4.0.106 cannot build the engine: .*no tactic for Conv_0"):
        build(graph, timing_cache=path)
    assert not path.exists()


def test_the_timing_cache_is_kept_and_used_again(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch)
    path, notes = tmp_path / "folder" / "h100.cache", list[str]()
    report = Report(note=notes.append)
    build(graph, report, timing_cache=path)
    assert path.read_bytes() == CACHE + b"11.4.0.106"
    build(graph, report, timing_cache=path)
    assert notes == []
    assert [file.name for file in path.parent.iterdir()] == ["h100.cache"]


@pytest.mark.parametrize("content", [b"damaged", CACHE + b"10.16.1.11"])
def test_a_timing_cache_that_does_not_fit_is_said_and_replaced(
    content: bytes, graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch)
    path, notes = tmp_path / "cache", list[str]()
    path.write_bytes(content)
    build(graph, Report(note=notes.append), timing_cache=path)
    assert len(notes) == 1
    assert f"the timing cache {path} is damaged or of another GPU" in notes[0]
    assert path.read_bytes() == CACHE + b"11.4.0.106"


def test_a_timing_cache_that_cannot_be_written_is_no_failure(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch)
    notes: list[str] = []
    (tmp_path / "file").write_bytes(b"")
    build(graph, Report(note=notes.append), timing_cache=tmp_path / "file" / "cache")
    assert any("cannot be written" in note for note in notes)


def test_each_gpu_driver_and_version_has_a_timing_cache_of_its_own() -> None:
    devices = [GPU, replace(GPU, name="NVIDIA L4", target="sm89"), replace(GPU, driver="13.4")]
    paths = {timing_cache.default_path(device, version) for device in devices for version in ("11.4.0", "10.16.1")}
    assert len(paths) == 6
    assert all("/" not in path.name and " " not in path.name for path in paths)


def test_the_entry_of_an_engine_says_what_it_needs(
    graph: tuple[bytes, Contract], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, contract = graph
    wish = EngineWish(flavour=TENSORRT, batches=parse_batches(["1,1..16"]), timing_cache="off")
    sources = [Source(precision="fp16", model=model)]
    (engine,) = build_engines(sources, contract, wish, gates=no_gates, device=GPU)
    entry = engine.artifact
    assert entry.path == "engines/model.fp16.trt-sm90.plan"
    assert (entry.backend, entry.precision, entry.fidelity) == ("tensorrt", "fp16", {})
    assert (entry.batch.min, entry.batch.max) == (1, 16)
    assert entry.requires == ("TensorRT 11.4.0.106", "GPU: sm90")
    assert engine.not_run is not None
    assert is_own(entry.sha256)
    assert not is_own("0" * 64)


def test_a_version_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "10.9.0")
    with pytest.raises(CganError, match=r"TensorRT 10.9.0 is too old, 10.12 or newer is needed; run: pip install"):
        TENSORRT.load()


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = TENSORRT.library.absence()
    assert told == 'TensorRT is not installed; run: pip install "tensorrt>=10.12,<12"'
    stubs = ModuleType("tensorrt")
    stubs.__spec__ = ModuleSpec("tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt", stubs)
    assert TENSORRT.library.absence() == told, "a folder of type stubs is a module, too"
    assert FLAVOURS["tensorrt-rtx"].library.absence() is None


def test_a_backend_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert flavour("tensorrt_rtx") is flavour("tensorrt-rtx")
    with pytest.raises(UsageError, match="--backend openvino is not known; choose from tensorrt, tensorrt-rtx"):
        flavour("openvino")
