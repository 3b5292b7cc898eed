from __future__ import annotations

import torch
import torch.nn.functional as F
from cgan_trainer.seeding import augment, draw_masks, row_at, to_float
from torch import Tensor


def both(values: Tensor, position: int, *, seed: int = 5, smooth: tuple[bool, bool] = (True, True)) -> list[Tensor]:
    return augment((values, values), smooth, seed, position, jitter=True, mirror=True)


def test_an_epoch_shows_every_pair_once_and_the_next_in_another_order() -> None:
    epochs = [[row_at(7, position, 11) for position in range(start, start + 11)] for start in (0, 11)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(11))] * 2
    assert epochs[0] != epochs[1]
    assert [row_at(8, position, 11) for position in range(11)] != epochs[0]


def test_jitter_treats_both_halves_alike_and_repeats() -> None:
    a = torch.rand(3, 64, 64) * 2 - 1
    seen = set()
    for position in range(30):
        left, right = both(a, position)
        assert torch.equal(left, right)
        assert left.shape == a.shape
        assert left.abs().max() <= 1
        assert torch.equal(left, both(a, position)[0])
        seen.add(left.sum().item())
    assert len(seen) > 20


def test_the_cut_is_a_square_of_the_image_torch_enlarges() -> None:
    a = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    enlarged = F.interpolate(a[None], size=(72, 72), mode="bicubic", align_corners=False)[0].clamp(-1, 1)
    squares = enlarged.unfold(1, 64, 1).unfold(2, 64, 1)  # [c, top, left, 64, 64]
    places = set()
    for position in range(20):
        (cut,) = augment((a,), (True,), 5, position, jitter=True, mirror=False)
        apart = (squares - cut[:, None, None]).abs().amax(dim=(0, 3, 4))
        assert (apart < 1e-5).sum() == 1
        places.add(int(apart.argmin()))
    assert len(places) > 10


def test_half_of_the_images_are_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(3, 64, 64).contiguous()
    mirrored = [bool((pair := both(ramp, n, seed=0))[0][0, 0, 0] > pair[0][0, 0, -1]) for n in range(200)]
    assert 70 < sum(mirrored) < 130


def test_jitter_and_mirror_can_each_be_left_out() -> None:
    a = torch.rand(3, 64, 64) * 2 - 1
    for position in range(8):
        (still,) = augment((a,), (True,), 5, position, jitter=False, mirror=False)
        assert torch.equal(still, a)
        (mirrored,) = augment((a,), (True,), 5, position, jitter=False, mirror=True)
        assert torch.equal(mirrored, a) or torch.equal(mirrored, a.flip(-1))


def test_a_label_map_keeps_its_colours_where_an_image_is_blended() -> None:
    colours = torch.tensor([-1.0, 0.25, 1.0])
    a = colours[torch.randint(3, (1, 64, 64), generator=torch.Generator().manual_seed(0))]
    labels, image = both(a, 3, smooth=(False, True))
    assert set(labels.flatten().tolist()) == set(colours.tolist())
    assert len(set(image.flatten().tolist())) > 100
    # and it stays in place: the same cut, to half a pixel
    assert (labels - image).abs().mean() < 0.35


def test_an_image_has_its_masks_whatever_the_batch() -> None:
    shapes, p = [(4, 2, 2), (2, 8, 8)], [0.5, 0.2]
    together = draw_masks(shapes, p, 3, range(10, 14))
    for row, position in enumerate(range(10, 14)):
        alone = draw_masks(shapes, p, 3, range(position, position + 1))
        assert all(torch.equal(site[row], one[0]) for site, one in zip(together, alone, strict=True))
    assert not torch.equal(together[1][0], together[1][1])
    assert not torch.equal(draw_masks(shapes, p, 4, range(10, 14))[1], together[1])


def test_a_mask_is_zero_or_the_inverse_of_what_is_kept() -> None:
    (mask,) = draw_masks([(64, 32, 32)], [0.2], 0, range(1))
    assert set(mask.flatten().tolist()) == {0.0, 1.25}
    assert abs((mask == 0).float().mean().item() - 0.2) < 0.01


def test_pixels_span_minus_one_to_one() -> None:
    assert to_float(torch.tensor([[[0, 255]]], dtype=torch.uint8)).tolist() == [[[-1.0, 1.0]]]
