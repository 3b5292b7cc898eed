"""Who is worked on, who waits, who is refused: the laws of the queue, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cgan_runtime.gateway.admission import Admission, Pace
from cgan_runtime.gateway.refusal import Refusal
from cgan_runtime.gateway.settings import Limits


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """Requests that stay inside until they are let go."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self.admission, self.clock = admission, clock
        self.inside: list[str] = []

    def ask(
        self,
        who: str,
        *,
        rows: int = 1,
        memory: int = 1,
        seconds: float = 30,
        name: str = "net",
        max_batch: int = 2,
    ) -> tuple[asyncio.Task[None], asyncio.Event]:
        leave = asyncio.Event()

        async def stay() -> None:
            deadline = self.clock() + seconds
            with self.admission.memory.claim() as claim:
                async with self.admission.enter(
                    name, rows=rows, memory=memory, claim=claim, max_batch=max_batch, deadline=deadline
                ):
                    self.inside.append(who)
                    await leave.wait()

        return asyncio.create_task(stay()), leave


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(law: Callable[[Caller, Clock], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def go() -> None:
        clock = Clock()
        await law(Caller(Admission(Limits(**limits), clock), clock), clock)

    asyncio.run(go())


def test_two_batches_are_inside_and_the_rest_wait_in_order() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        asked = [caller.ask(str(number)) for number in range(7)]
        await settle()
        assert caller.inside == ["0", "1", "2", "3"]
        assert caller.admission.waiting == 3
        asked[2][1].set()
        await settle()
        assert caller.inside == ["0", "1", "2", "3", "4"]
        for _task, leave in asked:
            leave.set()
        await asyncio.gather(*(task for task, _ in asked))
        assert caller.inside == [str(number) for number in range(7)]
        assert (caller.admission.inside, caller.admission.memory.held) == (0, 0)

    run(law)


def test_a_large_request_is_not_passed_by_small_ones() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        first = caller.ask("first", rows=2)
        large = caller.ask("large", rows=3)
        small = caller.ask("small", rows=1)
        await settle()
        assert caller.inside == ["first"]
        first[1].set()
        await settle()
        assert caller.inside == ["first", "large", "small"]
        for _task, leave in (large, small):
            leave.set()
        await asyncio.gather(large[0], small[0])

    run(law)


def test_bundles_do_not_wait_for_each_other() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        asked = [caller.ask("a", rows=4, name="one"), caller.ask("b", name="one"), caller.ask("c", name="two")]
        await settle()
        assert caller.inside == ["a", "c"]
        for task, _leave in asked:
            task.cancel()
        await asyncio.gather(*(task for task, _ in asked), return_exceptions=True)
        assert caller.admission.inside == 0

    run(law)


def test_beyond_the_queue_a_request_is_refused_with_a_time_to_come_back() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        asked = [caller.ask(str(number)) for number in range(7)]
        await settle()
        with pytest.raises(Refusal, match="3 requests wait already") as caught:
            await caller.ask("late")[0]
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
        for task, _leave in asked:
            task.cancel()

    run(law, waiting=3)


def test_a_request_that_would_be_late_is_refused_when_it_comes() -> None:
    """Eight rows took 4 s each: a fifth is due in 20 s. The first four rows alone say too little."""

    async def law(caller: Caller, clock: Clock) -> None:
        for seconds in (30, 1):
            task, leave = caller.ask("measured", rows=4, seconds=seconds)
            await settle()
            clock.now += 16
            leave.set()
            await task
        asked = [caller.ask(str(number)) for number in range(4)]
        await settle()
        with pytest.raises(Refusal, match=r"about 20\.0 s, and there are 19\.0 s") as caught:
            await caller.ask("late", seconds=19)[0]
        assert caught.value.retry_after == 1
        in_time = caller.ask("in time", seconds=21)
        await settle()
        assert caller.admission.waiting == 1
        for task, _leave in (*asked, in_time):
            task.cancel()

    run(law)


def test_who_leaves_frees_the_slot_whether_waiting_or_inside() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        asked = [caller.ask(str(number), memory=5) for number in range(6)]
        await settle()
        asked[4][0].cancel()
        asked[0][0].cancel()
        await settle()
        assert caller.inside == ["0", "1", "2", "3", "5"]
        assert (caller.admission.inside, caller.admission.waiting, caller.admission.memory.held) == (4, 0, 20)
        for task, _leave in asked:
            task.cancel()
        await asyncio.gather(*(task for task, _ in asked), return_exceptions=True)
        assert (caller.admission.inside, caller.admission.memory.held) == (0, 0)

    run(law)


def test_who_leaves_in_the_moment_of_admission_frees_the_slot_too() -> None:
    """The turn has come, but the request has not gone on yet."""

    async def law(caller: Caller, _: Clock) -> None:
        first, second = caller.ask("first", rows=4, memory=5), caller.ask("second", rows=4, memory=7)
        await settle()
        first[1].set()
        while caller.admission.waiting:
            await asyncio.sleep(0)
        second[0].cancel()
        await asyncio.gather(first[0], second[0], return_exceptions=True)
        assert caller.inside == ["first"]
        assert (caller.admission.inside, caller.admission.memory.held) == (0, 0)

    run(law)


def test_memory_is_shared_by_all_and_a_request_beyond_it_is_refused_at_once() -> None:
    async def law(caller: Caller, _: Clock) -> None:
        first = caller.ask("first", memory=100, name="one")
        second = caller.ask("second", memory=100, name="two")
        await settle()
        assert caller.inside == ["first"]
        with pytest.raises(Refusal, match="the request would need") as caught:
            await caller.ask("huge", memory=101)[0]
        assert caught.value.status == 413
        first[1].set()
        await settle()
        assert caller.inside == ["first", "second"]
        second[1].set()
        await asyncio.gather(first[0], second[0])

    run(law, memory_bytes=133)


def test_waiting_ends_with_the_time_of_the_request() -> None:
    """On the loop's own clock: the request waits 0.05 s for a slot that does not come."""

    async def law(caller: Caller, _: Clock) -> None:
        first = caller.ask("first", rows=4)
        await settle()
        with pytest.raises(Refusal, match="waited for its whole time") as caught:
            await caller.ask("second", seconds=0.05)[0]
        assert caught.value.status == 503
        assert caller.admission.waiting == 0
        first[1].set()
        await first[0]

    run(law)


def test_the_pace_counts_only_time_with_work() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds, rows in ((3, 6), (2, 4)):
        pace.began()
        clock.now += seconds
        pace.answered(rows, more=False)
        clock.now += 1000
    assert pace.seconds_per_row == pytest.approx(0.5)
    pace.began()
    clock.now += 7
    pace.stopped(more=False)  # says nothing: nobody was answered
    clock.now += 1000
    pace.began()
    clock.now += 1
    pace.answered(2, more=False)
    assert pace.seconds_per_row == pytest.approx(0.5)


def test_the_pace_follows_a_change() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds in (*[1.0] * 200, *[0.1] * 400):
        pace.began()
        clock.now += seconds
        pace.answered(1, more=False)
    assert pace.seconds_per_row < 0.2
