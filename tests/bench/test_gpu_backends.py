"""Each row of a GPU is opened from a bundle, or says in a sentence why it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cgan_bench.gpu.backends import GpuBackend, OrtGpu, PlainPlan, PlanGpu, TorchGpu, open_meter
from cgan_bench.reference import write_plain
from cgan_bench.target import Target
from cgan_bench.workload import check_seeds, conditions_for
from cgan_export.engines import builder, engines
from cgan_runtime.cuda import driver as driver_module
from cgan_runtime.errors import CganError
from cgan_runtime.runners import RunnerKind
from cgan_runtime.runners.tensorrt import flavours

from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, batches, fake_plan
from tests.runtime.tensorrt.test_stages import TimedDriver


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (TorchGpu(), "add --checkpoint FILE"),
        (PlainPlan(), "add --checkpoint FILE"),
        (PlanGpu(), "has no tensorrt fp16 artifact"),
        (PlanGpu("tensorrt_rtx"), "has no tensorrt_rtx fp16 artifact"),
        (OrtGpu(), "has no CUDA"),
        (OrtGpu(provider="tensorrt"), "has no TensorRT"),
    ],
    ids=lambda value: value.key if isinstance(value, GpuBackend) else "",
)
def test_what_is_missing_is_a_sentence(target: Target, row: GpuBackend, words: str) -> None:
    with pytest.raises(CganError, match=words) as caught:
        row.open(replace(target, checkpoint=None, plain=None), batch=1, streams=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [PlanGpu(), PlainPlan()], ids=lambda row: row.key)
def test_a_plan_is_opened_at_the_batch_that_is_measured(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: GpuBackend
) -> None:
    """Over CUDA and TensorRT of the tests, which compute the real graph; the images are those of the bundle."""
    assert target.bundle is not None
    assert target.contract is not None
    driver = TimedDriver()
    samples = {tensor.name: tuple(map(int, tensor.shape)) for tensor in target.contract.inputs}
    model = target.bundle.read(target.bundle.artifact())
    built: list[tuple[int, int]] = []

    def build_plan(_: object, graph: bytes, __: object, profiles: Any, **___: object) -> Any:
        built.extend((profile.batch.min, profile.batch.max) for profile in profiles)
        return SimpleNamespace(data=fake_plan(graph, batches(samples, *built)))

    monkeypatch.setattr(flavours.Flavour, "load", lambda _: FakeTensorRt(driver))
    monkeypatch.setattr(driver_module, "open_driver", lambda: driver)
    monkeypatch.setattr(RunnerKind, "absence", lambda _: None)
    monkeypatch.setattr(builder, "build_plan", build_plan)
    monkeypatch.setattr(engines, "gpu_for", lambda _: None)
    found = SimpleNamespace(path="x.plan")
    bundle = type(target.bundle)
    real_artifact, real_read = bundle.artifact, bundle.read
    monkeypatch.setattr(
        bundle, "artifact", lambda self, *words: found if "tensorrt" in words else real_artifact(self, *words)
    )
    real_trust = bundle.require_trusted
    monkeypatch.setattr(bundle, "require_trusted", lambda self, a: None if a is found else real_trust(self, a))
    monkeypatch.setattr(
        bundle,
        "read",
        lambda self, file: fake_plan(model, batches(samples, (1, 4))) if file is found else real_read(self, file),
    )
    plain = tmp_path / "plain.onnx"
    write_plain(target, plain)
    meter = open_meter(row, replace(target, plain=plain), 3)
    (seeds,) = check_seeds(3)
    conditions = conditions_for(target.contract, seeds)
    wanted = target.bundle.generator().generate(conditions, seeds, [0, 0, 0])["picture"]
    np.testing.assert_allclose(meter.answers(seeds)["picture"], wanted, atol=0.02)
    assert set(meter.turn(0)) == {"copy_in", "noise", "compute", "copy_out", "all", "wall"}
    assert built == ([] if isinstance(row, PlanGpu) else [(3, 3)])
    meter.close()
    assert not driver.alive()
