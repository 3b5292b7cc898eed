"""Which options of cgan-bench go together, and what their texts mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from cgan_bench.target import Target

__all__ = [
    "check_batches",
    "check_inference",
    "check_training",
    "parse_batches",
    "parse_precisions",
    "parse_streams",
    "parse_training_size",
]

MAX_BATCH: Final = 4096
MAX_STREAMS: Final = 16
PRECISIONS: Final = ("fp32", "fp16", "int8")
TRAINING_SIZES: Final = (64, 128, 256, 512)


def parse_batches(text: str) -> tuple[int, ...]:
    """``1,4,16`` as numbers, each once.

    Raises:
        UsageError: something else.
    """
    return _numbers("--batch", text, MAX_BATCH, "1,4,16")


def parse_streams(text: str | None) -> tuple[int, ...]:
    """``1,2,4`` as numbers, each once; None: one stream.

    Raises:
        UsageError: something else.
    """
    return (1,) if text is None else _numbers("--streams", text, MAX_STREAMS, "1,2,4")


def parse_precisions(text: str | None) -> tuple[str, ...] | None:
    """``fp32,int8`` as names, each once; None stays None: whatever the bundle has.

    Raises:
        UsageError: a name that is no precision.
    """
    if text is None:
        return None
    words = [word.strip().lower() for word in text.split(",")]
    if unknown := [word for word in words if word not in PRECISIONS]:
        raise UsageError(f"--precision {unknown[0]!r} is none of {', '.join(PRECISIONS)}; give a list: fp32,int8.")
    return tuple(dict.fromkeys(words))


def parse_training_size(text: str | None) -> int | None:
    """The side of the images that networks are trained on.

    Raises:
        UsageError: a side that the U-Net does not have.
    """
    if text is None:
        return None
    if text not in map(str, TRAINING_SIZES):
        sides = ", ".join(map(str, TRAINING_SIZES))
        raise UsageError(f"--size {text} is no side to train at; with --train give one of {sides}.")
    return int(text)


def check_inference(
    bundle: Path | None,
    *,
    checkpoint: Path | None,
    url: str | None,
    model: str | None,
    concurrency: int | None,
    device: str,
    streams: str | None,
    precision: str | None,
    require_signature: Path | None,
) -> None:
    """Raises UsageError where options of a bundle or a server stand without it, or exclude each other."""
    if checkpoint is not None and bundle is None:
        raise UsageError("--checkpoint adds rows to those of a bundle; name the bundle too.")
    if precision is not None and bundle is None:
        raise UsageError("--precision chooses among the artifacts of a bundle; name the bundle too.")
    if require_signature is not None and bundle is None:
        raise UsageError("--require-signature is about a bundle; name the bundle too.")
    if (url is None) != (model is None):
        raise UsageError("--url and --model belong together; give both to measure a server.")
    if concurrency is not None and url is None:
        raise UsageError("--concurrency is about a server; give --url and --model too.")
    if streams is not None and device != "cuda":
        raise UsageError("--streams is about a GPU; give --device cuda too.")
    if url is not None and (checkpoint is not None or device != "cpu"):
        raise UsageError("--url measures a server; leave out --checkpoint and --device.")


def check_training(*, train: bool, inference: Mapping[str, object], training: Mapping[str, object]) -> None:
    """Raises UsageError where options of inference are given with --train, or those of training without.

    Args:
        train: whether training is measured.
        inference: options by name that are about inference alone; None: not given.
        training: the same about training.
    """
    if train and (given := [name for name, value in inference.items() if value is not None]):
        raise UsageError(f"--train measures training, and {given[0]} is about inference; give one of them.")
    if not train and (given := [name for name, value in training.items() if value is not None]):
        raise UsageError(f"{given[0]} is about training; give --train too, or leave it out.")


def check_batches(batches: tuple[int, ...], target: Target) -> None:
    """Raises UsageError where a batch is larger than the model takes."""
    if max(batches) > target.max_batch:
        raise UsageError(f"--batch {max(batches)} is more than the {target.max_batch} that {target.title} takes.")


def _numbers(option: str, text: str, most: int, example: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= most for word in words):
        raise UsageError(f"{option} {text!r} is not a list of whole numbers from 1 to {most}, such as {example}.")
    return tuple(dict.fromkeys(int(word) for word in words))
