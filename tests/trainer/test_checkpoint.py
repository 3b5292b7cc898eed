from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import BadInputError
from cgan_trainer import checkpoint as module
from cgan_trainer.checkpoint import Checkpoint, Graph, read_checkpoint, write_checkpoint
from cgan_trainer.families import build_graph
from cgan_trainer.families.pix2pix_networks import Pix2pixGenerator, Pix2pixOptions

OPTIONS = Pix2pixOptions(size=64, ngf=1, source="map", target="satellite")


def write(path: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    generator = Pix2pixGenerator(OPTIONS)
    content: dict[str, Any] = {
        "family": "pix2pix",
        "graphs": {"main": graph_of(generator)},
        "examples": {"main": {"condition": torch.arange(96, dtype=torch.uint8).reshape(2, 3, 4, 4)}},
        "provenance": {"images": 5, "val_L1": 0.25},
    }
    write_checkpoint(path, **(content | changes))
    return path


def graph_of(generator: Pix2pixGenerator) -> Graph:
    return Graph(
        options=asdict(generator.options), contract=generator.contract.to_json(), state=generator.state_dict()
    )


def refused(path: Path) -> str:
    with pytest.raises(BadInputError) as problem:
        build_graph(read_checkpoint(path), "main")
    sentence = str(problem.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def test_what_was_written_is_read_and_built(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt")
    checkpoint = read_checkpoint(path)
    assert checkpoint.family == "pix2pix"
    assert list(checkpoint.graphs) == ["main"]
    assert checkpoint.graphs["main"].options == asdict(OPTIONS)
    assert checkpoint.provenance == {"images": 5, "val_L1": 0.25}
    assert checkpoint.examples["main"]["condition"].shape == (2, 3, 4, 4)
    assert checkpoint.training is None
    assert checkpoint.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    generator = build_graph(checkpoint, "main")
    assert not generator.training
    assert generator.contract.to_json() == checkpoint.graphs["main"].contract
    assert generator.contract.conditions[0].meaning == "map"
    torch.manual_seed(0)
    expected = Pix2pixGenerator(OPTIONS).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in generator.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]


def other_kinds(folder: Path) -> dict[str, tuple[Path, str]]:
    sound = write(folder / "sound.pt").read_bytes()
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"x" * 1000)
    contents = {
        "empty": (b"", "is empty"),
        "html": (b"<!DOCTYPE html><p>Not found", "a web page"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        "text": (b"epoch 1: loss 0.3", "a text file"),
        "pickle": (pickle.dumps({"format": "cgan-deploy"}), "a bare pickle"),
        "picture": (b"\x89PNG\r\n\x1a\n\0\0", "an image"),
        "truncated": (sound[:-200], "damaged or cut short"),
        "half": (sound[: len(sound) // 2], "damaged or cut short"),
        "compressed": (compressed.getvalue(), "its parts are compressed"),
    }
    kinds = {}
    for name, (content, sentence) in contents.items():
        (folder / f"{name}.pt").write_bytes(content)
        kinds[name] = (folder / f"{name}.pt", sentence)
    (folder / "folder.pt").mkdir()
    torch.save({"model": torch.zeros(2)}, folder / "foreign.pt")
    torch.save(torch.zeros(2), folder / "tensor.pt")
    return kinds | {
        "folder": (folder / "folder.pt", "is a folder"),
        "absent": (folder / "absent.pt", "does not exist"),
        "foreign": (folder / "foreign.pt", "not a cgan-deploy checkpoint"),
        "tensor": (folder / "tensor.pt", "not a cgan-deploy checkpoint"),
    }


def test_files_of_another_kind_are_named_for_what_they_are(tmp_path: Path) -> None:
    for path, sentence in other_kinds(tmp_path).values():
        assert sentence in refused(path)


class Hostile:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.sentinel}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_never_runs(tmp_path: Path, zipped: bool) -> None:
    content = {"format": "cgan-deploy", "version": 1, "generator": Hostile(tmp_path / "ran")}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def rewrite(path: Path, change: dict[str, Any], *, seal: bool) -> None:
    content = torch.load(path, weights_only=True)
    for where, value in change.items():
        *parents, name = where.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        place[name] = value
    if seal:
        del content["sha256"]
        content["sha256"] = module._digest(content)
    torch.save(content, path)


NEGATIVE = {"classes": ["cat", "dog"], "latent": 4, "channels": 1, "width": -2}


@pytest.mark.parametrize(
    ("change", "seal", "sentence"),
    [
        ({"version": 3}, True, "has checkpoint version 3, but this version reads up to 2: upgrade"),
        ({"version": 1}, True, "damaged"),
        ({"version": 0}, True, "damaged"),
        ({"family": "cyclegan2"}, False, "damaged"),
        ({"family": "cyclegan2"}, True, "builds only "),
        ({"graphs.main.options": {"size": 2**40}}, True, "options that describe no network"),
        ({"graphs.main.options": {"depth": 3}}, True, "options that describe no network"),
        ({"family": "cdcgan", "graphs.main.options": NEGATIVE}, True, "options that describe no network"),
        ({"graphs.main.options": {"size": 512, "ngf": 512}}, True, "do not fit its options"),
        ({"graphs.main.options": {**asdict(OPTIONS), "source": "moon"}}, True, "its own options contradict"),
        ({"graphs.main.state": {}}, True, "do not fit its options"),
        ({"graphs.main.state": {"unet": torch.zeros(1).expand(2**40)}}, False, "damaged"),
        ({"graphs.main.more": 1}, True, "damaged"),
        ({"graphs": {}}, True, "damaged"),
        ({"examples": torch.zeros(1)}, True, "damaged"),
        ({"examples": {"other": {}}}, True, "damaged"),
    ],
)
def test_content_that_does_not_hold_together_is_refused(
    tmp_path: Path, change: dict[str, Any], seal: bool, sentence: str
) -> None:
    path = write(tmp_path / "a.pt")
    rewrite(path, change, seal=seal)
    assert sentence in refused(path)


@pytest.mark.parametrize("key", ["family", "graphs", "examples", "provenance", "sha256"])
def test_a_missing_key_is_refused(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "a.pt")
    content = torch.load(path, weights_only=True)
    del content[key]
    if key != "sha256":
        del content["sha256"]
        content["sha256"] = module._digest(content)
    torch.save(content, path)
    assert "damaged" in refused(path)


def test_a_file_over_the_size_cap_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.pt")
    monkeypatch.setattr(module, "MAX_SIZE_BYTES", 100)
    assert "more than the" in refused(path)


def same_model(one: Checkpoint, other: Checkpoint) -> bool:
    plain = [replace(checkpoint, graphs={}, examples={}, file_sha256="") for checkpoint in (one, other)]
    mine, theirs = one.graphs["main"], other.graphs["main"]
    shown = [checkpoint.examples["main"]["condition"] for checkpoint in (one, other)]
    return (
        plain[0] == plain[1]
        and (mine.options, mine.contract) == (theirs.options, theirs.contract)
        and torch.equal(*shown)
        and mine.state.keys() == theirs.state.keys()
        and all(torch.equal(tensor, theirs.state[name]) for name, tensor in mine.state.items())
    )


@pytest.mark.slow
def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt")
    sound, reference = path.read_bytes(), read_checkpoint(path)
    draws = random.Random(0)
    # Half of the flips anywhere, half among the zip's own records, where most of them would be.
    edges = [*range(4000), *range(len(sound) - 12000, len(sound))]
    refusals = 0
    for trial in range(400):
        place = draws.randrange(len(sound)) if trial % 2 else draws.choice(edges)
        damaged = bytearray(sound)
        damaged[place] ^= 1 << draws.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same_model(read_checkpoint(path), reference), f"bit flip at {place} went unnoticed"
        except BadInputError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals > 150


def test_the_digest_alone_notices_changed_weights_and_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt")
    content = torch.load(path, weights_only=True)
    content["graphs"]["main"]["state"]["unet.down.0.conv.weight"][0, 0, 0, 0] += 1e-7
    torch.save(content, path)
    assert "digest" in refused(path)
    write(path)
    rewrite(path, {"provenance": {"images": 6, "val_L1": 0.25}}, seal=False)
    assert "digest" in refused(path)


@pytest.mark.parametrize("after", [0, 3000])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    path = write(tmp_path / "a.pt")
    before = path.read_bytes()

    class Full:
        def __init__(self, stream: BinaryIO) -> None:
            self.stream, self.left = stream, after

        def write(self, data: Any) -> int:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.stream.write(data)

        def flush(self) -> None:
            self.stream.flush()

    real: Any = torch.save
    monkeypatch.setattr(torch, "save", lambda content, stream: real(content, Full(stream)))
    with pytest.raises(OSError, match="No space left"):
        write(path, provenance={})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pt"]


def test_an_interrupted_write_leaves_no_trace(tmp_path: Path) -> None:
    def interrupt(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_what_graphs_and_training_share_is_stored_once(tmp_path: Path) -> None:
    one = write(tmp_path / "one.pt")
    generator = Pix2pixGenerator(OPTIONS)
    graphs = {"first": graph_of(generator), "second": graph_of(generator)}
    networks = {"networks": {"generator": generator.state_dict()}}
    write(tmp_path / "three.pt", graphs=graphs, examples={}, training=networks)
    # Names and places of the tensors take room, their values hardly any.
    assert (tmp_path / "three.pt").stat().st_size < 2 * one.stat().st_size
    read = read_checkpoint(tmp_path / "three.pt")
    assert list(read.graphs) == ["first", "second"]
    for name, value in generator.state_dict().items():
        assert torch.equal(read.graphs["second"].state[name], value)


OLD = Path(__file__).with_name("old") / "run-v1"


def test_version_1_still_reads() -> None:
    for name in ("best.pt", "last.pt"):
        checkpoint = read_checkpoint(OLD / name)
        generator = build_graph(checkpoint, "main")
        assert checkpoint.family == "pix2pix"
        assert generator.contract.conditions[0].name == "condition"
        assert checkpoint.examples["main"]["condition"].dtype == torch.uint8
    assert (checkpoint.training or {})["counters"]["images"] == 2


def test_a_damaged_file_of_version_1_is_refused(tmp_path: Path) -> None:
    content = torch.load(OLD / "best.pt", weights_only=True)
    content["generator"]["unet.down.0.conv.weight"][0, 0, 0, 0] += 1e-7
    torch.save(content, tmp_path / "a.pt")
    assert "digest" in refused(tmp_path / "a.pt")
