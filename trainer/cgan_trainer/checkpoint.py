"""The checkpoint file: graphs, examples and plain values in torch's zip, closed by a digest.

    {"format": "cgan-deploy", "version": 2, "family",
     "graphs": {name: {"options", "contract", "state": {name: tensor}}},     the first is the default
     "examples": {graph: {condition: tensor}}, "provenance", "training": only in last.pt, "sha256"}

A network that several graphs share, or that training goes on with, is stored once. The digest covers everything
else in the file. Version 1 held one graph of pix2pix; it is read as version 2 (checkpoint_v1.py). Reading never
runs code from the file and never falls back to a way that could: whatever is wrong with a file ends as one
sentence (BadInputError).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from cgan_runtime.atomic import write_atomic
from cgan_runtime.errors import BadInputError
from torch import Tensor

from cgan_trainer.bounded_zip import BoundedZip
from cgan_trainer.checkpoint_paths import HEAD_BYTES, checkpoint_at
from cgan_trainer.checkpoint_v1 import from_version_1
from cgan_trainer.file_kind import kind_of_file
from cgan_trainer.safe_unpickler import NotPlainError, plain_from_pickle

__all__ = ["FORMAT", "MAX_SIZE_BYTES", "VERSION", "Checkpoint", "Graph", "read_checkpoint", "write_checkpoint"]

FORMAT: Final = "cgan-deploy"
VERSION: Final = 2
MAX_SIZE_BYTES: Final = 8 * 2**30
_MAX_DEPTH: Final = 12
_MAX_VALUES: Final = 1_000_000
_TRAIN_AGAIN: Final = "copy it again from where it was written, or train again"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph of a checkpoint.

    Attributes:
        options: what the family needs to build it.
        contract: JSON form of cgan_runtime's Contract.
        state: its state dict, tensors on the CPU.
    """

    options: Mapping[str, Any]
    contract: Mapping[str, Any]
    state: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint file holds, verified but not yet built into networks (`families.build_graph`).

    Attributes:
        path: where it was read from.
        family: key of the table in families/.
        graphs: by name, the default first.
        examples: by graph and condition, up to 8 validation values: uint8 images [N, C, H, W], labels int64 [N].
        provenance: images seen, seed, versions, dataset, validation figures.
        training: everything needed to go on training; only `last.pt` has it.
        file_sha256: hex digest of the file itself.
    """

    path: Path
    family: str
    graphs: Mapping[str, Graph]
    examples: Mapping[str, Mapping[str, Tensor]]
    provenance: dict[str, Any]
    training: dict[str, Any] | None
    file_sha256: str


def write_checkpoint(
    path: Path,
    *,
    family: str,
    graphs: Mapping[str, Graph],
    examples: Mapping[str, Mapping[str, Tensor]],
    provenance: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write `path` atomically: a reader sees the old file or the new one, never a part."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "family": family,
        "graphs": {
            name: {"options": dict(graph.options), "contract": dict(graph.contract), "state": dict(graph.state)}
            for name, graph in graphs.items()
        },
        "examples": {graph: dict(values) for graph, values in examples.items()},
        "provenance": dict(provenance),
    }
    if training is not None:
        content["training"] = dict(training)
    content = _detached(content, {})
    content["sha256"] = _digest(content)
    write_atomic(path, lambda stream: _save(content, stream))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises:
        BadInputError: in every case where the file is not a complete, undamaged checkpoint of a known version.
    """
    path = checkpoint_at(path)
    try:
        size_bytes = _check_size(path)
        with path.open("rb") as stream:
            _check_container(path, stream, size_bytes)
            content = _checked(path, _load(path, stream), size_bytes)
            stream.seek(0)
            file_sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
    return Checkpoint(
        path=path,
        family=content["family"],
        graphs={name: Graph(**graph) for name, graph in content["graphs"].items()},
        examples=content["examples"],
        provenance=content["provenance"],
        training=content.get("training"),
        file_sha256=file_sha256,
    )


