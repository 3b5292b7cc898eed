"""Which options of cgan-bench go together, and what their texts mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from cgan_bench.target import Target

__all__ = [
    "check_batches",
    "check_comparison",
    "check_inference",
    "check_load",
    "check_training",
    "parse_batches",
    "parse_concurrency",
    "parse_precisions",
    "parse_rates",
    "parse_streams",
    "parse_training_size",
]

MAX_BATCH: Final = 4096
MAX_STREAMS: Final = 16
MAX_CLIENTS: Final = 256
MAX_RATE: Final = 100_000.0
PRECISIONS: Final = ("fp32", "fp16", "bf16", "int8")
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
    url: Sequence[str],
    model: str | None,
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
    if bool(url) != (model is not None):
        raise UsageError("--url and --model belong together; give both to measure a server.")
    if streams is not None and device != "cuda":
        raise UsageError("--streams is about a GPU; give --device cuda too.")
    if url and (checkpoint is not None or device != "cpu"):
        raise UsageError("--url measures a server; leave out --checkpoint and --device.")


def check_load(
    bundle: Path | None,
    *,
    url: Sequence[str],
    arrivals: str | None,
    load: Mapping[str, object],
    inference: Mapping[str, object],
) -> None:
    """Raises UsageError where options of a load test are given without one, or others with it.

    Args:
        bundle: with one, the server takes turns with it, and nothing else is measured.
        url: of the servers.
        arrivals: how requests are spread in time.
        load: options of the load by name; None: not given.
        inference: options that count rounds of worker processes, likewise.
    """
    given = [name for name, value in load.items() if value is not None]
    if given and not url:
        raise UsageError(f"{given[0]} is about a server; give --url and --model too.")
    if len(url) > 2:
        raise UsageError(f"--url was given {len(url)} times; give one server, or two to compare.")
    if bundle is not None and (given or len(url) > 1):
        raise UsageError(
            f"{given[0] if given else 'a second --url'} puts a server under load, and a bundle takes turns with it "
            "one request at a time; leave the bundle out, or the load."
        )
    if url and bundle is None and (others := [name for name, value in inference.items() if value is not None]):
        raise UsageError(f"{others[0]} is about backends on this machine; a server is measured for --seconds.")
    if arrivals is not None and load["--rate"] is None:
        raise UsageError("--arrivals says how the requests of --rate are spread in time; give --rate too.")


def check_comparison(
    *,
    compare: Path | None,
    fail_under: float | None,
    train: bool,
    device: str,
    url: Sequence[str],
    bundle: Path | None,
) -> None:
    """Raises UsageError where a result is to be compared that is not of inference on the CPU, or nothing is."""
    if fail_under is not None and compare is None:
        raise UsageError("--fail-under is about an earlier result; give --compare FILE too.")
    if compare is not None and (train or device != "cpu" or (url and bundle is None)):
        raise UsageError("--compare is about inference on the CPU; leave out --train, --device cuda and --url.")


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


def parse_concurrency(text: str) -> tuple[int, ...]:
    """``1,2,4`` or ``1:8`` or ``1:9:4`` (from, to, step) as numbers of clients, each once.

    Raises:
        UsageError: something else.
    """
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})(?::(\d{1,9}))?", text.strip())
    if match is None:
        return _numbers("--concurrency", text, MAX_CLIENTS, "1,2,4 or a range 1:8 or 1:9:4")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    if not (1 <= first <= last <= MAX_CLIENTS and step >= 1):
        raise UsageError(
            f"--concurrency {text!r} is no range; give FROM:TO or FROM:TO:STEP within 1 to {MAX_CLIENTS}."
        )
    return tuple(range(first, last + 1, step))


def parse_rates(text: str) -> tuple[float, ...]:
    """``5,10,20`` or ``0.5`` as requests a second, each once.

    Raises:
        UsageError: something else.
    """
    words = [word.strip() for word in text.split(",")]
    fits = all(re.fullmatch(r"\d+(\.\d+)?", word, re.ASCII) and 0 < float(word) <= MAX_RATE for word in words)
    if not fits:
        raise UsageError(f"--rate {text!r} is not a list of requests a second above 0, such as 5,10,20.")
    return tuple(dict.fromkeys(float(word) for word in words))


def check_batches(batches: tuple[int, ...], target: Target) -> None:
    """Raises UsageError where a batch is larger than the model takes."""
    if max(batches) > target.max_batch:
        raise UsageError(f"--batch {max(batches)} is more than the {target.max_batch} that {target.title} takes.")


def _numbers(option: str, text: str, most: int, example: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= most for word in words):
        raise UsageError(f"{option} {text!r} is not a list of whole numbers from 1 to {most}, such as {example}.")
    return tuple(dict.fromkeys(int(word) for word in words))
