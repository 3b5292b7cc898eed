"""Bound memory changes no result: real ONNX Runtime, on the CPU, through the code that a GPU uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.runners.base import Array
from cgan_runtime.runners.onnxruntime import bound, import_onnxruntime
from cgan_runtime.runners.onnxruntime.bound import BoundSession

from tests.runtime.tensorrt.conftest import assert_same, inputs_of

ORT = import_onnxruntime()
ORDER = [1, 5, 1, 16, 3, 5, 5, 1, 16, 3, 3, 1]

Run = Callable[[dict[str, Array]], dict[str, Array]]


class Watched(ORT.InferenceSession):  # type: ignore[misc, name-defined] # the package ships no types
    """A real session that keeps the graph number of every run, fails when told to, and takes one run at a time."""

    fails = False
    inside = 0

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        self.__dict__.setdefault("numbers", []).append(options.get_run_config_entry("gpu_graph_id"))
        self.inside += 1
        time.sleep(0.001)  # the others go on, if they may
        assert self.inside == 1, "ONNX Runtime with CUDA graphs takes one thread at a time"
        super().run_with_iobinding(binding, options)
        self.inside -= 1
        if self.fails:  # after it computed: something else is in the outputs
            raise RuntimeError("the device says no")


def opened(bundle: Bundle, *, graphs: bool = False) -> tuple[Watched, BoundSession, Run]:
    session = Watched(bundle.read(bundle.manifest.artifacts[0]), providers=["CPUExecutionProvider"])
    kept = BoundSession(ORT, session, device="cpu", number=0, graphs=graphs)
    outputs = {output.name: output.shape for output in bundle.manifest.contract.outputs}

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        batch = len(next(iter(inputs.values())))
        return kept.run(inputs, {name: (batch, *map(int, shape)) for name, shape in outputs.items()})

    return session, kept, run


def plain(session: Watched, bundle: Bundle, inputs: dict[str, Array]) -> dict[str, Array]:
    names = [output.name for output in bundle.manifest.contract.outputs]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("graphs", [False, True])
def test_every_batch_in_any_order_is_bit_for_bit_what_a_plain_run_gives(blends: Bundle, graphs: bool) -> None:
    session, _, run = opened(blends, graphs=graphs)
    for seed, batch in enumerate(ORDER):
        inputs = inputs_of(blends.manifest.contract, batch, seed)
        assert_same(run(inputs), plain(session, blends, inputs))


def test_labels_are_bound_too(shoes: Bundle) -> None:
    session, _, run = opened(shoes)
    for seed in range(3):
        inputs = inputs_of(shoes.manifest.contract, 4, seed)
        assert_same(run(inputs), plain(session, shoes, inputs))


def test_outputs_are_the_callers_own(blends: Bundle) -> None:
    session, _, run = opened(blends)
    first = inputs_of(blends.manifest.contract, 2)
    answer = run(first)
    wanted = plain(session, blends, first)
    run(inputs_of(blends.manifest.contract, 2, seed=1))
    assert_same(answer, wanted)
    for value in answer.values():
        value[:] = 7
    assert_same(run(first), wanted)


def test_memory_is_allocated_once_for_each_shape(blends: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    allocate = ORT.OrtValue.ortvalue_from_shape_and_type

    def counted(shape: list[int], *arguments: Any) -> Any:
        made.append(tuple(shape))
        return allocate(shape, *arguments)

    monkeypatch.setattr(ORT.OrtValue, "ortvalue_from_shape_and_type", staticmethod(counted))
    _, _, run = opened(blends)
    contract = blends.manifest.contract
    for batch in (2, 3, 2, 3, 2):
        run(inputs_of(contract, batch))
    assert len(made) == 2 * (len(contract.inputs) + len(contract.outputs))


def test_no_more_shapes_are_kept_than_stated(blends: Bundle) -> None:
    session, kept, run = opened(blends)
    for batch in range(1, bound.KEPT_SHAPES + 4):
        inputs = inputs_of(blends.manifest.contract, batch)
        assert_same(run(inputs), plain(session, blends, inputs))
    assert len(kept._kept) == bound.KEPT_SHAPES


def test_a_graph_belongs_to_one_piece_of_memory(blends: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is never used for a second one, also after the first was given up."""
    monkeypatch.setattr(bound, "KEPT_SHAPES", 2)
    monkeypatch.setattr(bound, "MAX_GRAPHS", 4)
    session, _, run = opened(blends, graphs=True)
    for batch in (1, 1, 2, 1, 3, 2, 1, 1):
        run(inputs_of(blends.manifest.contract, batch))
    assert session.numbers == ["1", "1", "2", "1", "3", "4", "-1", "-1"]


def test_without_graphs_none_is_recorded(blends: Bundle) -> None:
    session, _, run = opened(blends)
    run(inputs_of(blends.manifest.contract, 1))
    assert session.numbers == ["-1"]


def test_after_an_error_nothing_of_the_call_is_left(blends: Bundle) -> None:
    session, kept, run = opened(blends, graphs=True)
    inputs = [inputs_of(blends.manifest.contract, 2, seed) for seed in range(3)]
    run(inputs[0])
    session.fails = True
    with pytest.raises(RuntimeError, match="the device says no"):
        run(inputs[1])
    assert not kept._kept
    session.fails = False
    assert_same(run(inputs[2]), plain(session, blends, inputs[2]))
    assert session.numbers == ["1", "1", "2"]


def test_memory_that_cannot_be_had_leaves_nothing(blends: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    session, kept, run = opened(blends)
    inputs = inputs_of(blends.manifest.contract, 2)
    with monkeypatch.context() as patched:
        patched.setattr(session, "io_binding", lambda: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            run(inputs)
    assert not kept._kept
    assert_same(run(inputs), plain(session, blends, inputs))


def test_arrays_that_are_not_contiguous_are_taken_as_they_read(blends: Bundle) -> None:
    session, _, run = opened(blends)
    inputs = inputs_of(blends.manifest.contract, 3)
    turned = {name: np.asfortranarray(value) for name, value in inputs.items()}
    assert_same(run(turned), plain(session, blends, inputs))


def test_threads_do_not_mix_their_rows(blends: Bundle) -> None:
    session, _, run = opened(blends)
    inputs = [inputs_of(blends.manifest.contract, 2, seed) for seed in range(40)]
    wanted = [plain(session, blends, one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        for answer, right in zip(pool.map(run, inputs), wanted, strict=True):
            assert_same(answer, right)
