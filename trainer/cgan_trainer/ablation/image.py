"""The samples of every variant in one image, with the names of variants, columns and rows written beside them."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cgan_trainer.watching.samples import Headings

__all__ = ["Samples", "samples_image"]

Samples = tuple[str, Image.Image, Headings]
"""Name of the variant, its sample grid, and what the columns and rows of the grid are."""

_LEAST_CELL = 128  # pixels: smaller cells are enlarged, so that names fit above them
_FONT, _TITLE_FONT = 15, 18
_ROOM = 8


def samples_image(variants: Sequence[Samples]) -> Image.Image | None:
    """The grids below each other, each under its name and the names of its columns; None of no variant."""
    blocks = [_block(*variant) for variant in variants]
    if not blocks:
        return None
    image = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), "white")
    top = 0
    for block in blocks:
        image.paste(block, (0, top))
        top += block.height
    return image


def _block(name: str, grid: Image.Image, headings: Headings) -> Image.Image:
    """One variant. The name of a column that is wider than it is cut; those of rows and variants are whole."""
    columns, rows = len(headings.columns), len(headings.rows)
    factor = -(-_LEAST_CELL // max(1, grid.width // columns))
    grid = grid.resize((grid.width * factor, grid.height * factor), Image.Resampling.NEAREST)
    font, title = ImageFont.load_default(_FONT), ImageFont.load_default(_TITLE_FONT)
    side = max((round(font.getlength(text)) + _ROOM for text in headings.rows), default=0)
    head = _TITLE_FONT + _FONT + 4 * _ROOM
    width = max(side + grid.width, round(title.getlength(name)) + _ROOM)
    block = Image.new("RGB", (width, head + grid.height), "white")
    draw = ImageDraw.Draw(block)
    draw.text((_ROOM, _ROOM), name, fill="black", font=title)
    cell = grid.width / columns
    for number, text in enumerate(headings.columns):
        shown = _fitting(text, font, cell - _ROOM)
        draw.text((side + (number + 0.5) * cell, head - _ROOM), shown, fill="black", font=font, anchor="ms")
    for number, text in enumerate(headings.rows):
        draw.text(
            (side - _ROOM, head + (number + 0.5) * grid.height / rows), text, fill="black", font=font, anchor="rm"
        )
    block.paste(grid, (side, head))
    return block


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """The text, or as much of its beginning as fits into `width` pixels, and dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
