"""Checkpoints of any known source to a generator; a new source is one file and one line in the table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cgan_runtime.errors import BadInputError
from torch import Tensor

from cgan_trainer.families import build_graph
from cgan_trainer.generator import Generator
from cgan_trainer.readers.affinelayer import Affinelayer
from cgan_trainer.readers.base import Choices, Notes, Reader, build
from cgan_trainer.readers.file_formats import MAX_FILE_BYTES, content_of
from cgan_trainer.readers.junyanz_resnet import JunyanzResnet
from cgan_trainer.readers.junyanz_unet import JunyanzUnet
from cgan_trainer.readers.own import HEAD_BYTES, choose_graph, is_own, read_own
from cgan_trainer.readers.pytorch_gan_cgan import PytorchGanCgan
from cgan_trainer.readers.pytorch_gan_cyclegan import PytorchGanCyclegan
from cgan_trainer.readers.pytorch_gan_pix2pix import PytorchGanPix2pix
from cgan_trainer.readers.pytorch_gan_srgan import PytorchGanSrgan
from cgan_trainer.readers.rejections import refuse_absurd_weights, refuse_other_networks, unknown_layout
from cgan_trainer.readers.unwrap import state_from

__all__ = ["READERS", "Choices", "Loaded", "read_generator"]

# Asked in this order; the first that recognises the keys reads the file.
READERS: Final[list[Reader]] = [
    JunyanzUnet(),
    JunyanzResnet(),
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
        path: the file.
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


def read_generator(path: Path, choices: Choices | None = None) -> Loaded:
    """Read a checkpoint of any known source. Nothing in the file is ever run.

    Raises:
        BadInputError: the file is damaged, hostile, or of no known layout.
        UsageError: a choice that does not fit the network in the file.
    """
    try:
        return _read(path, choices or Choices())
    except BadInputError as error:
        text = _printable(str(error))
        if text == str(error):
            raise
        raise BadInputError(text) from error


def _read(path: Path, choices: Choices) -> Loaded:
    if is_own(_bytes(path, HEAD_BYTES)):
        return _own(path, choices)
    data = _bytes(path, MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadInputError(f"{path} has more than the {MAX_FILE_BYTES >> 30} GiB a checkpoint may have.")
    kind, content = content_of(data, str(path))
    state, steps = state_from(content, str(path), choices.direction)
    refuse_absurd_weights(state, str(path))
    refuse_other_networks(state, str(path), path.name)
    reader = next((reader for reader in READERS if reader.recognises(state)), None)
    if reader is None:
        raise unknown_layout(state, str(path), READERS)
    notes = Notes(label=str(path), file_name=path.name, choices=choices)
    generator, options = build(reader, state, notes)
    return Loaded(
        path=path,
        family=reader.name,
        title=reader.title,
        generator=generator,
        options=options,
        examples={},
        provenance={},
        inferred=(f"{kind} file", *steps, *notes.inferred),
        assumed=tuple(notes.assumed),
        file_sha256=hashlib.sha256(data).hexdigest(),
    )


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
    """One line: keys come from the file, which may hold anything, terminal sequences too."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _bytes(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file."""
    if path.is_dir():
        raise BadInputError(f"{path} is a folder: name the checkpoint inside it, for example {path / 'last.pt'}.")
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except FileNotFoundError as error:
        raise BadInputError(
            f"{path} does not exist: name a checkpoint, such as last.pt or latest_net_G.pth."
        ) from error
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
