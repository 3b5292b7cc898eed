"""Images from a generator as a user gets them: its noise live, batch of one, 8 bits, one seed each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from cgan_runtime.contract import Condition, ImageEncoding, Output
from cgan_runtime.errors import BadInputError, CganError
from cgan_runtime.progress import progress
from jaxtyping import Float, UInt8
from torch import Tensor

from cgan_trainer.generator import Generator, as_used, device_of
from cgan_trainer.seeding import derive_seed

__all__ = ["generate_images", "image_condition", "image_output", "with_channels"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L


def generate_images(
    generator: Generator,
    conditions: Mapping[str, Tensor],
    rows: Sequence[int],
    *,
    seed: int,
    seeds: int,
    purpose: str = "evaluation",
) -> UInt8[Tensor, "m k c h w"]:
    """`seeds` images for each of the m `rows` of the conditions.

    Row i with seed number s always gets the same noise, whichever other rows and however many seeds are drawn.

    Args:
        generator: in any mode; it is run in `eval()`.
        conditions: by the name in its contract, one row each: images uint8 [n, c, h, w] (grey ones for an RGB
            condition and the reverse are converted), labels int64 [n], vectors float32 [n, d]. Empty for a
            generator without conditions.
        rows: which rows of the conditions; without conditions, numbers that only choose the noise.
        seed: of every draw.
        seeds: images per row.
        purpose: part of the key of the noise.

    Raises:
        BadInputError: the contract has a condition that is not given, or of another size; or no output is an image.
        CganError: the generator makes values that are not finite.
    """
    output, place = image_output(generator)
    absent = [item.name for item in generator.contract.conditions if item.name not in conditions]
    if absent:
        raise BadInputError(
            f"this generator takes {', '.join(absent)}, which the data does not have: evaluate it on data of its "
            "kind."
        )
    for item in generator.contract.conditions:
        _check_size(item, conditions[item.name])
    drawn: list[Tensor] = []
    with as_used(generator), progress("drawing images", unit="images") as report:
        for done, row in enumerate(rows):
            given = [
                _encoded(item, conditions[item.name][row : row + 1]).to(device_of(generator))
                for item in generator.contract.conditions
            ]
            for number in range(seeds):
                torch.manual_seed(derive_seed(seed, f"{purpose}/{number}", row))
                drawn.append(_to_pixels(output, generator.live(given, 1)[place][0].cpu()))
                report(done * seeds + number + 1, len(rows) * seeds)
    return torch.stack(drawn).reshape(len(rows), seeds, *drawn[0].shape)


def with_channels(pixels: UInt8[Tensor, "n c h w"], channels: int) -> UInt8[Tensor, "n c_out h w"]:
    """As RGB (three equal channels of grey), as grey (0.299 R + 0.587 G + 0.114 B), or as it is."""
    if pixels.shape[1] == channels:
        return pixels
    if channels != 1:
        return pixels.expand(-1, channels, -1, -1)
    weights = torch.tensor(_LUMA, dtype=torch.float64)
    return torch.einsum("c,nchw->nhw", weights, pixels.double()).round()[:, None].to(torch.uint8)


def image_condition(generator: Generator) -> Condition:
    """Its only condition, an image.

    Raises:
        BadInputError: it takes something else, or more.
    """
    conditions = generator.contract.conditions
    if len(conditions) != 1 or len(conditions[0].shape) != 3 or conditions[0].shape[0] not in (1, 3):
        raise BadInputError(
            "this generator does not take one image of 1 or 3 channels, so it cannot be evaluated on images that "
            "are translated: evaluate it on data of its kind."
        )
    return conditions[0]


def image_output(generator: Generator) -> tuple[Output, int]:
    """Its first output that is an image, and the place of it.

    Raises:
        BadInputError: there is none.
    """
    for place, item in enumerate(generator.contract.outputs):
        if len(item.shape) == 3 and (item.encoding is None or isinstance(item.encoding, ImageEncoding)):
            return item, place
    raise BadInputError("this generator makes no image, and nothing else can be evaluated here.")


def _check_size(item: Condition, values: Tensor) -> None:
    """Images of another size than the contract's do not fit most networks."""
    sides, given = item.shape[1:], tuple(values.shape[2:])
    if len(sides) == len(given) == 2 and all(isinstance(side, int) for side in sides) and sides != given:
        raise BadInputError(
            f"this generator takes images of {sides[0]}x{sides[1]} pixels, but the data was read at "
            f"{given[0]}x{given[1]}: read it at the generator's size."
        )


def _encoded(item: Condition, values: Tensor) -> Tensor:
    """A row of a condition as the generator takes it."""
    if values.dtype != torch.uint8:
        return values
    pixels = with_channels(values, int(item.shape[0]))
    mean, std = _figures(item)
    # Written so that mean = std = 0.5 is pixel / 127.5 - 1, to the bit.
    return pixels.to(torch.float32) / (255 * std) - mean / std


def _to_pixels(item: Output, values: Float[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
    if not torch.isfinite(values).all():
        raise CganError(
            "the generator makes values that are not finite, so nothing can be measured: evaluate an earlier "
            "state (--weights best), or train again with a smaller --lr."
        )
    mean, std = _figures(item)
    pixels = (values + mean / std) * (255 * std)
    truncates = isinstance(item.encoding, ImageEncoding) and item.encoding.rounding == "truncate"
    return (pixels.floor() if truncates else pixels.round()).clamp(0, 255).to(torch.uint8)


def _figures(item: Condition | Output) -> tuple[Float[Tensor, "c 1 1"], Float[Tensor, "c 1 1"]]:
    """Mean and standard deviation per channel, of pixels in 0..1; those of -1..1 where the contract says none."""
    if isinstance(item.encoding, ImageEncoding):
        mean, std = torch.tensor(item.encoding.mean), torch.tensor(item.encoding.std)
    else:
        mean = std = torch.full((int(item.shape[0]),), 0.5)
    return mean[:, None, None], std[:, None, None]
