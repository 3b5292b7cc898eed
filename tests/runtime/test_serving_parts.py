"""What the models of a repository need lies beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.serving.gpu_core import gpu_core
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.repository import RepositoryOptions, write_models, write_repository

from tests.runtime.plans import (
    bundle_with_plans,
    config_of,
    contract_of,
    plan,
)


@pytest.fixture
def contract() -> Contract:
    return contract_of("unet, batch norm")


def test_noise_on_the_device_takes_what_it_needs_along(contract: Contract, tmp_path: Path) -> None:
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    for noise in ("host", "device"):
        root = tmp_path / noise
        write_models(root, bundle, gpu_core(bundle, GpuOptions(noise=noise)))
        package = root / "net" / "1" / "cgan_runtime"
        assert (package / "cuda" / "noise.ptx").exists() == (noise == "device")
        assert config_of(root, "net").parameters["noise"].string_value == noise
    modules = ("serving.models", "serving.device_inputs", "cuda.pycuda_driver", "cuda.bindings_driver")
    imported_alone(package.parent, *(f"cgan_runtime.{name}" for name in modules))


def test_an_embedded_engine_of_tensorrt_takes_its_runner_along(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine whose TensorRT fits: our own Python model runs the plan there."""
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    monkeypatch.setattr(Bundle, "artifact", lambda *_: bundle.manifest.artifacts[2])
    write_repository(tmp_path / "r", bundle, RepositoryOptions(backend="tensorrt", precision="fp16"))
    folder = tmp_path / "r" / "net_core" / "1"
    assert (folder / "model.plan").is_file()
    assert (folder / "cgan_runtime" / "cuda" / "noise.ptx").is_file()
    imported_alone(folder, "cgan_runtime.serving.models", "cgan_runtime.runners.tensorrt.backend")


def imported_alone(folder: Path, *modules: str) -> None:
    """With the copied package alone on the path, all of it that is needed is there."""
    code = (
        "import sys, types; sys.modules['triton_python_backend_utils'] = types.ModuleType('pb')\n"
        f"import {', '.join(modules)}, cgan_runtime\n"
        "print(cgan_runtime.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)}
    )
    assert done.stdout.startswith(str(folder)), done.stderr


def no_metrics(**_: object) -> None:
    raise RuntimeError("metrics are disabled")


no_metrics.__dict__["COUNTER"] = 0


@pytest.mark.parametrize("numpy_version", ["1.26.4", "2.4.1"])
def test_only_the_embedded_server_demands_numpy_1(
    numpy_version: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python backend corrupts tensors under numpy 2; those of the containers that are known do not."""
    backend = ModuleType("triton_python_backend_utils")
    backend.__dict__.update(TritonModelException=RuntimeError, MetricFamily=no_metrics)
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    bundle = bundle_with_plans(tmp_path, contract, {"a.plan": plan()})
    write_repository(tmp_path / "embedded", bundle, RepositoryOptions())
    write_models(tmp_path / "ngc", bundle, gpu_core(bundle, GpuOptions()))
    try:
        module = import_module("cgan_runtime.serving.models")
        monkeypatch.setattr(module.np, "__version__", numpy_version)
        for target, is_refused in (("embedded", numpy_version > "2"), ("ngc", False)):
            parameters = config_of(tmp_path / target, "net").parameters
            config = {
                "parameters": {key: {"string_value": value.string_value} for key, value in parameters.items()}
            }
            given = {"model_config": json.dumps(config), "model_repository": "/r", "model_version": "1"}
            with pytest.raises(RuntimeError, match="needs numpy<2") if is_refused else nullcontext():
                module.TensorModel().initialize(given)
    finally:
        for name in ("models", "core_call", "stage_times"):
            sys.modules.pop(f"cgan_runtime.serving.{name}", None)
