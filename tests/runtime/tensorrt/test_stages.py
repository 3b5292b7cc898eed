"""A plan stage by stage: outputs are right, stages add up, sets take turns, and nothing stays behind."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.cuda.device_noise import TABLE_ENTRY
from cgan_runtime.cuda.driver import Bytes
from cgan_runtime.errors import CganError, UsageError
from cgan_runtime.runners.on_device import SETS, sets_for
from cgan_runtime.runners.tensorrt import stages
from cgan_runtime.runners.tensorrt.flavours import TENSORRT, TENSORRT_RTX
from cgan_runtime.runners.tensorrt.stages import PlanOnDevice

from tests.runtime.tensorrt.conftest import assert_same, inputs_of
from tests.runtime.tensorrt.fake_cuda import FakeDriver, Faults
from tests.runtime.tensorrt.fake_tensorrt import FakeTensorRt, batches, fake_plan

KERNEL_MS, COMPUTE_MS = 7, 1000
FLAVOURS = pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "rtx"])


class TimedDriver(FakeDriver):
    """A copy takes a millisecond a byte, a kernel and a computation what is said above; noise is really drawn."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__(faults)
        self.done: list[tuple[str, int]] = []  # what was done, and to which address
        self._costs = COMPUTE_MS
        self._clock = 1

    def allocate_pinned(self, size: int) -> Bytes:
        array = super().allocate_pinned(size)
        array.fill(0x7F)  # no class: what the runner does not write itself must not reach a label
        return array

    def put(self, stream: int, step: Callable[[], None], at_once: Callable[[], object] = lambda: None) -> None:
        costs, self._costs = self._costs, COMPUTE_MS

        def timed() -> None:
            step()
            self._clock += costs

        super().put(stream, timed, at_once)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._call("launch_graph")
        for step, at_once in self._graphs[graph]:  # each takes the time that it took when it was recorded
            super().put(stream, step, at_once)

    def record(self, event: int, stream: int) -> None:
        self._call("record")
        self._costs = 0
        self.put(stream, lambda: self._events.update({event: self._clock}))

    def copy_to_device(self, address: int, source: Bytes, stream: int) -> None:
        self._costs = source.nbytes
        super().copy_to_device(address, source, stream)
        self.put(stream, self._noting("copy_in", address))

    def copy_to_host(self, target: Bytes, address: int, stream: int) -> None:
        self._costs = target.nbytes
        super().copy_to_host(target, address, stream)
        self.put(stream, self._noting("copy_out", address))

    def launch(
        self, function: int, *, blocks: int, threads: int, arguments: Sequence[np.generic[Any]], stream: int
    ) -> None:
        self._costs = KERNEL_MS
        super().launch(function, blocks=blocks, threads=threads, arguments=arguments, stream=stream)

    def _noting(self, what: str, address: int) -> Callable[[], None]:
        self._costs = 0
        return lambda: self.done.append((what, address))

    def _draw_noise(self, blocks: int, threads: int, *arguments: np.generic[Any]) -> None:
        table, count = np.frombuffer(arguments[0].tobytes(), dtype=TABLE_ENTRY), int(arguments[3])
        self.done += [("noise", int(entry["address"])) for entry in table[:count]]
        super()._draw_noise(blocks, threads, *arguments)


def open_stages(
    bundle: Bundle,
    driver: FakeDriver,
    *ranges: tuple[int, int],
    batch: int = 3,
    rtx: bool = False,
    streams: int = 1,
    contract: Contract | None = None,
) -> PlanOnDevice:
    trt = FakeTensorRt(driver, rtx=rtx)
    samples = {t.name: tuple(map(int, t.shape)) for t in bundle.manifest.contract.inputs}
    return PlanOnDevice(
        fake_plan(bundle.read(bundle.manifest.artifacts[0]), batches(samples, *(ranges or ((1, 4),)))),
        contract or bundle.manifest.contract,
        batch=batch,
        driver=driver,
        flavour=TENSORRT_RTX if rtx else TENSORRT,
        module=trt,
        streams=streams,
    )


