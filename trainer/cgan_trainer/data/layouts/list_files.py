"""Lists of files: CSV or TSV with a header, or JSONL with an object a line. What both kinds of list share.

Lists come from editors and spreadsheets: the separator is the one of comma, semicolon, tab and bar that gives the
columns needed, and the text is UTF-8, UTF-16, or else Windows-1252, which is said.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cgan_runtime.errors import BadInputError
from cgan_runtime.progress import note

from cgan_trainer.data.layouts.base import SPLITS

__all__ = ["SUFFIXES", "columns_of", "is_there", "listed_file", "read_rows", "split_of"]

SUFFIXES = (".csv", ".tsv", ".jsonl")
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
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
    read = _read_jsonl if path.suffix.lower() == ".jsonl" else _read_csv
    try:
        text = _text_of(path, path.read_bytes(), say=True)
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
        text = _text_of(path, path.read_bytes(), say=False)
        if path.suffix.lower() == ".jsonl":
            return set(json.loads(text.partition("\n")[0]))
        headers = [set(_header(text, separator)) for separator in SEPARATORS]
        return max(headers, key=len)
    except (OSError, BadInputError, ValueError, TypeError, RecursionError, csv.Error):
        return set()


def listed_file(path: Path, name: str) -> Path:
    """The file that a row of the list `path` names, relative to the list; Windows' separators will do."""
    found = path.parent / name
    return found if "\\" not in name or is_there(found) else path.parent / name.replace("\\", "/")


def is_there(path: Path) -> bool:
    """Whether a file has this name; a name longer than any may be belongs to none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _split_by_name(name: str) -> str:
    """A tenth of the names is val, the rest train: by the name alone, so that none moves when others come."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest())
    return "train" if number % HELD_OUT_ONE_IN else "val"


def _text_of(path: Path, data: bytes, *, say: bool) -> str:
    """The text, each line ended by one line feed; a note names an encoding that was guessed."""
    if data.startswith(b"PK\3\4"):
        raise BadInputError(f"{path} is a spreadsheet or another zip file: save the sheet as CSV.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16")
    elif b"\0" in data[:2]:  # UTF-16 without its mark: a list begins with ASCII
        text = data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252")
            if say:
                note(f"{path} is not UTF-8: read as Windows-1252. If names are wrong, save it as UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _header(text: str, separator: str) -> list[str]:
    names = next(csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True), [])
    return [name.strip().lower() for name in names]


def _read_csv(path: Path, text: str, required: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    fitting = (sign for sign in SEPARATORS if set(required) <= set(_header(text, sign)))
    separator = next(fitting, None)
    if separator is None:
        raise BadInputError(
            f"{path} begins with {text.partition(chr(10))[0][:80]!r}: its first line must name the columns, "
            f"{','.join(required)},split."
        )
    header = _header(text, separator)
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    next(reader)
    for values in reader:
        if any(value.strip() for value in values[len(header) :]):
            raise BadInputError(
                f"{path}, line {reader.line_num} has {len(values)} values, but the first line names "
                f'{len(header)}: put a name that has {SEPARATORS[separator]} in it in quotes, "like this.png".'
            )
        if any(values):
            named = {key: value.strip() for key, value in zip(header, values, strict=False)}
            yield reader.line_num, {key: value for key, value in named.items() if key in {*required, "split"}}


def _read_jsonl(path: Path, text: str, required: tuple[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, words in enumerate(text.split("\n"), start=1):
        if not words.strip():
            continue
        try:
            values = json.loads(words)
        except (ValueError, RecursionError) as error:
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
