"""The pool of older images: what the CycleGAN paper's discriminators are shown, by whatever number of processes."""

from __future__ import annotations

import pytest
import torch
from cgan_trainer.nets.image_pool import ImagePool
from torch import Tensor


def numbered(positions: range) -> Tensor:
    """One image of a single pixel per position, whose value is the position."""
    return torch.tensor([float(n) for n in positions]).reshape(-1, 1, 1, 1)


def shown(pool: ImagePool, count: int, batch: int = 1) -> list[int]:
    """What the pool gives back for the images 0..count-1."""
    seen: list[int] = []
    for begin in range(0, count, batch):
        positions = range(begin, min(begin + batch, count))
        seen += [int(value) for value in pool.exchange(numbered(positions), positions).flatten()]
    return seen


def test_the_first_images_pass_and_then_half_are_older() -> None:
    seen = shown(ImagePool(50, seed=1), 2050)
    assert seen[:50] == list(range(50))
    older = [n for n in range(50, 2050) if seen[n] != n]
    assert all(seen[n] < n for n in older)
    assert abs(len(older) - 1000) < 5 * (2000 / 4) ** 0.5  # five standard deviations of a fair coin


def test_an_image_leaves_the_pool_when_it_is_shown() -> None:
    pool = ImagePool(10, seed=2)
    seen = shown(pool, 500)
    kept = [int(image) for image in pool.images]
    first = seen[:10]  # shown at once, and kept: the only ones that are shown twice
    assert len(kept) == 10
    assert sorted([*seen, *kept]) == sorted([*range(500), *first])


def test_every_place_of_the_pool_is_exchanged_alike() -> None:
    pool = ImagePool(4, seed=3)
    shown(pool, 4)
    changed = [0] * 4
    for n in range(4, 2004):
        before = [int(image) for image in pool.images]
        shown_now = int(pool.exchange(numbered(range(n, n + 1)), range(n, n + 1)))
        if shown_now != n:
            changed[before.index(shown_now)] += 1
    assert min(changed) > 0.8 * sum(changed) / 4


def test_none_is_kept_by_an_empty_pool() -> None:
    pool = ImagePool(0, seed=0)
    assert shown(pool, 20) == list(range(20))
    assert pool.images == []


def test_the_draws_follow_from_seed_purpose_and_position_alone() -> None:
    whole = shown(ImagePool(5, seed=4), 60)
    assert shown(ImagePool(5, seed=4), 60, batch=7) == whole
    assert shown(ImagePool(5, seed=5), 60) != whole
    assert shown(ImagePool(5, seed=4, purpose="pool A"), 60) != whole


def test_a_pool_goes_on_from_the_images_of_another() -> None:
    whole = shown(ImagePool(5, seed=4), 60)
    begun, resumed = ImagePool(5, seed=4), ImagePool(5, seed=4)
    assert shown(begun, 30) == whole[:30]
    resumed.images = list(begun.images)
    rest = [int(resumed.exchange(numbered(range(n, n + 1)), range(n, n + 1))) for n in range(30, 60)]
    assert rest == whole[30:]


def test_what_is_kept_does_not_change_with_the_batch_it_came_from() -> None:
    pool = ImagePool(2, seed=0)
    for begin in range(0, 20, 2):
        batch = numbered(range(begin, begin + 2))
        pool.exchange(batch, range(begin, begin + 2))
        batch.fill_(99)
    assert all(image < 20 for image in pool.images)
    assert max(pool.images) >= 2  # some were exchanged


@pytest.mark.parametrize(("ranks", "batch"), [(2, 1), (2, 3), (3, 2)])
def test_several_ranks_show_what_one_with_the_larger_batch_shows(ranks: int, batch: int) -> None:
    alone = ImagePool(5, seed=6)
    pools = [ImagePool(5, seed=6) for _ in range(ranks)]
    for begin in range(0, 20 * ranks * batch, ranks * batch):
        every = range(begin, begin + ranks * batch)
        wanted = alone.exchange(numbered(every), every)
        for rank, pool in enumerate(pools):
            mine = range(begin + rank * batch, begin + (rank + 1) * batch)

            def gather(given: Tensor, every: range = every, mine: range = mine) -> Tensor:
                assert torch.equal(given, numbered(mine))
                return numbered(every)

            pool.rank, pool.gather = rank, gather
            seen = pool.exchange(numbered(mine), mine)
            assert torch.equal(seen, wanted[rank * batch : (rank + 1) * batch])
            assert [int(image) for image in pool.images] == [int(image) for image in alone.images]
