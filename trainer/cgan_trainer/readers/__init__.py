"""Checkpoints of any known source to a generator; a new source is one file and one line in the table."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from cgan_runtime.contract import Condition, ImageEncoding, Output
from cgan_runtime.errors import BadInputError, UsageError
from torch import Tensor

from cgan_trainer.bounded_zip import inflated_limit
from cgan_trainer.checkpoint import FORMAT, read_checkpoint
from cgan_trainer.checkpoint_paths import checkpoint_at
from cgan_trainer.families import build_graph
from cgan_trainer.generator import Generator
from cgan_trainer.part_names import direction_of
from cgan_trainer.readers.affinelayer import Affinelayer
from cgan_trainer.readers.base import Choices, Notes, Reader, build
from cgan_trainer.readers.cut_resnet import CutResnet
from cgan_trainer.readers.file_formats import MAX_FILE_BYTES, Content, content_of
from cgan_trainer.readers.junyanz_resnet import JunyanzResnet
from cgan_trainer.readers.junyanz_unet import JunyanzUnet
from cgan_trainer.readers.own import HEAD_BYTES, choose_graph, is_own, read_own
from cgan_trainer.readers.pytorch_gan_cgan import PytorchGanCgan
from cgan_trainer.readers.pytorch_gan_cyclegan import PytorchGanCyclegan
from cgan_trainer.readers.pytorch_gan_pix2pix import PytorchGanPix2pix
from cgan_trainer.readers.pytorch_gan_srgan import PytorchGanSrgan
from cgan_trainer.readers.rejections import refuse_absurd_weights, refuse_other_networks, unknown_layout
from cgan_trainer.readers.reparametrization import folded
from cgan_trainer.readers.unwrap import generators_in, state_from

__all__ = ["READERS", "Choices", "Held", "Loaded", "graphs_in", "read_generator"]

MAX_MESSAGE: Final = 2000

# Asked in this order; the first that recognises the keys reads the file.
READERS: Final[list[Reader]] = [
    JunyanzUnet(),
    JunyanzResnet(),
    CutResnet(),
    PytorchGanPix2pix(),
    PytorchGanCyclegan(),
    PytorchGanCgan(),
    PytorchGanSrgan(),
    Affinelayer(),
]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A generator with its weights, in `eval()`, and where everything about it comes from.

    Attributes:
        path: the file; where a folder was named, the one in it.
        family: "pix2pix" for our own, the layout's name otherwise.
        title: the layout in words.
        generator: with the file's weights.
        options: plain values that describe the network.
        examples: values of conditions that our own checkpoints carry, by condition: images uint8 [N, C, H, W],
            labels int64 [N].
        provenance: what the file says of its training; where it is silent, nothing.
        inferred: what keys and shapes say, and which wrappers were taken off.
        assumed: what no file says and nobody chose.
        file_sha256: hex digest of the file.
        graph: which of the file's graphs this is.
        graphs: all that it holds, the default first.
    """

    path: Path
    family: str
    title: str
    generator: Generator
    options: dict[str, Any]
    examples: Mapping[str, Tensor]
    provenance: dict[str, Any]
    inferred: tuple[str, ...]
    assumed: tuple[str, ...]
    file_sha256: str
    graph: str = "main"
    graphs: tuple[str, ...] = ("main",)


@dataclass(frozen=True, kw_only=True)
class Held:
    """The graphs that a checkpoint holds.

    Attributes:
        path: the file; where a folder was named, the one in it.
        ways: name of each graph, and which way it goes ("AtoB"), where a file from other code says it in the names.
        default: the one that is meant where none is chosen; None: one has to be chosen.
    """

    path: Path
    ways: Mapping[str, str | None]
    default: str | None


def read_generator(path: Path, choices: Choices | None = None) -> Loaded:
    """Read a checkpoint of any known source. Nothing in the file is ever run.

    Raises:
        BadInputError: the file is damaged, hostile, or of no known layout.
        UsageError: a choice that does not fit the network in the file.
    """
    with _printable_errors():
        return _read(path, choices or Choices())


def graphs_in(path: Path) -> Held:
    """The graphs of a checkpoint of any known source, by name, to choose from before one is read.

    Raises:
        BadInputError: as `read_generator`.
    """
    with _printable_errors():
        path = checkpoint_at(path)
        with _opened(path) as stream:
            if is_own(stream.read(HEAD_BYTES)):
                own = read_checkpoint(path).graphs
                return Held(path=path, ways=dict.fromkeys(own), default=next(iter(own)))
            content = _content(path, stream)
        parts, names = generators_in(content.value, str(path), _recognised)
        if len(parts) <= 1:
            way = direction_of(parts[0].path) if parts else None
            return Held(path=path, ways={"main": way}, default="main")
        ways = {name: direction_of(part.path) for name, part in zip(names, parts, strict=True)}
        return Held(path=path, ways=ways, default=None)


