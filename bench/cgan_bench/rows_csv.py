"""The rows of a result as a table for spreadsheets: one line a row, the units in the heads.

Lists are left out: single latencies, agreements and audits are in the JSON object.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["rows_csv"]


def rows_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with a head, RFC 4180, of rows as ``to_json`` gives them; what a row does not have is empty.

    A value inside a value gets both names: ``ratio_to_reference.median``.
    """
    flat = [dict(_flat(row)) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    # What holds values in some rows and is None in others has the columns of its values alone.
    heads = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, heads, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif not isinstance(value, list | tuple):
            yield f"{before}{name}", value
