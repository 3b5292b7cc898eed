"""Small files that would take for ever or fill the memory, and what reading each one takes.

    python -m tests.hostile_files

They are read in one other process, which prints a JSON line for each: what became of it, CPU time and memory.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from cgan_runtime.errors import BadInputError

from tests.fuzz.base import peak_bytes, reset_peak_bytes

END_AFTER_S: Final = 120
PROTO: Final = b"\x80\x02"


def zipped(parts: dict[str, bytes], *, compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    way = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", way, compresslevel=1) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return stream.getvalue()


def torch_zip(pickled: bytes, **storages: bytes) -> bytes:
    """A file as torch.save writes it, with this description and these storages."""
    return zipped({"archive/data.pkl": pickled, **{f"archive/data/{k}": v for k, v in storages.items()}})


def ours(pickled: bytes) -> bytes:
    """The same with the mark of a checkpoint of ours in it."""
    return zipped({"archive/data.pkl": pickled, "archive/version": b"3\n", "archive/cgan-deploy": b""})


def doubled(levels: int = 40) -> bytes:
    """A tuple of two equal tuples of two equal tuples, and so on: 2^levels to hash or to print."""
    return b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(levels))


def storage(key: bytes = b"X\x01\x00\x00\x000", numel: bytes = b"M\xe8\x03") -> bytes:
    """The instructions for a storage of floats."""
    return b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + key + b"X\x03\x00\x00\x00cpu" + numel + b"tQ"


def tensor(place: bytes, shape: bytes, stride: bytes, offset: bytes = b"K\x00") -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + offset + shape + stride + b"\x89}tR"


def as_values(*values: bytes) -> bytes:
    """A pickle of a dict with the values under "w0", "w1" and so on."""
    return PROTO + b"}(" + b"".join(b"X\x04\x00\x00\x00%04d" % n + v for n, v in enumerate(values)) + b"u."


def keyed(keys: list[bytes], numel: int = 1) -> bytes:
    """A tensor of one element under each key, all in one storage."""
    one = tensor(storage(numel=b"J" + struct.pack("<L", numel)), b"K\x01\x85", b"K\x01\x85")
    items = b"".join(b"X" + struct.pack("<L", len(key)) + key + one for key in keys)
    return torch_zip(PROTO + b"}(" + items + b"u.", **{"0": bytes(4 * numel)})


def npz(count: int, mib: int) -> bytes:
    """Arrays of zeros: a thousandth of their size."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(mib * 2**18, np.float32))
    return zipped({f"a{n}.npy": stream.getvalue() for n in range(count)}, compressed=True)


def overlapping() -> bytes:
    """Ten thousand names for one stretch of a megabyte."""
    whole = bytearray(zipped({"archive/data.pkl": as_values(), "archive/data/0": bytes(2**20)}))
    end = whole.rindex(b"PK\x05\x06")
    entry_at = whole.rindex(b"PK\x01\x02", 0, end)
    entry = bytes(whole[entry_at:end])
    entries = b"".join(entry.replace(b"data/0", b"dat%03x" % n) for n in range(4000))
    first = bytes(whole[:entry_at]).rindex(b"PK\x01\x02")
    count = 4001
    listing = bytes(whole[first:entry_at]) + entries
    end_record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(listing), first, 0)
    return bytes(whole[:first]) + listing + end_record


def many_members() -> bytes:
    return zipped({f"a/{n}": b"" for n in range(60_000)})


def lying_npz() -> bytes:
    """A member that says it has 200 bytes and inflates to a gigabyte."""
    data = bytearray(zipped({"a.npy": bytes(1300 * 2**20)}, compressed=True))
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        where = data.rindex(mark) + at
        data[where : where + 4] = struct.pack("<L", 200)
    return bytes(data)


def old(pickled: bytes) -> bytes:
    """The format before torch 1.6 with this as its value."""
    facts: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(fact, 2) for fact in facts) + pickled + pickle.dumps([], 2)


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def broadcast() -> bytes:
    """Weight norm whose lengths and directions are two long vectors: their product has 400 million values."""
    conv = {"model.10.conv_block.1.weight": torch.zeros(1, 1, 3, 3)}
    return saved({**conv, "x.weight_g": torch.ones(1, 20_000), "x.weight_v": torch.ones(20_000, 1)})


