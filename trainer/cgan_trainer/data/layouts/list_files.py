"""Lists of files: CSV with a header, or JSONL with an object a line. What both kinds of list share."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cgan_runtime.errors import BadInputError

from cgan_trainer.data.layouts.base import SPLITS

__all__ = ["SUFFIXES", "columns_of", "read_rows", "split_of"]

SUFFIXES = (".csv", ".jsonl")
HELD_OUT_ONE_IN = 10

Row = TypeVar("Row")


def read_rows(
    path: Path, required: tuple[str, str], unit: str, make: Callable[[Path, int, dict[str, Any]], Row]
) -> tuple[Row, ...]:
    """Every row as `make(path, line, values)` makes it; a CSV's other columns than those and `split` are left out.

    Args:
        path: the list.
        required: the two columns it must have.
        unit: what a row names, "pairs" or "images", for the sentences.
        make: raises BadInputError for a row that names nothing.

    Raises:
        BadInputError: the file cannot be read as such a list, or has no row.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_jsonl
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = tuple(make(path, line, values) for line, values in read(path, text, required))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(f"{path} cannot be read as a list of {unit} ({error}): repair it.") from error
    if not rows:
        raise BadInputError(f"{path} lists no {unit}: add rows {','.join(required)},split.")
    return rows


def split_of(path: Path, line: int, values: dict[str, Any], name: str) -> str:
    """The split that a row names; without one, by the name of its file.

    Raises:
        BadInputError: it names no split we know.
    """
    split = values["split"] if "split" in values else _split_by_name(name)
    if split not in SPLITS:
        raise BadInputError(
            f"{path}, line {line} has split {split!r}: it is train, val or test, or leave the whole column out."
        )
    return str(split)


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


def _split_by_name(name: str) -> str:
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
