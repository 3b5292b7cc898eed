"""Damaged and hostile files by the thousand: each is refused in one sentence, or is a sound model.

    python -m tests.fuzz_readers --count 10000

A file of ours that is accepted must be the identical model. In a file from other code a flipped weight cannot be
noticed, so there the weights of whatever is accepted must at least be finite. Every mutant follows from its kind
and number alone: a failure is repeated with --only KIND --first NUMBER --count 1.
"""

from __future__ import annotations

import argparse
import io
import json
import pickletools
import random
import struct
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.readers import read_generator

from tests.export.sources import affinelayer, junyanz, pytorch_gan
from tests.export.sources.files import LEGACY, as_npz, as_safetensors, saved, trained_like
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint

HUGE: Final = (0, 255, 65535, 2**31 - 1)
POISON: Final = (float("nan"), float("inf"), -float("inf"), 1e30, -3e38)
HOSTILE: Final = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."


def _small_unet() -> dict[str, torch.Tensor]:
    return dict(trained_like(junyanz.unet(5, ngf=1)).state_dict())


def _ours() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_pix2pix_checkpoint(Path(folder) / "a.pt", pix2pix_generator(ngf=1)).read_bytes()


KINDS: Final[dict[str, Callable[[], bytes]]] = {
    "ours": _ours,
    "junyanz-unet.pth": lambda: saved(_small_unet()),
    "junyanz-unet-legacy.pth": lambda: saved(_small_unet(), **LEGACY),
    "junyanz-unet.safetensors": lambda: as_safetensors(_small_unet()),
    "junyanz-resnet.pth": lambda: saved(
        trained_like(junyanz.resnet(2, ngf=1, kind="batch", dropout=True)).state_dict()
    ),
    "pytorch-gan-pix2pix.bin": lambda: saved(trained_like(pytorch_gan.Pix2pix(width=1)).state_dict()),
    "pytorch-gan-cyclegan.pth": lambda: saved(trained_like(pytorch_gan.cyclegan(width=1, blocks=2)).state_dict()),
    "pytorch-gan-cgan.pth": lambda: saved(trained_like(pytorch_gan.Cgan(latent=4, scale=64, side=8)).state_dict()),
    "pytorch-gan-srgan.pth": lambda: saved(trained_like(pytorch_gan.Srgan(width=1, blocks=1)).state_dict()),
    "affinelayer.npz": lambda: as_npz(affinelayer.variables(ngf=1)),
}


def mutant(kind: str, number: int, sound: bytes, other: bytes) -> tuple[str, bytes]:
    """The name of what was done and the damaged file."""
    draws = random.Random(f"{kind} {number}")
    name = draws.choice(list(WAYS))
    return name, WAYS[name](draws, sound, other)


