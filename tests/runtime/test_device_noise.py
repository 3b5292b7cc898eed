"""Noise of the kernel: the published vectors, NumPy's bits, and where it is written.

The kernel is compiled for the CPU from the source that makes the PTX. It has only operations that IEEE 754 rounds
correctly, so a GPU gives the bits that are tested here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cgan_runtime.contract import NoiseInput
from cgan_runtime.cuda.device_noise import DeviceNoise, Drawing, Target
from cgan_runtime.cuda.driver import DriverError
from cgan_runtime.errors import UsageError
from cgan_runtime.generator import noise_tensors

from tests.helpers import REPOSITORY
from tests.runtime.cpu_noise import CpuDriver, compile_for_the_cpu, drawn, noise_input
from tests.runtime.test_noise import FLOAT_HASHES, KEEP_HASHES, NORMALS, TOP, WORDS, sha
from tests.runtime.test_noise_tensors import published, rows_of, whole

EXACT = (
    noise_input("mask", 0, p=0.5),
    noise_input("mask", 3, p=0.3),
    noise_input("mask", 2**32 - 1, p=0.0),
    noise_input("mask", 4, p=1 - 2**-40),
    noise_input("uniform01", 1),
    noise_input("uniform11", 2),
)
SEEDS = (0, 7, 2**53 + 1, 2**63, TOP)
# Units in the last place of float64 by which ln, cos and sin differ at most: docs/tensorrt.md.
MOST_ULP = 0.85


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_for_the_cpu(tmp_path_factory.mktemp("noise"))


@pytest.fixture
def driver(library: Path) -> CpuDriver:
    return CpuDriver(library)


def by_numpy(
    item: NoiseInput, shape: tuple[int, ...], half: bool, seeds: Sequence[int], draws: Sequence[int]
) -> np.ndarray:
    """[rows, *shape] by the host's noise, and its cast."""
    values = noise_tensors([item.model_copy(update={"shape": shape})], seeds, draws)[item.name]
    with np.errstate(over="ignore"):
        return values.astype(np.float16) if half else values


def bits(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint16 if values.dtype == np.float16 else np.uint32)


@pytest.mark.parametrize("case", WORDS)
def test_published_words(driver: CpuDriver, case: tuple[int, int, int]) -> None:
    seed, tensor, draw = case
    (values,) = drawn(driver, [(noise_input("uniform01", tensor), (4,), False)], [seed], [draw])
    np.testing.assert_array_equal(values[0], published(seed, tensor, draw))


@pytest.mark.parametrize("case", KEEP_HASHES)
def test_published_masks(driver: CpuDriver, case: tuple[int, int, int, float, int]) -> None:
    seed, tensor, draw, p, count = case
    (values,) = drawn(driver, [(noise_input("mask", tensor, p=p), (count,), False)], [seed], [draw])
    assert sha((values[0] > 0).astype(np.uint8)) == KEEP_HASHES[case]


def test_a_word_at_the_threshold_is_kept_and_one_below_is_not(driver: CpuDriver) -> None:
    word = int(WORDS[7, 0, 0][0].split()[0], 16)
    for threshold, value in ((word, 1 / (1 - word / 2**32)), (word + 1, 0.0)):
        (values,) = drawn(driver, [(noise_input("mask", p=threshold / 2**32), (1,), False)], [7], [0])
        assert values.item() == np.float32(value)


def test_published_whole_tensors(driver: CpuDriver) -> None:
    for (distribution, count), digest in FLOAT_HASHES.items():
        (values,) = drawn(driver, [(noise_input(distribution), (count,), False)], [7], [0])
        assert sha(values[0]) == digest
    table = rows_of("Whole tensors")
    assert len(table) >= 8
    for distribution, p, place, shape, digest in table:
        seed, tensor, draw = (whole(part) for part in place.split(" / "))
        item = noise_input(distribution, tensor, **({"p": float(p)} if p else {}))
        (values,) = drawn(driver, [(item, tuple(map(int, shape.split("x"))), False)], [seed], [draw])
        assert sha(values[0]) == digest


