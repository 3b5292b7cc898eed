"""Bundles with one file damaged. What is refused is refused in time; what is accepted makes the same outputs.

In half of the cases the manifest is made to fit again (sizes, hashes and digest), so that what lies behind the
hashes is reached: the schema, the graph, the contract in it. Such a bundle may be another model; it runs, or ends
with an error of ours. Each is used in a process of its own, for a graph may do what it likes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from cgan_runtime.bundle import read_bundle
from cgan_runtime.errors import CganError
from cgan_runtime.generator import SeededGenerator
from cgan_runtime.runners.onnxruntime import import_onnxruntime

from tests.fuzz.base import MAX_BYTES, MAX_CPU_S, Target, refusal
from tests.fuzz.damage import damaged, damaged_json
from tests.runtime import tiny
from tests.runtime.test_bounds import set_manifest

MANIFEST: Final = "bundle.json"
Outputs = dict[str, npt.NDArray[Any]]


@dataclass
class BundleFolder:
    """A bundle of a few kilobytes; `sound` are its files."""

    name: str
    path: Path
    sound: dict[str, bytes]
    outputs: Outputs
    resigned: bool = False
    same: bool = field(default=False)

    def damage(self, draws: random.Random) -> str:
        shutil.rmtree(self.path)
        self.path.mkdir()
        for name, data in self.sound.items():
            (self.path / name).write_bytes(data)
        name = draws.choice(list(self.sound))
        self.resigned = draws.random() < 0.5
        if name == MANIFEST and self.resigned:
            way = self._manifest_that_fits(draws)
        else:
            way, data = damaged(draws, self.sound[name], draws.choice(list(self.sound.values())))
            (self.path / name).write_bytes(data)
            if self.resigned:
                set_manifest(self.path, lambda document: self._refit(document, name, data))
        self.same = all((self.path / n).read_bytes() == data for n, data in self.sound.items())
        return f"{name}: {way}{', hashes that fit' if self.resigned else ''}"

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.path.iterdir())

    def use(self) -> str:
        said = in_child(self._use, self.size())
        assert said.startswith("+"), said
        return said[1:]

    def _use(self) -> str:
        try:
            outputs = outputs_of(self.path)
        except CganError as error:
            return refusal(error)
        if not self.resigned or self.same:
            same = outputs.keys() == self.outputs.keys()
            assert same, "accepted with other outputs"
            assert all(np.array_equal(v, self.outputs[k]) for k, v in outputs.items()), "accepted and not the same"
            return "the same outputs"
        return "another sound bundle"

    def _manifest_that_fits(self, draws: random.Random) -> str:
        """A change of a value in the manifest, then its digest, as far as JSON can write it."""
        document = json.loads(self.sound[MANIFEST])
        document.pop("digest")
        way, data = damaged_json(draws, json.dumps(document).encode())
        changed = json.loads(data)
        from cgan_runtime.manifest import _digest, _text

        try:
            text = (
                _text({**changed, "digest": _digest(changed)}) if isinstance(changed, dict) else json.dumps(changed)
            )
            (self.path / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
        except ValueError:  # infinities and lone surrogates have no digest
            (self.path / MANIFEST).write_bytes(data)
        return way

    def _refit(self, document: dict[str, Any], name: str, data: bytes) -> None:
        for entry in (*document["artifacts"], *document["files"]):
            if entry["path"] == name:
                entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def outputs_of(path: Path) -> Outputs:
    """What a bundle makes of conditions of ones and seed 1, two samples."""
    bundle = read_bundle(path)
    generator = SeededGenerator(bundle.runner(threads=1))
    sizes = [tuple(n if isinstance(n, int) else 16 for n in c.shape) for c in generator.contract.conditions]
    conditions = {
        c.name: np.ones((2, *shape), c.dtype) for c, shape in zip(generator.contract.conditions, sizes, strict=True)
    }
    return dict(generator.generate(conditions, [1, 1], [0, 1]))


def in_child(use: Callable[[], str], files_bytes: int) -> str:
    """What `use` returns, after a "+"; else how the process ended. The kernel holds it to time and memory."""
    import_onnxruntime()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        lines = Path("/proc/self/status").read_text().splitlines()
        data = next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + MAX_BYTES + files_bytes, -1))
        resource.setrlimit(resource.RLIMIT_CPU, (int(MAX_CPU_S) + 1, int(MAX_CPU_S) + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            said = f"+{use()}"
        except BaseException as error:  # noqa: BLE001 - the parent says it
            said = f"{error!r}"
        os.write(writer, said.encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if status == 0 else f"the process ended with {status} (-24: over the CPU time)"


def targets(folder: Path) -> list[Target]:
    """Bundles of several kinds of conditions and outputs."""
    found: list[Target] = []
    for make in (tiny.shoes, tiny.clouds, tiny.blends):
        bundle = make(folder)
        files = {path.name: path.read_bytes() for path in bundle.path.iterdir()}
        found.append(
            BundleFolder(name=make.__name__, path=bundle.path, sound=files, outputs=outputs_of(bundle.path))
        )
    return found