def flipped(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """One to three bits, half of them where the structure is."""
    data = bytearray(sound)
    for _count in range(draws.choice((1, 1, 1, 3))):
        edge = draws.random() < 0.5
        at = draws.choice((draws.randrange(min(4096, len(data))), -1 - draws.randrange(min(4096, len(data)))))
        data[at if edge else draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    return bytes(data)


def truncated(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """Cut off, a piece missing in the middle, or bytes too many."""
    at, length = draws.randrange(len(sound)), draws.randrange(1, 200)
    return draws.choice((sound[:at], sound[:at] + sound[at + length :], sound + draws.randbytes(length)))


def spliced(draws: random.Random, sound: bytes, other: bytes) -> bytes:
    """A part of another file in its place; in zips with sums that are right."""
    if not sound.startswith(b"PK"):
        at, length = draws.randrange(len(sound)), draws.randrange(1, 2000)
        start = draws.randrange(len(other))
        piece = other[start : start + length]
        return sound[:at] + piece + sound[at + len(piece) :]
    parts = _parts(sound)
    theirs = list(_parts(other).values()) if other.startswith(b"PK") else [other]
    parts[draws.choice(list(parts))] = draws.choice([*theirs, *parts.values()])
    if draws.random() < 0.1:
        del parts[draws.choice(list(parts))]
    return _zipped(parts)


def resized(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """A number in the description of the tensors changed to something large."""
    if sound.startswith(b"PK"):
        parts = _parts(sound)
        names = [name for name in parts if name.endswith((".pkl", ".npy"))]
        name = draws.choice(names)
        change = _renumbered_npy if name.endswith(".npy") else _renumbered_pickle
        parts[name] = change(draws, parts[name])
        return _zipped(parts)
    if sound.startswith(b"\x80"):
        return _renumbered_pickle(draws, sound)
    (length,) = struct.unpack("<Q", sound[:8])
    header = json.loads(sound[8 : 8 + length])
    entry = header[draws.choice([key for key in header if key != "__metadata__"])]
    field = draws.choice(("shape", "data_offsets"))
    if entry[field]:
        entry[field][draws.randrange(len(entry[field]))] = draws.choice((*HUGE, 2**62, -1))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + sound[8 + length :]


def poisoned(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """NaN, infinity or an absurd value among the weights, under sums that are right."""
    value = struct.pack("<f", draws.choice(POISON))
    if not sound.startswith(b"PK"):
        at = len(sound) - 4 * draws.randrange(1, len(sound) // 8)
        return sound[:at] + value + sound[at + 4 :]
    parts = _parts(sound)
    name = draws.choice([name for name in parts if "/data/" in name or name.endswith(".npy")])
    data = parts[name]
    at = len(data) - 4 * draws.randrange(1, max(2, len(data) // 8))
    parts[name] = data[: max(at, 0)] + value + data[max(at, 0) + 4 :]
    return _zipped(parts)


def rewritten(draws: random.Random, sound: bytes, _: bytes) -> bytes:
    """A byte of the description changed, or code put in its place, under sums that are right."""
    if not sound.startswith(b"PK"):
        return HOSTILE + sound if draws.random() < 0.05 else flipped(draws, sound[:3000], b"") + sound[3000:]
    parts = _parts(sound)
    name = draws.choice([name for name in parts if name.endswith((".pkl", ".npy"))])
    data = bytearray(parts[name])
    for _count in range(draws.choice((1, 1, 4))):
        data[draws.randrange(min(len(data), 1 << 14))] = draws.randrange(256)
    parts[name] = HOSTILE if draws.random() < 0.05 else bytes(data)
    return _zipped(parts)


WAYS: Final[dict[str, Callable[[random.Random, bytes, bytes], bytes]]] = {
    "bits flipped": flipped,
    "truncated": truncated,
    "spliced": spliced,
    "shape changed": resized,
    "weight poisoned": poisoned,
    "description rewritten": rewritten,
}


def outcome(path: Path, data: bytes, reference: dict[str, torch.Tensor] | None) -> str:
    """What reading came to.

    Raises:
        AssertionError: a model that is neither sound nor refused, or a refusal of several lines.
    """
    path.write_bytes(data)
    try:
        state = read_generator(path).generator.state_dict()
    except BadInputError as error:
        assert "\n" not in str(error), error
        return "refused"
    assert all(bool(torch.isfinite(value).all()) for value in state.values()), "a weight is not finite"
    if reference is None:
        return "a finite model"
    assert state.keys() == reference.keys()
    assert all(torch.equal(value, reference[name]) for name, value in state.items()), "another model"
    return "the identical model"


def fuzz(kind: str, count: int, folder: Path, first: int = 0) -> Counter[str]:
    """How many mutants of a kind came to what; stops at the first that is neither refused nor sound."""
    kinds = list(KINDS)
    sound, other = KINDS[kind](), KINDS[kinds[(kinds.index(kind) + 1) % len(kinds)]]()
    path = folder / f"mutant{Path(kind).suffix or '.pt'}"
    path.write_bytes(sound)
    accepted = read_generator(path).generator.state_dict()
    reference = {name: value.clone() for name, value in accepted.items()} if kind == "ours" else None
    counts: Counter[str] = Counter()
    for number in range(first, first + count):
        way, data = mutant(kind, number, sound, other)
        try:
            counts[outcome(path, data, reference)] += 1
        except Exception as error:
            raise AssertionError(f"{kind}, mutant {number} ({way}): {error!r}") from error
    return counts


def _parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _renumbered_pickle(draws: random.Random, data: bytes) -> bytes:
    widths = {"BININT1": 1, "BININT2": 2, "BININT": 4}
    found: list[tuple[int, int]] = []
    stream = io.BytesIO(data)
    for _ in range(4 if data.startswith(b"\x80\x02\x8a") else 1):  # the old format is several pickles
        found += [(at or 0, widths[op.name]) for op, _, at in pickletools.genops(stream) if op.name in widths]
    at, width = draws.choice(found)
    number: int = draws.choice(HUGE) % 256**width
    return data[: at + 1] + number.to_bytes(width, "little") + data[at + 1 + width :]


def _renumbered_npy(draws: random.Random, data: bytes) -> bytes:
    digits = [at for at in range(10, min(128, len(data))) if data[at : at + 1].isdigit()]
    at = draws.choice(digits or [0])
    return data[:at] + str(draws.randrange(10)).encode() + data[at + 1 :]


def main() -> None:
    """Print the counts of every kind as one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in [words.only] if words.only else KINDS:
            counts = fuzz(kind, words.count, Path(folder), words.first)
            sys.stdout.write(json.dumps({"kind": kind, "mutants": words.count, **counts}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