@pytest.mark.parametrize("case", NORMALS)
def test_published_normals(driver: CpuDriver, case: tuple[int, int, int]) -> None:
    seed, tensor, draw = case
    (values,) = drawn(driver, [(noise_input("normal", tensor), (4,), False)], [seed], [draw])
    np.testing.assert_array_equal(values[0], np.array(NORMALS[case], dtype=np.float32))


@pytest.mark.parametrize("half", [False, True])
def test_masks_and_uniforms_are_numpys_bits_in_any_shape_and_batch(driver: CpuDriver, half: bool) -> None:
    random = np.random.default_rng(11)
    for rows, shape in [(1, ()), (3, (1,)), (2, (7,)), (5, (8,)), (3, (9,)), (4, (3, 5, 7)), (2, (16, 32, 33))]:
        seeds = [int(seed) for seed in random.integers(0, TOP, rows, dtype=np.uint64, endpoint=True)]
        draws = [int(draw) for draw in random.integers(0, 2**32, rows)]
        results = drawn(driver, [(item, shape, half) for item in EXACT], seeds, draws)
        for item, values in zip(EXACT, results, strict=True):
            np.testing.assert_array_equal(bits(values), bits(by_numpy(item, shape, half, seeds, draws)))


def test_normals_are_numpys_to_one_unit_in_the_last_place_and_nearly_all_to_the_bit(driver: CpuDriver) -> None:
    shape = (100, 1001)
    (values,) = drawn(driver, [(noise_input("normal"), shape, False)], SEEDS, [1] * 5)
    expected = by_numpy(noise_input("normal"), shape, False, SEEDS, [1] * 5)
    np.testing.assert_array_max_ulp(values, expected, maxulp=1)
    assert (bits(values) != bits(expected)).sum() <= 2, "of 500,500; one in 10^8 is usual"


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than double here")
def test_ln_cos_and_sin_have_the_documented_error(driver: CpuDriver) -> None:
    """Against 64 bits of precision: random words, the ends, both sides of each turn and of each exponent's step."""
    corners = [at + by for at in (0, 2**30, 2**31, 3 * 2**30, 2**32) for by in range(-40, 40)]
    corners += [int(turn * 2**29) + by for turn in (1, 3, 5, 7) for by in range(-40, 40)]
    corners += [int(2.0 ** (32 - half / 2)) + by for half in range(1, 60) for by in range(-3, 3)]
    random = np.random.default_rng(3).integers(0, 2**32, 500_000, dtype=np.uint32)
    words = np.concatenate([np.array([word for word in corners if 0 <= word < 2**32], dtype=np.uint32), random])
    ours = np.empty((len(words), 3))
    driver.code.parts_of(*map(ctypes.c_void_p, (words.ctypes.data, ours.ctypes.data)), ctypes.c_uint64(len(words)))
    u = (words.astype(np.float64) + 0.5) / 2.0**32
    angle = (6.283185307179586 * u).astype(np.longdouble)  # the rules round the angle
    exact = np.stack([np.log(u.astype(np.longdouble)), np.cos(angle), np.sin(angle)], axis=1)
    assert np.max(np.abs(ours - exact) / np.spacing(np.abs(ours))) < MOST_ULP


