"""Checkpoints of every kind that is read, damaged: each mutant is refused in one sentence, or is a sound model.

A file of ours that is accepted must be the identical model. In a file from other code a flipped weight cannot be
noticed, so there the weights of whatever is accepted must be finite, and it must run.
"""

from __future__ import annotations

import gzip
import io
import json
import pickletools
import random
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from cgan_runtime.errors import BadInputError
from cgan_trainer.generator import Generator
from cgan_trainer.readers import read_generator

from tests.export.sources import affinelayer, junyanz, pytorch_gan
from tests.export.sources.files import LEGACY, as_npz, as_safetensors, saved, trained_like
from tests.fuzz.base import Target, refusal
from tests.fuzz.damage import damaged
from tests.helpers import pix2pix_generator, write_pix2pix_checkpoint

HUGE: Final = (0, 255, 65535, 2**31 - 1)
POISON: Final = (float("nan"), float("inf"), -float("inf"), 1e30, -3e38)
HOSTILE: Final = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."


def _small_unet() -> dict[str, torch.Tensor]:
    return dict(trained_like(junyanz.unet(5, ngf=1)).state_dict())


def _ours() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_pix2pix_checkpoint(Path(folder) / "a.pt", pix2pix_generator(ngf=1)).read_bytes()


FILES: Final[dict[str, Callable[[], bytes]]] = {
    "ours.pt": _ours,
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


def tar(data: bytes) -> bytes:
    """An archive with the file in a folder."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("run/latest_net_G.pth")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


PACKINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".tar": tar,
    ".zip": lambda data: _zipped({"run/latest_net_G.pth": data, "run/options.txt": b"--netG resnet"}),
    ".tar.gz": lambda data: gzip.compress(tar(data), 1, mtime=0),
}


@dataclass
class CheckpointFile:
    """One file, in an archive or not; `reference` is the only model it may be, None: any that is sound."""

    name: str
    path: Path
    sound: bytes
    other: bytes
    pack: Callable[[bytes], bytes]
    reference: dict[str, torch.Tensor] | None

    def damage(self, draws: random.Random) -> str:
        """Damage the file, the description in it, or the archive around it."""
        chosen = draws.random()
        if chosen < 0.5:
            way = draws.choice(list(WAYS))
            data = self.pack(WAYS[way](draws, self.sound, self.other))
        elif chosen < 0.75:
            way, data = damaged(draws, self.pack(self.sound), self.other)
        else:
            way, data = damaged(draws, self.sound, self.other)
            data = self.pack(data)
        self.path.write_bytes(data)
        return way

    def size(self) -> int:
        return self.path.stat().st_size

    def use(self) -> str:
        try:
            generator = read_generator(self.path).generator
        except BadInputError as error:
            return refusal(error)
        state = generator.state_dict()
        assert all(bool(torch.isfinite(value).all()) for value in state.values()), "a weight is not finite"
        if self.reference is None:
            return "a model whose results are finite" if _runs(generator) else "a model that overflows"
        assert state.keys() == self.reference.keys()
        assert all(torch.equal(value, self.reference[name]) for name, value in state.items()), "another model"
        return "the identical model"


def targets(folder: Path) -> list[Target]:
    """One for each of FILES, and each way of packing one of them."""
    files = {name: make() for name, make in FILES.items()}
    contents = list(files.values())
    packed = [(name, "") for name in files] + [("junyanz-resnet.pth", packing) for packing in PACKINGS if packing]
    found: list[Target] = []
    for number, (name, packing) in enumerate(packed):
        path, pack = folder / f"{name}{packing}", PACKINGS[packing]
        path.write_bytes(pack(files[name]))
        state = read_generator(path).generator.state_dict()
        reference = {key: value.clone() for key, value in state.items()} if name == "ours.pt" else None
        other = contents[(number + 1) % len(contents)]
        found.append(
            CheckpointFile(
                name=path.name, path=path, sound=files[name], other=other, pack=pack, reference=reference
            )
        )
    return found


def _runs(generator: Generator) -> bool:
    """Whether zeros through it come out as finite numbers of the shapes that the contract promises."""
    contract = generator.contract
    inputs = [
        torch.zeros(
            [1, *(n if isinstance(n, int) else 32 for n in tensor.shape)], dtype=getattr(torch, tensor.dtype)
        )
        for tensor in contract.inputs
    ]
    with torch.inference_mode():
        outputs = generator(*inputs)
    assert len(outputs) == len(contract.outputs)
    return all(bool(torch.isfinite(output).all()) for output in outputs)


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
        return HOSTILE + sound if draws.random() < 0.05 else damaged(draws, sound[:3000])[1] + sound[3000:]
    parts = _parts(sound)
    name = draws.choice([name for name in parts if name.endswith((".pkl", ".npy"))])
    data = bytearray(parts[name])
    for _count in range(draws.choice((1, 1, 4))):
        data[draws.randrange(min(len(data), 1 << 14))] = draws.randrange(256)
    parts[name] = HOSTILE if draws.random() < 0.05 else bytes(data)
    return _zipped(parts)


WAYS: Final[dict[str, Callable[[random.Random, bytes, bytes], bytes]]] = {
    "part of another": spliced,
    "shape changed": resized,
    "weight poisoned": poisoned,
    "description rewritten": rewritten,
}


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
