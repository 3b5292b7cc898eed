"""Lists of files: CSV with a header, or JSONL with an object a line. What both kinds of list share."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cgan_runtime.errors import BadInputError

__all__ = ["SUFFIXES", "columns_of", "read_list", "split_by_name"]

SUFFIXES = (".csv", ".jsonl")
HELD_OUT_ONE_IN = 10


def read_list(path: Path, required: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and values of every row; other columns than the required ones and `split` are left out of a CSV.

    Raises:
        BadInputError: the file is no such list.
        OSError, UnicodeDecodeError, csv.Error: it cannot be read at all.
    """
    text = path.read_text(encoding="utf-8-sig")
    read = _read_csv if path.suffix.lower() == ".csv" else _read_jsonl
    return read(path, text, required)


def columns_of(path: Path) -> set[str]:
    """The columns that the first line names; empty where there is none, or no such file."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            first = stream.readline(1 << 16)
        if path.suffix.lower() == ".csv":
            return set(next(csv.reader([first], skipinitialspace=True), []))
        return set(json.loads(first))
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error):
        return set()


def split_by_name(name: str) -> str:
    """A tenth of the names is val, the rest train: by the name alone, so that none moves when others come."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest())
    return "train" if number % HELD_OUT_ONE_IN else "val"


def _read_csv(path: Path, text: str, required: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True, strict=True)
    header = reader.fieldnames or []
    if not set(required) <= set(header):
        raise BadInputError(
            f"{path} begins with {','.join(header)!r}: its first line must name the columns, "
            f"{','.join(required)},split."
        )
    for values in reader:
        yield reader.line_num, {key: value for key, value in values.items() if key in {*required, "split"}}


def _read_jsonl(path: Path, text: str, required: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, words in enumerate(text.splitlines(), start=1):
        if not words.strip():
            continue
        try:
            values = json.loads(words)
        except ValueError as error:
            raise BadInputError(
                f"{path}, line {line} is no JSON ({error}): one object a line is needed."
            ) from error
        if not isinstance(values, dict):
            first, second = required
            raise BadInputError(
                f'{path}, line {line} is no object: write {{"{first}": "...", "{second}": "...", '
                '"split": "train"}.'
            )
        yield line, values
