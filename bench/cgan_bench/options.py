"""What the texts of some options of cgan-bench mean."""

from __future__ import annotations

import re
from typing import Final

from cgan_runtime.errors import UsageError

__all__ = [
    "one_precision",
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


def one_precision(text: str | None) -> str:
    """``int8`` as a name; None: fp32.

    Raises:
        UsageError: several, or a name that is no precision.
    """
    names = parse_precisions(text) or ("fp32",)
    if len(names) > 1:
        raise UsageError(f"--precision {text!r} names {len(names)} artifacts; --scenario measures one.")
    return names[0]


def _numbers(option: str, text: str, most: int, example: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= most for word in words):
        raise UsageError(f"{option} {text!r} is not a list of whole numbers from 1 to {most}, such as {example}.")
    return tuple(dict.fromkeys(int(word) for word in words))