def spectral() -> bytes:
    """Spectral norm with a matrix for a vector."""
    conv = {"model.10.conv_block.1.weight": torch.zeros(1, 1, 3, 3)}
    u, v = torch.ones(30_000), torch.ones(1, 30_000)
    return saved({**conv, "x.weight_orig": torch.ones(30_000, 1), "x.weight_u": u, "x.weight_v": v})


def deep_lists() -> bytes:
    return PROTO + b"]" * 450_000 + b"a" * 449_999 + b"."


def copies() -> bytes:
    """A long list, copied into a shape again and again."""
    long = b"](" + b"K\x01" * 200_000 + b"eq\x000"
    return PROTO + long + b"ctorch\nSize\nq\x01" + b"h\x01h\x00\x85R" * 150_000 + b"."


def same_hash() -> bytes:
    """Numbers with one hash as the keys of a dict: each is compared with all before it."""
    keys = b"".join(b"\x8a\x0c" + (n * (2**61 - 1)).to_bytes(12, "little") + b"N" for n in range(200_000))
    return PROTO + b"}(" + keys + b"u."


def same_hash_memo() -> bytes:
    puts = b"".join(b"p%d\n" % (n * (2**61 - 1)) for n in range(150_000))
    return PROTO + b"N" + puts + b"."


def nested_gzip() -> bytes:
    return gzip.compress(gzip.compress(gzip.compress(bytes(64 * 2**20), 1) * 20, 1))


def lists_of_lists() -> bytes:
    """Eleven lists, each of twenty times the one before, in what looks like a checkpoint of ours."""
    lists: list[Any] = []
    for _ in range(11):
        lists = [lists] * 20
    return pickle.dumps({"format": "cgan-deploy", "version": 2, "sha256": "a", "provenance": lists}, 2)


def many_tar_members() -> bytes:
    header = b"a".ljust(124, b"\0") + b"0" * 11 + b"\0" + b" " * 20 + b"0".ljust(101, b"\0") + b"ustar\x0000"
    return header.ljust(512, b"\0") * 200_000


def lying_tar() -> bytes:
    """A member that says it has a terabyte."""
    size = b"\x80" + (2**40).to_bytes(11, "big")
    header = b"latest_net_G.pth".ljust(124, b"\0") + size + b" " * 20 + b"0".ljust(101, b"\0") + b"ustar\x0000"
    return header.ljust(512, b"\0") + saved({})


def zip_of_zeros() -> bytes:
    """A checkpoint of a megabyte that inflates to a gigabyte."""
    return zipped({"latest_net_G.pth": b"PK\x03\x04" + bytes(1000 * 2**20)}, compressed=True)


def claiming_storage(file: Callable[..., bytes]) -> bytes:
    """A storage that says it has a terabyte, and a tensor that is all of it."""
    numel = b"\x8a\x06" + (2**38).to_bytes(6, "little")
    return file(as_values(tensor(storage(numel=numel), numel + b"\x85", b"K\x01\x85")))


