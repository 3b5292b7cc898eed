"""What a generator is given for a seed is what the rules say, by the published vectors and not by our own code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pytest
from cgan_runtime.contract import NoiseInput
from cgan_runtime.generator import noise_tensors
from cgan_runtime.noise import noise

from tests.helpers import REPOSITORY
from tests.runtime.test_noise import KEEP_HASHES, NORMALS, TOP, WORDS

DOCUMENT = (REPOSITORY / "docs" / "seeded-noise.md").read_text(encoding="utf-8")


def uniforms(index: int) -> NoiseInput:
    return NoiseInput(name=f"u{index}", index=index, distribution="uniform01", shape=(4,))


def published(seed: int, tensor: int, draw: int) -> np.ndarray:
    """The first four uniforms of the published words, float32 [4]."""
    words = [int(word, 16) for word in WORDS[seed, tensor, draw][0].split()[:4]]
    return np.array([(word + 0.5) / 2**32 for word in words]).astype(np.float32)


@pytest.mark.parametrize("case", WORDS)
def test_seed_tensor_and_draw_all_reach_the_words(case: tuple[int, int, int]) -> None:
    seed, tensor, draw = case
    filled = noise_tensors([uniforms(tensor)], [seed], [draw])
    np.testing.assert_array_equal(filled[f"u{tensor}"], published(*case)[None])


def test_every_row_and_every_input_has_words_of_its_own() -> None:
    seeds, draws = [7, TOP, 7, 2**53 + 1, 2**53], [0, 0, 1, 0, 0]
    filled = noise_tensors([uniforms(0), uniforms(1), uniforms(2)], seeds, draws)
    known = {(seed, draw): row for row, (seed, draw) in enumerate(zip(seeds, draws, strict=True))}
    compared = 0
    for seed, tensor, draw in WORDS:
        if (row := known.get((seed, draw))) is not None and tensor in (0, 1, 2):
            np.testing.assert_array_equal(filled[f"u{tensor}"][row], published(seed, tensor, draw))
            compared += 1
    assert compared == 6
    assert len({values.tobytes() for rows in filled.values() for values in rows}) == 3 * 5


@pytest.mark.parametrize("case", KEEP_HASHES)
def test_the_share_that_is_dropped_reaches_the_mask(case: tuple[int, int, int, float, int]) -> None:
    seed, tensor, draw, p, count = case
    mask = NoiseInput(name="m", index=tensor, distribution="mask", shape=(count,), parameters={"p": p})
    values = noise_tensors([mask], [seed], [draw])["m"][0]
    assert hashlib.sha256((values > 0).astype(np.uint8).tobytes()).hexdigest() == KEEP_HASHES[case]
    assert set(values.tolist()) == {0.0, float(np.float32(1 / (1 - p)))}


def test_the_cut_reaches_the_truncated_normal() -> None:
    tight = NoiseInput(name="z", index=0, distribution="truncated_normal", shape=(256,), parameters={"c": 0.5})
    values = noise_tensors([tight], [7], [0])["z"]
    assert np.abs(values).max() <= 0.5
    np.testing.assert_array_max_ulp(values[0, :2], np.array([0.0674738, -0.14008905], dtype=np.float32), maxulp=1)


@pytest.mark.parametrize("case", NORMALS)
def test_a_free_size_changes_the_shape_and_not_the_words(case: tuple[int, int, int]) -> None:
    seed, tensor, draw = case
    free = NoiseInput(name="z", index=tensor, distribution="normal", shape=("h/2", "w/2"))
    values = noise_tensors([free], [seed], [draw], {"h": 4, "w": 8})["z"]
    assert values.shape == (1, 2, 4)
    np.testing.assert_array_max_ulp(values[0, 0], np.array(NORMALS[case], dtype=np.float32), maxulp=1)


def rows_of(heading: str) -> Sequence[list[str]]:
    """The cells of the table below a heading of docs/seeded-noise.md."""
    below = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def whole(text: str) -> int:
    """7, 2^64-1 or 2^53+1."""
    power, sign, rest = re.fullmatch(r"(?:2\^)?(\d+)(?:([+-])(\d+))?", text).groups()  # type: ignore[union-attr]  # else it fails
    base = 2 ** int(power) if text.startswith("2^") else int(power)
    return base + (int(f"{sign}{rest}") if sign else 0)


def test_the_document_gives_the_published_words() -> None:
    table = rows_of("Vectors")
    assert len(table) == 6
    for place, words, kept in table:
        seed, tensor, draw = (whole(part) for part in place.split(" / "))
        text, of_half, _ = WORDS[seed, tensor, draw]
        assert words == " ".join(text.split()[:4])
        assert kept == ("" if of_half is None else str(of_half))


def test_the_document_gives_whole_tensors_by_their_digests() -> None:
    table = rows_of("Whole tensors")
    assert {row[0] for row in table} >= {"mask", "uniform01", "uniform11"}
    assert len({row[2] for row in table}) > 1, "several tensors of one request"
    for distribution, p, place, shape, digest in table:
        seed, tensor, draw = (whole(part) for part in place.split(" / "))
        sides = tuple(int(side) for side in shape.split("x"))
        given = {"p": float(p)} if p else {}
        values = noise(distribution, sides, seed=seed, tensor=tensor, draw=draw, parameters=given)
        assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest() == digest