def conditions_of(contract: Contract, batch: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    names = {item.name for item in contract.noise}
    return {name: value for name, value in inputs_of(contract, batch, seed).items() if name not in names}


@pytest.fixture(params=["masks", "labels", "blends"])
def any_bundle(request: pytest.FixtureRequest, bundle: Bundle, shoes: Bundle, blends: Bundle) -> Bundle:
    return {"masks": bundle, "labels": shoes, "blends": blends}[request.param]


@FLAVOURS
def test_seeds_mean_the_same_with_noise_from_the_device(any_bundle: Bundle, rtx: bool) -> None:
    driver = TimedDriver()
    contract = any_bundle.manifest.contract
    measured = open_stages(any_bundle, driver, rtx=rtx)
    assert "noise" in measured.stages
    for turn in range(SETS + 2):
        seeds = [7 + turn, 2**63 + 1, 0]
        conditions = conditions_of(contract, 3, turn)
        wanted = any_bundle.generator().generate(conditions, seeds, [0, 0, 0])
        # A normal may differ by one unit in the last place.
        assert_same(measured.generate(conditions, seeds), wanted, exact=False)
        assert measured.elapsed_ms("compute", turn) == COMPUTE_MS  # what is timed does not disturb what is asked
    driver.done.clear()
    for _ in range(SETS):
        measured.generate(conditions, seeds)
    assert len({address for what, address in driver.done if what == "copy_out"}) == SETS
    measured.close()
    assert not driver.alive()


def test_noise_that_the_device_does_not_draw_is_copied(shoes: Bundle) -> None:
    contract = shoes.manifest.contract
    row_wise = {"distribution": "truncated_normal", "parameters": {"c": 2.0}}
    noise = tuple(item.model_copy(update=row_wise) for item in contract.noise)
    other = contract.model_copy(update={"noise": noise})
    driver = TimedDriver()
    measured = open_stages(shoes, driver, contract=other)
    assert measured.stages == ("copy_in", "compute", "copy_out", "all")
    (first, *_) = measured.generate(conditions_of(contract, 3), [1, 2, 3]).values()
    (second, *_) = measured.generate(conditions_of(contract, 3), [1, 2, 4]).values()
    np.testing.assert_array_equal(first[:2], second[:2])
    assert not np.array_equal(first[2], second[2])
    measured.close()
    assert not driver.alive()


@FLAVOURS
def test_the_stages_add_up_to_all_of_it(bundle: Bundle, rtx: bool) -> None:
    driver = TimedDriver()
    measured = open_stages(bundle, driver, rtx=rtx)
    contract = bundle.manifest.contract
    rows = 3
    times = {stage: measured.elapsed_ms(stage, 1) for stage in measured.stages}
    image = rows * int(np.prod([int(axis) for axis in contract.conditions[0].shape])) * 4
    picture = rows * int(np.prod([int(axis) for axis in contract.outputs[0].shape])) * 4
    assert times["copy_in"] == image, "masks are not copied"
    assert times["noise"] == 16 * rows + KERNEL_MS, "seeds are copied, then one kernel draws all masks"
    assert times["compute"] == COMPUTE_MS
    assert times["copy_out"] == picture
    assert times["all"] == sum(times[stage] for stage in measured.stages if stage != "all")
    measured.close()


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_sets_take_turns_and_another_one_runs_before(bundle: Bundle, streams: int) -> None:
    driver = TimedDriver()
    measured = open_stages(bundle, driver, streams=streams)
    for stage, what in (("copy_in", "copy_in"), ("noise", "noise"), ("copy_out", "copy_out")):
        places = []
        for index in range(sets_for(streams)):
            driver.done.clear()
            measured.elapsed_ms(stage, index)  # type: ignore[arg-type]  # a literal of the loop
            touched = [address for kind, address in driver.done if kind == what]
            assert touched[-1] not in touched[: len(touched) // 2], "the set before is another one"
            places.append(touched[-1])
        assert len(set(places)) == sets_for(streams) >= SETS
    measured.close()


def test_several_streams_work_at_once(bundle: Bundle) -> None:
    driver = TimedDriver()
    measured = open_stages(bundle, driver, streams=3)
    driver.done.clear()
    assert measured.seconds_of(10) > 0
    assert driver.most_streams_at_work == 3
    assert sum(1 for what, _ in driver.done if what == "copy_out") == 10
    measured.close()
    assert not driver.alive()


def test_what_comes_again_is_a_graph(bundle: Bundle) -> None:
    driver = TimedDriver()
    measured = open_stages(bundle, driver)
    assert driver.alive()["graphs"] == 2 * SETS
    before = driver.faults.calls.count("execute_async_v3")
    for stage in ("compute", "all"):
        measured.elapsed_ms(stage, 0)
    measured.seconds_of(3)
    assert driver.faults.calls.count("execute_async_v3") == before
    measured.close()


def test_a_batch_that_the_plan_does_not_run_at_once_is_one_sentence(bundle: Bundle) -> None:
    for batch in (9, 1):
        driver = TimedDriver()
        with pytest.raises(UsageError, match=rf"batches of 2 to 4 or 5 to 8, not {batch} at once; build it with"):
            open_stages(bundle, driver, (2, 4), (5, 8), batch=batch)
        assert not driver.alive()
    driver = TimedDriver()
    measured = open_stages(bundle, driver)
    with pytest.raises(UsageError, match="2 seeds, but 3 rows are measured"):
        measured.generate(conditions_of(bundle.manifest.contract, 3), [1, 2])
    measured.close()


@FLAVOURS
def test_everything_is_given_back_whichever_call_fails(
    shoes: Bundle, rtx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "sets_for", lambda streams: 2 * streams)
    conditions = conditions_of(shoes.manifest.contract, 2)
    wanted = shoes.generator().generate(conditions, [1, 2], [0, 0])

    def one_life(driver: TimedDriver) -> None:
        """A failed call is tried a second time and must succeed then."""
        measured = open_stages(shoes, driver, batch=2, rtx=rtx, streams=2)
        try:
            for call in (
                lambda: assert_same(measured.generate(conditions, [1, 2]), wanted, exact=False),
                lambda: [measured.elapsed_ms(stage, 1) for stage in measured.stages],
                lambda: measured.seconds_of(3),
            ):
                try:
                    call()
                except CganError:
                    call()
        finally:
            measured.close()

    driver = TimedDriver()
    one_life(driver)
    assert not driver.alive()
    calls = driver.faults.calls
    assert {"create_event", "record", "elapsed_ms", "load_module", "launch", "copy_to_host", "free"} <= set(calls)
    for number, name in enumerate(calls):
        driver = TimedDriver(Faults(fail_at=number))
        with suppress(CganError):
            one_life(driver)
        assert len(driver.faults.calls) > number, name
        assert not driver.alive(), f"call {number}, {name}, failed"
    gc.collect()
