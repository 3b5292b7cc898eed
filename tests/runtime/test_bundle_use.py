"""What is executed is what was checked: a file that changes after the bundle was read is not used."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cgan_runtime.bundle import Bundle, read_bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError
from cgan_runtime.runners import Runner, onnxruntime


@pytest.fixture
def read(shoes: Bundle, tmp_path: Path) -> Bundle:
    shutil.copytree(shoes.path, tmp_path / "shoes")
    return read_bundle(tmp_path / "shoes")


def test_an_artifact_of_equal_length_swapped_after_reading_is_refused(read: Bundle) -> None:
    path = read.path / "model.onnx"
    data = bytearray(path.read_bytes())
    times = path.stat()
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither length nor time tells
    for use in (read.runner, read.generator, lambda: read.read(read.artifact())):
        with pytest.raises(BundleError, match="damaged"):
            use()


def test_a_held_artifact_is_what_was_checked_and_is_read_again_the_second_time(read: Bundle) -> None:
    held = read_bundle(read.path, hold=("onnxruntime", "fp32"))
    path = held.path / held.artifact().path
    before = path.read_bytes()
    path.write_bytes(bytes(len(before)))
    assert held.read(held.artifact()) == before
    with pytest.raises(BundleError, match="is damaged"):
        held.read(held.artifact())
    assert not read.held
    path.write_bytes(before)
    assert not read_bundle(read.path, hold=("openvino", "int8")).held, "it has none"


def test_an_artifact_that_is_gone_or_another_kind_of_file_is_refused(read: Bundle) -> None:
    path = read.path / "model.onnx"
    path.rename(path.with_name("elsewhere"))
    with pytest.raises((BundleError, OSError)):
        read.runner()


def test_device_threads_and_in_flight_reach_the_backend(read: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    real = onnxruntime.open_runner

    def opened(model: bytes, contract: Contract, **options: Any) -> Runner:
        given.append(options)
        return real(model, contract)

    monkeypatch.setattr(onnxruntime, "open_runner", opened)
    for use in (read.runner, read.generator):
        use().close()
        use(device="cuda:1", threads=3, in_flight=2).close()
    usual: dict[str, Any] = {"precision": "fp32", "device": None, "threads": 0, "in_flight": 1}
    assert given == 2 * [usual, {"precision": "fp32", "device": "cuda:1", "threads": 3, "in_flight": 2}]
