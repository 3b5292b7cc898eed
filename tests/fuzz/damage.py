"""Ways to damage any file, and any JSON document."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

__all__ = ["ODD_VALUES", "damaged", "damaged_json"]

NUMBERS: Final = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2, 255, 256, 2**31, 2**63, 10**30, 0.5, -0.5, 1e-300, 1e300, 1e999, -1e999),
    *(float("nan"), "", " ", "0", "\0", "\n", "..", "../x", "/", "a" * 5000, "\ud800", "é", "train", "\x1b[31m"),
    *([], {}, [[]], [0], [None], [1, 2, 3], ["x"], {"x": 1}, {"": {}}, [-1, 2**40], "float64", "picture"),
)


def damaged(draws: random.Random, sound: bytes, other: bytes = b"") -> tuple[str, bytes]:
    """What was done, and the damaged file."""
    if not sound:
        return "bytes for an empty file", draws.randbytes(draws.randrange(1, 200))
    way = draws.choice(list(WAYS))
    return way, WAYS[way](draws, sound, other or sound)


def damaged_json(draws: random.Random, sound: bytes) -> tuple[str, bytes]:
    """One to three values of a document changed, removed, moved or repeated."""
    document: Any = json.loads(sound)
    for _ in range(draws.choice((1, 1, 1, 2, 3))):
        document = _changed(draws, document, _anywhere(draws, document))
    return "value changed", json.dumps(document, indent=draws.choice((None, 1))).encode()


def _anywhere(draws: random.Random, document: Any) -> list[Any]:
    """The keys that lead to a value: any depth is as likely as any other."""
    path: list[Any] = []
    while isinstance(document, dict | list) and document and draws.random() < 0.8:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        path.append(draws.choice(keys))
        document = document[path[-1]]
    return path


def _changed(draws: random.Random, document: Any, path: list[Any]) -> Any:
    if not path:
        return document if draws.random() < 0.9 else deepcopy(draws.choice(ODD_VALUES))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    last, way = path[-1], draws.randrange(6)
    if way == 0:
        del inner[last]
    elif way == 1 and isinstance(inner, list):
        inner.extend(deepcopy([inner[last]] * draws.choice((1, 2, 1000))))
    elif way == 1:
        inner[draws.choice(("x", "", f"{last} ", str(last).upper()))] = deepcopy(inner[last])
    elif way == 2 and isinstance(inner[last], int | float) and not isinstance(inner[last], bool):
        inner[last] = draws.choice((inner[last] + 1, inner[last] - 1, -inner[last], str(inner[last])))
    elif way == 3 and isinstance(inner[last], str):
        text = inner[last].encode("utf-8", "surrogatepass")
        inner[last] = damaged(draws, text)[1].decode("utf-8", "surrogateescape")
    elif way == 4:
        inner[last] = [inner[last]]
    else:
        inner[last] = deepcopy(draws.choice(ODD_VALUES))
    return document


def _flipped(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """One to three bits, half of them near the ends, where the structure is."""
    data = bytearray(sound)
    for _count in range(draws.choice((1, 1, 1, 3))):
        edge = min(4096, len(data))
        at = draws.choice((draws.randrange(edge), -1 - draws.randrange(edge)))
        data[at if draws.random() < 0.5 else draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    return bytes(data)


def _cut(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """Cut off, or a piece missing in the middle."""
    at, length = draws.randrange(len(sound)), draws.randrange(1, 200)
    return draws.choice((sound[:at], sound[:at] + sound[at + length :]))


def _repeated(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    at, length = draws.randrange(len(sound)), draws.randrange(1, 200)
    return sound[:at] + sound[at : at + length] * draws.choice((2, 3, 100)) + sound[at + length :]


def _inserted(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    at, length = draws.choice((0, len(sound), draws.randrange(len(sound)))), draws.randrange(1, 200)
    piece = draws.choice((draws.randbytes(length), bytes(length), b"\xff" * length))
    return sound[:at] + piece + sound[at:]


def _swapped(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """Two blocks in each other's place."""
    length = draws.choice((1, 2, 4, 16, 64, 512))
    one, two = sorted((draws.randrange(len(sound)), draws.randrange(len(sound))))
    length = min(length, two - one)
    middle, end = sound[one + length : two], sound[two + length :]
    return sound[:one] + sound[two : two + length] + middle + sound[one : one + length] + end


def _renumbered(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """A number of one to eight bytes overwritten, in either order of bytes: lengths, counts, offsets."""
    width = draws.choice((1, 2, 4, 8))
    number: int = draws.choice((*NUMBERS, len(sound), len(sound) - 1, draws.randrange(2**16))) % 256**width
    at = draws.randrange(draws.choice((min(512, len(sound)), len(sound))))
    piece = number.to_bytes(width, draws.choice(("little", "big")))
    return bytes(sound[:at] + piece + sound[at + width :])


def _digits(draws: random.Random, sound: bytes, other: bytes) -> bytes:
    """A number in text replaced."""
    places = [at for at, value in enumerate(sound[:100_000]) if 48 <= value < 58]
    if not places:
        return _renumbered(draws, sound, other)
    at = draws.choice(places)
    return sound[:at] + draws.choice((b"-1", b"0", b"9" * 20, b"1e999", b"x", b"%d" % 2**31)) + sound[at + 1 :]


def _spliced(draws: random.Random, sound: bytes, other: bytes) -> bytes:
    """A part of another file in its place."""
    at, start, length = draws.randrange(len(sound)), draws.randrange(len(other)), draws.randrange(1, 2000)
    piece = other[start : start + length]
    return sound[:at] + piece + sound[at + len(piece) :]


Way = Callable[[random.Random, bytes, bytes], bytes]
WAYS: Final[dict[str, Way]] = {
    "bits flipped": _flipped,
    "cut": _cut,
    "piece repeated": _repeated,
    "bytes inserted": _inserted,
    "blocks swapped": _swapped,
    "number overwritten": _renumbered,
    "digit replaced": _digits,
    "piece of another": _spliced,
}
