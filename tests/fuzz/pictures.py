"""Images of every format that is read: serving and training take a mutant, or both say why not."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from cgan_runtime.contract import Condition, ImageEncoding
from cgan_runtime.errors import BadInputError
from cgan_runtime.image_values import PLAIN
from cgan_runtime.images import MAX_PIXELS, MAX_SIDE, MIN_SIDE, read_image, tensor_from_image
from cgan_trainer.data.images import open_image
from PIL import Image

from tests.fuzz.base import Target, refusal
from tests.fuzz.damage import damaged
from tests.helpers import smooth_images

SIDE: Final = 48
CONDITION: Final = Condition(name="condition", shape=(3, 32, 32), range=(-1.0, 1.0), encoding=ImageEncoding())


@dataclass
class Picture:
    """One image file."""

    name: str
    path: Path
    sound: bytes
    other: bytes

    def damage(self, draws: random.Random) -> str:
        way, data = damaged(draws, self.sound, self.other)
        self.path.write_bytes(data)
        return way

    def size(self) -> int:
        return self.path.stat().st_size

    def use(self) -> str:
        served = self._served()
        try:
            trained = open_image(self.path, "rgb", PLAIN)
        except BadInputError as error:
            return f"{served}, {refusal(error)} by training"
        assert trained.mode == "RGB"
        return f"{served}, read by training"

    def _served(self) -> str:
        try:
            image = read_image(self.path)
        except BadInputError as error:
            return refusal(error)
        assert image.mode in ("RGB", "L")
        assert min(image.size) >= MIN_SIDE
        assert max(image.size) <= MAX_SIDE
        assert image.width * image.height <= MAX_PIXELS
        assert np.isfinite(tensor_from_image(image, CONDITION)).all()
        return "read"


def targets(folder: Path) -> list[Target]:
    """One for each of FILES."""
    files = {name: make() for name, make in FILES.items()}
    contents = list(files.values())
    return [
        Picture(name=name, path=folder / name, sound=data, other=contents[number - 1])
        for number, (name, data) in enumerate(files.items())
    ]


def _image(mode: str = "RGB", number: int = 0) -> Image.Image:
    pixels = smooth_images(number + 1, size=SIDE)[number]
    if mode in ("I;16", "F", "I"):
        wide = pixels[:, :, 0].astype(np.uint16) * 257
        kinds = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
        values = wide / 65535 if mode == "F" else wide
        return Image.fromarray(values.astype(kinds[mode]))
    image = Image.fromarray(pixels)
    if mode == "RGBA":
        image.putalpha(image.convert("L"))
        return image
    return image.convert(mode)


def _saved(kind: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        stream = io.BytesIO()
        _image(mode).save(stream, kind, **options)
        return stream.getvalue()

    return make


def _several(kind: str, **options: Any) -> Callable[[], bytes]:
    return _saved(kind, save_all=True, append_images=[_image(number=1), _image(number=2)], **options)


def _turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return _saved("JPEG", exif=exif.tobytes(), icc_profile=b"no profile")()


def png_48(seed: int = 0) -> bytes:
    """16 bits for each of three colours, which Pillow cannot write."""
    wide = smooth_images(1, size=SIDE, seed=seed)[0].astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    header = struct.pack(">2L5B", SIDE, SIDE, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (struct.pack(">L", len(d)) + k + d + struct.pack(">L", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def text_ppm() -> bytes:
    values = " ".join(map(str, smooth_images(1, size=16)[0].reshape(-1).tolist()))
    return f"P3\n# by hand\n16 16\n255\n{values}\n".encode()


def wide_pgm() -> bytes:
    wide = smooth_images(1, size=SIDE)[0][:, :, 0].astype(">u2") * 16
    return b"P5 %d %d 4095\n" % (SIDE, SIDE) + bytes(wide.tobytes())


FILES: Final[dict[str, Callable[[], bytes]]] = {
    "rgb.png": _saved("PNG"),
    "grey.png": _saved("PNG", "L"),
    "alpha.png": _saved("PNG", "RGBA"),
    "palette.png": _saved("PNG", "P", transparency=3),
    "one-bit.png": _saved("PNG", "1"),
    "16-bit.png": _saved("PNG", "I;16"),
    "48-bit.png": png_48,
    "moving.png": _several("PNG"),
    "rgb.jpg": _saved("JPEG"),
    "grey.jpg": _saved("JPEG", "L"),
    "cmyk.jpg": _saved("JPEG", "CMYK"),
    "progressive.jpg": _saved("JPEG", progressive=True),
    "turned.jpg": _turned,
    "lossy.webp": _saved("WEBP"),
    "lossless.webp": _saved("WEBP", "RGBA", lossless=True),
    "moving.webp": _several("WEBP"),
    "rgb.tif": _saved("TIFF"),
    "16-bit.tif": _saved("TIFF", "I;16"),
    "float.tif": _saved("TIFF", "F"),
    "int.tif": _saved("TIFF", "I"),
    "lzw.tif": _saved("TIFF", compression="tiff_lzw"),
    "deflate.tif": _saved("TIFF", compression="tiff_adobe_deflate"),
    "jpeg.tif": _saved("TIFF", compression="jpeg"),
    "fax.tif": _saved("TIFF", "1", compression="group4"),
    "pages.tif": _several("TIFF"),
    "rgb.bmp": _saved("BMP"),
    "palette.bmp": _saved("BMP", "P"),
    "one-bit.bmp": _saved("BMP", "1"),
    "rgb.ppm": _saved("PPM"),
    "grey.pgm": _saved("PPM", "L"),
    "wide.pgm": wide_pgm,
    "one-bit.pbm": _saved("PPM", "1"),
    "text.ppm": text_ppm,
    "one.gif": _saved("GIF", "P"),
    "moving.gif": _several("GIF"),
}