def _read(path: Path, choices: Choices) -> Loaded:
    path = checkpoint_at(path)
    with _opened(path) as stream:
        if is_own(stream.read(HEAD_BYTES)):
            return _own(path, choices)
        return _foreign(path, stream, choices)


def _foreign(path: Path, stream: BufferedReader, choices: Choices) -> Loaded:
    label = str(path)
    content = _content(path, stream)
    if isinstance(content.value, Mapping) and content.value.get("format") == FORMAT:
        raise BadInputError(f"{label} is an archive around a checkpoint of cgan-train: unpack it first.")
    found = state_from(content.value, label, _recognised, direction=choices.direction, graph=choices.graph)
    state, folds = _sound(found.part.state, label, content.file_bytes)
    refuse_other_networks(state, label, content.name)
    reader = next((reader for reader in READERS if reader.recognises(state)), None)
    if reader is None:
        raise unknown_layout(state, label, READERS)
    notes = Notes(label=label, file_name=content.name, choices=choices, part=found.part.path)
    generator, options = build(reader, state, notes)
    notes.assumed.extend(_channels_told(generator))
    return Loaded(
        path=path,
        family=reader.name,
        title=reader.title,
        generator=generator,
        options=options,
        examples={},
        provenance={},
        inferred=(f"{content.kind} file", *content.steps, *found.steps, *folds, *notes.inferred),
        assumed=tuple(notes.assumed),
        file_sha256=_sha256(stream),
        graph=found.name or "main",
        graphs=found.names or ("main",),
    )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error


@contextlib.contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except (BadInputError, UsageError) as error:
        text = _printable(str(error))
        if text == str(error):
            raise
        raise type(error)(text) from error


def _channels_told(generator: Generator) -> list[str]:
    """What is made of the channels of conditions and outputs where they are neither grey nor RGB."""
    contract, told = generator.contract, []
    tensors: list[Condition | Output] = [*contract.conditions, *contract.outputs]
    for tensor in tensors:
        words = f"the {tensor.shape[0]} channels of {tensor.meaning} are" if len(tensor.shape) == 3 else ""
        if words and tensor.encoding is None:
            words += " a tensor, as numpy.save writes it"
        elif isinstance(tensor.encoding, ImageEncoding) and tensor.encoding.color == "RGBA":
            words += " red, green, blue and alpha"
        else:
            continue
        told.append(f"{words} (--palette, where each is a class)" if isinstance(tensor, Condition) else words)
    return told


def _content(path: Path, stream: BufferedReader) -> Content:
    """What the file holds."""
    file_bytes = path.stat().st_size
    if file_bytes > MAX_FILE_BYTES:
        raise BadInputError(f"{path} has more than the {MAX_FILE_BYTES >> 30} GiB a checkpoint may have.")
    stream.seek(0)
    return content_of(stream, file_bytes, str(path), path.name)


def _sha256(stream: BufferedReader) -> str:
    """Of the whole file; asked last, for a file that is refused needs none."""
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _recognised(state: Mapping[str, Tensor]) -> bool:
    return any(reader.recognises(state) for reader in READERS)


def _sound(state: Mapping[str, Tensor], label: str, file_bytes: int) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dict with reparametrised weights folded, and what was folded, in words."""
    if sum(value.numel() * 4 for value in state.values()) > 2 * inflated_limit(file_bytes):
        raise BadInputError(f"{label} is damaged: its tensors claim more bytes than the file has.")
    refuse_absurd_weights(state, label)
    plain, what = folded(state, label)
    if what:
        refuse_absurd_weights(plain, label)
    return plain, (f"{what} folded into the weights",) if what else ()


def _own(path: Path, choices: Choices) -> Loaded:
    checkpoint = read_own(path, choices)
    name = choose_graph(checkpoint, choices.graph)
    return Loaded(
        path=path,
        family=checkpoint.family,
        title="a cgan-deploy checkpoint",
        generator=build_graph(checkpoint, name),
        options=dict(checkpoint.graphs[name].options),
        examples=checkpoint.examples.get(name, {}),
        provenance=checkpoint.provenance,
        inferred=("everything: the file says it",),
        assumed=(),
        file_sha256=checkpoint.file_sha256,
        graph=name,
        graphs=tuple(checkpoint.graphs),
    )


def _printable(text: str) -> str:
    """One line of bearable length: keys come from the file, which may hold anything, terminal sequences too."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:MAX_MESSAGE])
    return line if len(text) <= MAX_MESSAGE else f"{line}..."
