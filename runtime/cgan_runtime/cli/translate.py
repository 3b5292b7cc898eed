"""cgan-translate: cgan-generate for images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cgan_runtime.cli.generate import Options, make_samples, refuse_unknown
from cgan_runtime.cli.shell import app, run
from cgan_runtime.errors import UsageError

__all__ = ["main"]

command = app("cgan-translate")


@command.default
def translate(*inputs: Path, label: str | None = None, options: Options | None = None, **conditions: str) -> int:
    """Translate images or folders of them.

    An image of another size is resampled to the generator's, transparency is
    laid on white, EXIF rotation is applied, of an animation the first frame is
    taken. PNG, JPEG, WebP, TIFF, BMP, PPM and GIF are read. The result is a PNG of the
    generator's size that names its bundle and seed in its text chunks.

    For example:

        cgan-translate map.png --bundle facades --seed 7
        cgan-translate maps/ --bundle facades --seed 7 --samples 4 -o translated
        cgan-translate map.png --url grpc://127.0.0.1:8001 --model facades --seed 7

    Args:
        inputs: Images, or folders that are searched for images.
        label: The class, by number or name, where the generator takes one.
        options: What both commands share.
        conditions: Any other condition by its name, for example --style FILE.
    """
    if not inputs and not conditions:
        raise UsageError("an image or a folder is needed; for example: cgan-translate map.png --bundle facades")
    return make_samples(command, list(inputs), options or Options(), {"label": label, **conditions})


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point of cgan-translate; `argv` are its words, those of the process by default."""
    run(command, argv, prepare=lambda words: refuse_unknown(command, words))
