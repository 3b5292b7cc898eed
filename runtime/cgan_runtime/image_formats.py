"""The image formats that are read, and those that people bring and that are not: one table for all packages.

A format is known by the first bytes of a file, not by the ending of its name: telephones call HEIC files .jpg.
Of an animation or of several pages the first is read. Camera RAW files are TIFF files inside whose first page is a
small preview: they are known by that, and by their ending.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "FORMATS",
    "READ",
    "READ_SUFFIXES",
    "READ_WORDS",
    "ImageFormat",
    "describe_image",
    "list_images",
    "raw_sentence",
]


@dataclass(frozen=True, kw_only=True)
class ImageFormat:
    """One format.

    Attributes:
        name: what it is called.
        suffixes: endings of its files.
        starts: (offset, bytes) that a file of it has; any one will do.
        pillow: Pillow's name where it is read; empty where it is not.
        way_out: a program that makes something readable of it, as a command.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[tuple[int, bytes], ...] = ()
    pillow: str = ""
    way_out: str = ""


def _brands(*names: str) -> tuple[tuple[int, bytes], ...]:
    """The ISO media container names its content after a box size and `ftyp`."""
    return tuple((4, b"ftyp" + name.encode()) for name in names)


_RAW: Final = ImageFormat(
    name="camera RAW",
    suffixes=(".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    starts=((8, b"CR\x02"), *_brands("crx "), (0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIU\0")),
    way_out="darktable-cli IN OUT.png",
)
FORMATS: Final[tuple[ImageFormat, ...]] = (
    _RAW,  # before TIFF, as which such a file begins
    ImageFormat(name="PNG", suffixes=(".png", ".apng"), starts=((0, b"\x89PNG"),), pillow="PNG"),
    ImageFormat(
        name="JPEG", suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"), starts=((0, b"\xff\xd8\xff"),), pillow="JPEG"
    ),
    ImageFormat(name="WebP", suffixes=(".webp",), starts=((8, b"WEBP"),), pillow="WEBP"),
    ImageFormat(name="TIFF", suffixes=(".tif", ".tiff"), starts=((0, b"II*\0"), (0, b"MM\0*")), pillow="TIFF"),
    ImageFormat(name="BMP", suffixes=(".bmp", ".dib"), starts=((0, b"BM"),), pillow="BMP"),
    ImageFormat(
        name="PPM",
        suffixes=(".ppm", ".pgm", ".pbm", ".pnm"),
        starts=tuple((0, b"P" + digit) for digit in (b"1", b"2", b"3", b"4", b"5", b"6")),
        pillow="PPM",
    ),
    ImageFormat(name="GIF", suffixes=(".gif",), starts=((0, b"GIF8"),), pillow="GIF"),
    ImageFormat(
        name="HEIC",
        suffixes=(".heic", ".heif", ".hif"),
        starts=_brands("heic", "heix", "heim", "heis", "hevc", "mif1", "msf1"),
        way_out="heif-convert IN OUT.png",
    ),
    ImageFormat(name="AVIF", suffixes=(".avif",), starts=_brands("avif", "avis"), way_out="avifdec IN OUT.png"),
    ImageFormat(
        name="JPEG XL",
        suffixes=(".jxl",),
        starts=((0, b"\xff\x0a"), (4, b"JXL \r\n\x87\n")),
        way_out="djxl IN OUT.png",
    ),
    ImageFormat(
        name="JPEG 2000",
        suffixes=(".jp2", ".j2k", ".jpx"),
        starts=((4, b"jP  \r\n\x87\n"), (0, b"\xff\x4f\xff\x51")),
        way_out="opj_decompress -i IN -o OUT.png",
    ),
    ImageFormat(name="SVG", suffixes=(".svg", ".svgz"), way_out="rsvg-convert -w 512 IN -o OUT.png"),
    ImageFormat(name="PDF", suffixes=(".pdf",), starts=((0, b"%PDF"),), way_out="pdftoppm -png IN OUT"),
    ImageFormat(
        name="PostScript",
        suffixes=(".eps", ".ps"),
        starts=((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6")),
        way_out="gs -dSAFER -sDEVICE=png16m -o OUT.png IN",
    ),
    ImageFormat(
        name="Photoshop", suffixes=(".psd", ".psb"), starts=((0, b"8BPS"),), way_out="magick IN[0] OUT.png"
    ),
    ImageFormat(name="OpenEXR", suffixes=(".exr",), starts=((0, b"v/1\x01"),), way_out="oiiotool IN -o OUT.tif"),
    ImageFormat(name="Radiance HDR", suffixes=(".hdr",), starts=((0, b"#?"),), way_out="oiiotool IN -o OUT.tif"),
    ImageFormat(name="icon", suffixes=(".ico",), starts=((0, b"\0\0\1\0"),), way_out="magick IN[0] OUT.png"),
    ImageFormat(name="Targa", suffixes=(".tga",), way_out="magick IN OUT.png"),
    ImageFormat(name="DICOM", suffixes=(".dcm",), starts=((128, b"DICM"),), way_out="dcmj2pnm +on IN OUT.png"),
    ImageFormat(
        name="video",
        suffixes=(),
        starts=(
            *_brands("isom", "iso2", "mp41", "mp42", "avc1", "qt  ", "M4V "),
            (0, b"\x1aE\xdf\xa3"),
            (8, b"AVI "),
        ),
        way_out="ffmpeg -i IN OUT-%05d.png",
    ),
)
READ: Final = tuple(known for known in FORMATS if known.pillow)
READ_WORDS: Final = ", ".join(known.name for known in READ[:-1]) + f" or {READ[-1].name}"
READ_SUFFIXES: Final = tuple(suffix for known in READ for suffix in known.suffixes)
# Not images at all, but what an image's name often stands on.
_OTHERS: Final = (
    (b"<!doctype html", "a web page (a failed download)"),
    (b"<html", "a web page (a failed download)"),
    (b"version https://git-lfs", "a Git LFS pointer (fetch the file itself with git lfs pull)"),
    (b"pk\x03\x04", "a zip archive (unpack it)"),
    (b"\x93numpy", "a NumPy array (save it as a PNG or TIFF)"),
)


def describe_image(head: bytes, suffix: str = "") -> str:
    """What a file is that is not read, as the end of a sentence: "is a HEIC image, which is not read: ...".

    Args:
        head: its first bytes; a few hundred will do.
        suffix: of its name, which decides where the bytes do not.

    Returns:
        Empty where it looks like a format that is read, or like nothing known.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what in _OTHERS:
        if text.startswith(start):
            return f"is {what}."
    known = _by_content(head, text)
    if known is _RAW or (known is not None and known.name == "TIFF" and suffix.lower() in _RAW.suffixes):
        return raw_sentence()
    if known is None and suffix.lower() not in READ_SUFFIXES:
        known = next((one for one in FORMATS if suffix and suffix.lower() in one.suffixes), None)
    return "" if known is None or known.pillow else _sentence(known)


def raw_sentence() -> str:
    """The same for a camera RAW file, which only its pages tell from a TIFF."""
    return _sentence(_RAW)


def list_images(folder: Path) -> list[Path]:
    """Every image below `folder`, sorted by path; hidden files and folders are skipped.

    Images of a format that is not read are listed too, so that whoever opens one says what it is. Only where a
    readable image of the same name lies beside it (RAW + JPEG) it is skipped, as its source.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    readable = {path.with_suffix("") for path in found if path.suffix.lower() in READ_SUFFIXES}
    return sorted(
        path for path in found if path.suffix.lower() in READ_SUFFIXES or path.with_suffix("") not in readable
    )


_SUFFIXES: Final = frozenset(suffix for known in FORMATS for suffix in known.suffixes)


def _by_content(head: bytes, text: bytes) -> ImageFormat | None:
    for known in FORMATS:
        if any(head[offset : offset + len(start)] == start for offset, start in known.starts):
            return known
    is_svg = text.startswith(b"<svg") or (
        text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text
    )
    return next(known for known in FORMATS if known.name == "SVG") if is_svg else None


def _sentence(known: ImageFormat) -> str:
    article = "an" if known.name.startswith(("A", "O", "SVG", "icon")) else "a"
    noun = "" if known.name in ("video", "icon") else " file" if known.name in ("camera RAW", "PDF") else " image"
    way = f"convert it to PNG first, for example by `{known.way_out}`"
    return f"is {article} {known.name}{noun}, which is not read: {way}."