def claiming_safetensors() -> bytes:
    tensors = {"a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}
    return safetensors(json.dumps(tensors).encode()) + bytes(1000)


def claiming_npz() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (274877906944,)}".ljust(117) + b"\n"
    return zipped({"a.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(1000)})


def safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


FILES: Final[dict[str, Callable[[], bytes]]] = {
    "hashes.pt": lambda: torch_zip(PROTO + b"}" + doubled() + b"Ns."),
    "hashes-ours.pt": lambda: ours(PROTO + b"}" + doubled() + b"Ns."),
    "hashes-old.pt": lambda: old(PROTO + b"}" + doubled() + b"Ns."),
    "hashes-ordered.pt": lambda: torch_zip(PROTO + b"ccollections\nOrderedDict\n(](" + doubled() + b"N\x86etR."),
    "printed-size.pt": lambda: torch_zip(as_values(tensor(storage(), doubled() + b"\x85", b"K\x01\x85"))),
    "printed-key.pt": lambda: torch_zip(as_values(tensor(storage(key=doubled()), b"K\x01\x85", b"K\x01\x85"))),
    "printed-global.pt": lambda: torch_zip(b"\x80\x04" + doubled() + b"X\x01\x00\x00\x00a\x93."),
    "old-keys.pt": lambda: old(PROTO + b"}.")[: -len(pickle.dumps([], 2))] + PROTO + b"](" + doubled() + b"e.",
    "same-hash.pt": lambda: torch_zip(same_hash()),
    "same-hash-memo.pt": lambda: torch_zip(same_hash_memo()),
    "copies.pt": lambda: torch_zip(copies()),
    "deep-lists.pt": lambda: torch_zip(deep_lists()),
    "deep-lists-ours.pt": lambda: ours(deep_lists()),
    "instructions.pt": lambda: torch_zip(PROTO + b"N0" * 5_000_000 + b"N."),
    "absurd-shape.pt": lambda: torch_zip(
        as_values(tensor(storage(), b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft", b"(K\x00K\x00t")), **{"0": bytes(4000)}
    ),
    "many-views.pt": lambda: keyed([b"%05d" % n for n in range(19_000)], numel=1_000_000),
    "overlapping.pt": overlapping,
    "many-members.zip": many_members,
    "zeros.npz": lambda: npz(2, 450),
    "lying.npz": lying_npz,
    "zeros.pth.gz": lambda: gzip.compress(bytes(64 * 2**20), 1) * 20,
    "nested.gz": nested_gzip,
    "weight-norm.pt": broadcast,
    "spectral-norm.pt": spectral,
    "lists-ours.pt": lambda: ours(lists_of_lists()),
    "keys-nested.pt": lambda: keyed([b"%05d.b.c.d.e.f.g" % n for n in range(19_000)]),
    "keys-known.pt": lambda: keyed([b"%05d.model.model.0.weight" % n for n in range(19_000)]),
    "keys-long.pt": lambda: keyed([b"model.model.1" + b".model.3" * 100_000 + b"%02d" % n for n in range(20)]),
    "keys-blocks.pt": lambda: keyed([b"res_blocks.%d.conv_block.0.weight" % n for n in range(19_000)]),
    "key-endless.pt": lambda: keyed([b"model.model.0.weight", "é😀".encode() + b"a" * 50_000_000]),
    "header.safetensors": lambda: safetensors(b'{"a":[' + b"[]," * 20_000_000),
    "deep-header.safetensors": lambda: safetensors(b'{"a":' + b"[" * 3_000_000),
    "members.tar": many_tar_members,
    "claims.tar": lying_tar,
    "claims.zip": zip_of_zeros,
    "claims.pt": lambda: claiming_storage(torch_zip),
    "claims-ours.pt": lambda: claiming_storage(ours),
    "claims-old.pt": lambda: claiming_storage(old),
    "claims.safetensors": claiming_safetensors,
    "claims.npz": claiming_npz,
}


def measured(path: Path) -> dict[str, object]:
    """What reading the file came to, its CPU time in seconds, and how much memory it took at its peak, in bytes."""
    from cgan_trainer.readers import read_generator

    before, cpu = reset_peak_bytes(), time.process_time()
    try:
        read_generator(path)
        said = "accepted"
    except BadInputError as error:
        said = str(error)
    used = time.process_time() - cpu
    return {"name": path.name, "cpu_s": round(used, 2), "memory": peak_bytes() - before, "said": said}


def main() -> None:
    """One JSON line for each file that is named; without names, for all that are made here."""
    if sys.argv[1:]:
        resource.setrlimit(resource.RLIMIT_CPU, (END_AFTER_S, END_AFTER_S))
        for name in sys.argv[1:]:
            sys.stdout.write(json.dumps(measured(Path(name))) + "\n")
            sys.stdout.flush()
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, make in FILES.items():
            (Path(folder) / name).write_bytes(make())
        names = [str(Path(folder) / name) for name in FILES]
        subprocess.run([sys.executable, "-m", "tests.hostile_files", *names], check=True)


if __name__ == "__main__":
    main()