def _save(content: dict[str, Any], stream: BinaryIO) -> None:
    try:
        torch.save(content, stream)
    except RuntimeError as error:
        # Closing its half-written zip, torch covers a full disk with a complaint about positions.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _check_size(path: Path) -> int:
    """The size of the file in bytes."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise BadInputError(f"{path} is empty: {_TRAIN_AGAIN}.")
    if size_bytes > MAX_SIZE_BYTES:
        raise BadInputError(
            f"{path} has {size_bytes / 2**30:.1f} GiB, more than the {MAX_SIZE_BYTES >> 30} GiB a checkpoint may "
            "have: name a checkpoint written by cgan-train."
        )
    return size_bytes


def _check_container(path: Path, stream: BinaryIO, size_bytes: int) -> None:
    """Refuse everything but an intact zip of stored members that holds tensors and plain values.

    The zip and its pickle are gone through first by code that bounds time and memory. torch's own unpickler runs
    nothing either, but it would work for ever on a key that is a tuple of two tuples of two tuples, and so on.
    """
    head = stream.read(HEAD_BYTES)
    if not head.startswith(b"PK\x03\x04"):
        kind = kind_of_file(head, path.name)
        raise BadInputError(f"{path} is {kind.what}, not a checkpoint: name a .pt written by cgan-train.")
    try:
        with BoundedZip(stream, size_bytes, inflated_bytes=0) as archive:
            pickles = [name for name in archive.members if name.endswith("data.pkl")]
            if (damaged := archive.first_damaged()) is not None:
                raise BadInputError(f"{path} is damaged (in its part {damaged!r}): {_TRAIN_AGAIN}.")
            for name in pickles:
                plain_from_pickle(archive.member(name), strict=True)
    except NotPlainError as error:
        raise BadInputError(
            f"{path} holds something other than tensors and plain values, so it is not opened: "
            "name a .pt written by cgan-train."
        ) from error
    # Of damaged bytes zipfile makes BadZipFile, but also NotImplementedError, RuntimeError, struct.error, ...
    except (BadInputError, OSError):
        raise
    except Exception as error:
        raise BadInputError(f"{path} is damaged or cut short ({error}): {_TRAIN_AGAIN}.") from error


def _load(path: Path, stream: BinaryIO) -> dict[str, Any]:
    stream.seek(0)
    try:
        content = torch.load(stream, map_location="cpu", weights_only=True)
    except OSError:
        raise
    # Of hostile or foreign bytes torch makes UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ...
    except Exception as error:
        raise BadInputError(
            f"{path} holds something other than tensors and plain values, so it is not opened: "
            "name a .pt written by cgan-train."
        ) from error
    return content if isinstance(content, dict) else {}


def _checked(path: Path, content: dict[str, Any], size_bytes: int) -> dict[str, Any]:
    """The content in the form of the newest version, without its digest, once that is found right."""
    if content.get("format") != FORMAT:
        raise BadInputError(
            f"{path} is a PyTorch file but not a cgan-deploy checkpoint: name a .pt written by cgan-train."
        )
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise BadInputError(
            f"{path} has checkpoint version {version}, but this version reads up to {VERSION}: upgrade cgan-deploy."
        )
    try:
        stated = content.pop("sha256")
        sound = version in (1, VERSION) and stated == _digest(content, max_bytes=size_bytes)
        if sound and version == 1:
            content = from_version_1(content)
        sound = sound and _is_complete(content)
    except (KeyError, TypeError, ValueError, RecursionError, RuntimeError) as error:
        raise BadInputError(f"{path} is damaged ({error}): {_TRAIN_AGAIN}.") from error
    if not sound:
        raise BadInputError(f"{path} is damaged (its digest does not match its content): {_TRAIN_AGAIN}.")
    return content


def _is_complete(content: dict[str, Any]) -> bool:
    graphs, examples, training = content["graphs"], content["examples"], content.get("training")
    return (
        isinstance(content["family"], str)
        and isinstance(content["provenance"], dict)
        and (training is None or isinstance(training, dict))
        and isinstance(graphs, dict)
        and len(graphs) > 0
        and all(isinstance(name, str) and _is_graph(graph) for name, graph in graphs.items())
        and isinstance(examples, dict)
        and all(graph in graphs and _are_tensors(values) for graph, values in examples.items())
    )


def _is_graph(graph: Any) -> bool:
    return (
        isinstance(graph, dict)
        and set(graph) == {"options", "contract", "state"}
        and isinstance(graph["options"], dict)
        and isinstance(graph["contract"], dict)
        and _are_tensors(graph["state"])
    )


def _are_tensors(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in values.items()
    )


def _digest(content: Mapping[str, Any], *, max_bytes: int | None = None) -> str:
    """SHA-256 over the plain values as canonical JSON, then every tensor by name, dtype, shape and bytes.

    Raises:
        ValueError: something is neither a plain value nor an ordinary tensor, or the tensors claim more than
            `max_bytes` (views that repeat a few bytes could claim any amount).
    """
    tensors: dict[str, Tensor] = {}
    plain = _split(content, (), tensors, itertools.count())
    # What several names share is stored, and counted, once.
    sizes = {_where(tensor): tensor.numel() * tensor.element_size() for tensor in tensors.values()}
    claimed = sum(sizes.values())
    if max_bytes is not None and claimed > max_bytes:
        raise ValueError("its tensors claim more bytes than the file has")
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _split(value: Any, where: tuple[str, ...], tensors: dict[str, Tensor], count: Iterator[int]) -> Any:
    """The plain values, with `tensors` collecting what is not; dict keys keep their type in the result."""
    # Lists that hold one another many times over are few bytes in a file, and would never end here.
    if len(where) > _MAX_DEPTH or next(count) > _MAX_VALUES:
        raise ValueError("its values are nested too deeply or are too many")
    if type(value) is Tensor:
        if value.layout != torch.strided or value.device.type != "cpu" or not value.is_contiguous():
            raise ValueError(f"tensor {'/'.join(where)} is not an ordinary one")
        tensors[json.dumps(where)] = value
        return {"tensor": list(where)}
    if isinstance(value, dict):
        keys = [(type(key).__name__, str(key)) for key in value]
        return [
            [*key, _split(item, (*where, ":".join(key)), tensors, count)]
            for key, item in sorted(zip(keys, value.values(), strict=True), key=lambda pair: pair[0])
        ]
    if isinstance(value, list | tuple):
        return [_split(item, (*where, str(index)), tensors, count) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{'/'.join(where)} is a {type(value).__name__}, neither a tensor nor a plain value")


def _detached(value: Any, copies: dict[tuple[object, ...], Tensor]) -> Any:
    """A copy that shares nothing with the networks: tensors on the CPU, contiguous, without gradients.

    What is the same memory in several places stays one tensor, which torch.save writes once.
    """
    if isinstance(value, Tensor):
        # A clone also drops the rest of a larger storage, which torch.save would write out whole.
        where = _where(value)
        if where not in copies:
            copies[where] = value.detach().to("cpu", copy=True).contiguous()
        return copies[where]
    if isinstance(value, Mapping):
        return {key: _detached(item, copies) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_detached(item, copies) for item in value]
    return value


def _where(tensor: Tensor) -> tuple[object, ...]:
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
