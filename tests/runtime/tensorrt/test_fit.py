"""Which plans run where, and in which parts a batch is run."""

from __future__ import annotations

import pytest
from cgan_runtime.manifest import Batch, Plan, Profile
from cgan_runtime.runners.tensorrt.fit import misfit_of
from cgan_runtime.runners.tensorrt.profiles import ProfileRange, parts_of
from hypothesis import assume, given
from hypothesis import strategies as st

HERE = "11.4.0.106"


def plan(**changes: object) -> Plan:
    fields = {"version": HERE, "targets": ("sm86", "sm89"), "profiles": (Profile(batch=Batch()),)}
    return Plan.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("built", "version", "target"),
    [
        (plan(), HERE, "sm86"),
        (plan(), HERE, "sm89"),
        (plan(hardware="same_compute_capability"), HERE, "sm89"),
        (plan(hardware="ampere_plus"), HERE, "sm90"),
        (plan(hardware="ampere_plus"), HERE, "sm120"),
        (plan(version_compatible=True), "11.5.1.1", "sm86"),
        (plan(version_compatible=True), HERE, "sm86"),
        (plan(version_compatible=True), "11.10.0.1", "sm86"),
        (plan(version="11.0.0.114", version_compatible=True, hardware="ampere_plus"), HERE, "sm80"),
        (plan(version="10.16.1.11", version_compatible=True), "11.0.0.1", "sm86"),
    ],
)
def test_a_plan_runs_on_its_targets_with_its_version(built: Plan, version: str, target: str) -> None:
    assert misfit_of(built, name="TensorRT", version=version, target=target) is None


@pytest.mark.parametrize(
    ("built", "version", "target"),
    [
        (plan(), HERE, "sm90"),
        (plan(), "11.4.0.107", "sm86"),
        (plan(), "11.4.0", "sm86"),
        (plan(hardware="same_compute_capability"), HERE, "sm90"),
        (plan(hardware="ampere_plus"), HERE, "sm75"),
        (plan(hardware="ampere_plus"), "10.16.1.11", "sm90"),
        (plan(version_compatible=True), "10.16.1.11", "sm86"),
        (plan(version_compatible=True), "11.3.0.1", "sm86"),
        (plan(version="11.10.0.1", version_compatible=True), "11.9.9.9", "sm86"),
        (plan(version_compatible=True), "12.0.0.1", "sm86"),
        (plan(version_compatible=True), "11.5.1.1", "sm90"),
        (plan(version="1.1.0.1", version_compatible=True), "11.1.0.1", "sm86"),
    ],
)
def test_any_other_does_not_and_both_sides_are_named(built: Plan, version: str, target: str) -> None:
    reason = misfit_of(built, name="TensorRT", version=version, target=target)
    newer = " and newer" if built.hardware == "ampere_plus" else ""
    assert reason == (
        f"this plan was built for sm86, sm89{newer} with TensorRT {built.version}; here are {target} and {version}"
    )


def ranges(*batches: tuple[int, int]) -> list[ProfileRange]:
    return [
        ProfileRange(number=number, smallest={"x": (low, 3)}, largest={"x": (high, 3)})
        for number, (low, high) in enumerate(batches)
    ]


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=4),
    st.integers(1, 100),
)
def test_the_parts_are_the_batch_and_each_is_in_its_profile(limits: list[tuple[int, int]], batch: int) -> None:
    parts = parts_of(ranges(*((low, low + more) for low, more in limits)), {"x": (batch, 3)})
    assert [row for part in parts for row in range(part.first, part.first + part.rows)] == list(range(batch))
    for part in parts:
        low, high = part.profile.batch
        assert low <= part.size <= high
        assert part.rows <= part.size
        # Rows are only repeated to reach the smallest batch.
        assert part.size == max(part.rows, low)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=4), st.integers(1, 40))
def test_of_several_profiles_the_narrowest_is_taken(limits: list[tuple[int, int]], batch: int) -> None:
    profiles = ranges(*((low, low + more) for low, more in limits))
    holding = [p for p in profiles if p.batch[0] <= batch <= p.batch[1]]
    assume(holding)
    (part,) = parts_of(profiles, {"x": (batch, 3)})
    assert part.profile in holding
    assert part.profile.batch[1] - part.profile.batch[0] == min(p.batch[1] - p.batch[0] for p in holding)