def test_float16_is_float32_rounded_once_more(driver: CpuDriver) -> None:
    """Every float16 from 0 to 2^15, each midpoint of two neighbours, and the float32 next to each; both signs."""
    halves = np.arange(0x7800, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    points = np.concatenate([halves, middles])
    near = [points, np.nextafter(points, np.float32(9e9)), np.nextafter(points, np.float32(-9e9))]
    singles = np.concatenate([*near, -np.concatenate(near)]).astype(np.float32)
    ours = np.empty(len(singles), dtype=np.uint16)
    driver.code.halves_of(
        *map(ctypes.c_void_p, (singles.ctypes.data, ours.ctypes.data)), ctypes.c_uint64(len(ours))
    )
    np.testing.assert_array_equal(ours, singles.astype(np.float16).view(np.uint16))


def test_normals_in_float16_are_the_float32_normals_rounded(driver: CpuDriver) -> None:
    item = noise_input("normal", 1)
    single, half = drawn(driver, [(item, (999,), False), (item, (999,), True)], SEEDS, [0] * 5)
    np.testing.assert_array_equal(bits(half), bits(single.astype(np.float16)))


def test_a_batch_is_its_rows(driver: CpuDriver) -> None:
    inputs = [(noise_input("normal", 0), (3, 3), False), (noise_input("mask", 1, p=0.5), (21,), True)]
    draws = [0, 1, 2**32 - 1, 0, 5]
    together = drawn(driver, inputs, SEEDS, draws)
    for row, (seed, draw) in enumerate(zip(SEEDS, draws, strict=True)):
        for values, alone in zip(together, drawn(driver, inputs, [seed], [draw]), strict=True):
            np.testing.assert_array_equal(bits(values[row]), bits(alone[0]))


def test_more_tensors_than_one_launch_takes(driver: CpuDriver) -> None:
    inputs = [(noise_input("uniform01", index), (1 + index % 11,), bool(index % 2)) for index in range(130)]
    results = drawn(driver, inputs, [7, 8], [0, 0])
    assert len(driver.launched) == 3
    for (item, shape, half), values in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(bits(values), bits(by_numpy(item, shape, half, [7, 8], [0, 0])))


@pytest.mark.parametrize("elements", [1, 7, 8, 9, 1023, 1024, 1025, 172_032])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_grid_has_a_thread_for_each_block_of_words_and_less_than_a_group_too_many(
    driver: CpuDriver, elements: int, rows: int
) -> None:
    drawn(driver, [(noise_input("mask", p=0.5), (elements,), False)], [7] * rows, [0] * rows)
    ((blocks, threads),) = driver.launched
    assert 0 <= blocks * threads - rows * -(-elements // 8) < threads <= 128


def test_each_element_is_written_by_one_thread_once(driver: CpuDriver) -> None:
    """Each thread alone, over two backgrounds: what differs from both is what it wrote."""
    rows, shapes = 3, [(9,), (2, 8)]
    noise = DeviceNoise(driver.as_driver(), max_rows=rows)
    noise.set_rows([7, 8, 9], [0, 0, 0])
    bytes_of = [int(np.prod(shape)) * rows * (2 if half else 4) for half, shape in enumerate(shapes)]
    addresses = [driver.allocate(size) for size in bytes_of]
    targets = [
        Target(input=noise_input("uniform01", half), address=address, shape=shapes[half], half=bool(half))
        for half, address in enumerate(addresses)
    ]
    drawing = noise.prepare(targets, rows)
    noise.enqueue(drawing, 5)
    ((blocks, arguments),) = drawing.launches
    times = [np.zeros(size, dtype=int) for size in bytes_of]
    for thread in range(blocks * 128):
        unchanged = [np.ones(size, dtype=bool) for size in bytes_of]
        for background in (0x00, 0xFF):
            for address in addresses:
                driver.written(address)[:] = background
            driver.threads(thread, thread + 1, arguments)
            for number, address in enumerate(addresses):
                unchanged[number] &= driver.written(address) == background
        for number, same in enumerate(unchanged):
            times[number] += ~same
    for count in times:
        np.testing.assert_array_equal(count, 1)


@pytest.mark.parametrize("half", [False, True])
def test_elements_far_beyond_four_gigabytes(driver: CpuDriver, half: bool) -> None:
    """The last block of a tensor of 2^30 + 3 elements in row 8, without the memory of the others."""
    elements, row, width = 2**30 + 3, 8, 2 if half else 4
    noise = DeviceNoise(driver.as_driver(), max_rows=9)
    noise.set_rows(range(9), range(9))
    memory = driver.allocate(3 * width)
    before = row * elements + 2**30
    item = noise_input("uniform01", 1)
    shape = (elements,)
    target = Target(input=item, address=(memory - before * width) % 2**64, shape=shape, half=half)
    drawing = noise.prepare([target], 9)
    noise.enqueue(Drawing(rows=9, launches=()), 5)  # the seeds alone
    ((blocks, arguments),) = drawing.launches
    blocks_of_a_row = -(-elements // 8)
    assert blocks == -(-9 * blocks_of_a_row // 128)
    driver.threads(9 * blocks_of_a_row - 1, blocks * 128, arguments)
    counter = np.array([blocks_of_a_row - 1, 1, row, 1], dtype=np.uint64)  # numpy counts up before it draws
    raw = np.random.Philox(key=np.array([row, 0], dtype=np.uint64), counter=counter).random_raw(4)
    expected = ((np.asarray(raw).view(np.uint32)[:3] + 0.5) / 2.0**32).astype(np.float32)
    found = driver.written(memory).view(np.float16 if half else np.float32)
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


def test_a_graph_draws_the_rows_that_are_set_when_it_runs(driver: CpuDriver) -> None:
    noise = DeviceNoise(driver.as_driver(), max_rows=2)
    item = noise_input("uniform01", 3)
    address = driver.allocate(2 * 16)
    driver.begin_capture(5)
    noise.enqueue(noise.prepare([Target(input=item, address=address, shape=(4,))], 2), 5)
    graph = driver.end_capture(5)
    for seeds, draws in (([7, 8], [0, 0]), ([TOP, 7], [1, 0]), ([7, 8], [0, 0])):
        noise.set_rows(seeds, draws)
        driver.launch_graph(graph, 5)
        values = driver.written(address).view(np.float32).reshape(2, 4)
        np.testing.assert_array_equal(values, by_numpy(item, (4,), False, seeds, draws))


def test_the_documented_lines_draw_the_noise(driver: CpuDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    lines = text.partition("## Noise on the device")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.setattr("cgan_runtime.cuda.driver.open_driver", lambda: driver)
    mask = noise_input("mask", 1, p=0.5)
    address = driver.allocate(2 * 2 * 8192)
    exec(compile(lines, "docs/tensorrt.md", "exec"), {"mask": mask, "address": address})
    found = driver.written(address).view(np.float16).reshape(2, 512, 4, 4)
    np.testing.assert_array_equal(found, by_numpy(mask, (512, 4, 4), True, [7, 8], [0, 0]))


def test_everything_is_given_back_whichever_call_fails(library: Path) -> None:
    calls = 0
    while True:
        calls += 1
        driver = CpuDriver(library, fails_at=calls)
        try:
            noise = DeviceNoise(driver.as_driver(), max_rows=2)
        except DriverError:
            assert not driver.alive
            continue
        noise.close()
        noise.close()
        assert not driver.alive
        break
    assert calls == 5, "module, function, two kinds of memory"


@pytest.mark.parametrize(
    ("seeds", "draws", "says"),
    [
        ([7], [0, 1], "1 seeds but 2 draws."),
        ([7] * 3, [0] * 3, "3 rows, but noise on the device was made for 1 to 2."),
        ([2**64], [0], f"seed must be 0 to {TOP}, got {2**64}."),
        ([-1], [0], f"seed must be 0 to {TOP}, got -1."),
        ([7], [2**32], f"draw must be 0 to {2**32 - 1}, got {2**32}."),
    ],
)
def test_rows_that_cannot_be(driver: CpuDriver, seeds: list[int], draws: list[int], says: str) -> None:
    noise = DeviceNoise(driver.as_driver(), max_rows=2)
    with pytest.raises(UsageError) as caught:
        noise.set_rows(seeds, draws)
    assert str(caught.value) == says


def test_what_the_kernel_does_not_draw_is_said(driver: CpuDriver) -> None:
    noise = DeviceNoise(driver.as_driver(), max_rows=2)
    target = Target(input=noise_input("truncated_normal", 1), address=0, shape=(4,))
    with pytest.raises(UsageError, match=r"^noise input z1 is truncated_normal, .*: draw it on the host\.$"):
        noise.prepare([target], 1)
    for rows in (0, 3):
        with pytest.raises(UsageError, match=f"^{rows} rows, but noise on the device was made for 1 to 2"):
            noise.prepare([], rows)
