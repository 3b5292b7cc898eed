"""Options, evaluation results and metrics as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cgan_runtime.pages import Cell, Table, readable

from cgan_trainer.evaluation.table import SIGNS
from cgan_trainer.watching.run_data import RunRecord

__all__ = [
    "TitledTable",
    "differing_options",
    "evaluation_notes",
    "evaluation_tables",
    "flatten",
    "metrics_table",
    "options_table",
    "value_tables",
]

_MOST_ROWS = 200
_LAST_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class TitledTable:
    """A table, and what it is about; no title where there is only one."""

    table: Table
    title: str = ""


def flatten(value: object, name: str = "") -> dict[str, object]:
    """Nested mappings as one: {"a": {"b": 1}} becomes {"a.b": 1}. Short lists of plain values stay one value."""
    if isinstance(value, Mapping):
        entries = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list | tuple) and (len(value) > 8 or any(isinstance(v, Mapping | list) for v in value)):
        entries = [(str(number), inner) for number, inner in enumerate(value, start=1)]
    else:
        return {name or "value": value}
    flat: dict[str, object] = {}
    for key, inner in entries:
        flat |= flatten(inner, f"{name}.{key}" if name else key)
    return flat


def differing_options(options: Mapping[str, object], defaults: Mapping[str, object]) -> Table | None:
    """The options that are not at their default; None where all are."""
    flat, usual = flatten(options), flatten(defaults)
    rows = [
        (name, _words(value), _words(usual[name]))
        for name, value in flat.items()
        if name in usual and value != usual[name]
    ]
    return Table(heads=("option", "this run", "default"), rows=tuple(rows), text=True) if rows else None


def options_table(options: Mapping[str, object]) -> Table:
    """Every option with its value."""
    rows = [(name, _words(value)) for name, value in flatten(options).items()]
    return Table(heads=("option", "value"), rows=tuple(rows), text=True)


def evaluation_tables(value: object) -> list[TitledTable]:
    """A measure per row and a column for everything that was judged, of an evaluation.json that has `rows`.

    Of any other, whatever is there.
    """
    rows = value.get("rows") if isinstance(value, Mapping) else None
    if not (isinstance(value, Mapping) and isinstance(rows, list) and rows and all(map(_is_judged, rows))):
        return list(value_tables(value))
    titles = {
        str(entry["key"]): Cell(text=_title(entry), note=str(entry.get("unit") or ""))
        for entry in _list(value.get("columns") or value.get("measures"))
        if isinstance(entry, Mapping) and "key" in entry
    }
    present = list(dict.fromkeys(str(key) for row in rows for key in row["figures"]))
    keys = [key for key in titles if key in present] + [key for key in present if key not in titles]
    table = Table(
        heads=("measure", *(str(row.get("name", "")) for row in rows)),
        rows=tuple(
            (titles.get(key, key), *(_figure(row["figures"].get(key, "")) for row in rows))
            for key in keys[:_MOST_ROWS]
        ),
    )
    return [TitledTable(table=table)]


def evaluation_notes(value: object) -> tuple[str, ...]:
    """The sentences that an evaluation.json has for its reader."""
    return tuple(map(str, _list(value.get("notes")))) if isinstance(value, Mapping) else ()


def value_tables(value: object, title: str = "") -> Iterator[TitledTable]:
    """Any JSON value: a table of records where it is one, and names with values otherwise."""
    if isinstance(value, Mapping):
        plain = {str(key): inner for key, inner in value.items() if not isinstance(inner, Mapping | list)}
        nested = {str(key): inner for key, inner in value.items() if isinstance(inner, Mapping | list) and inner}
        if nested and not plain and all(_is_plain(inner) for inner in nested.values()):
            records = [{"": key, **flatten(inner)} for key, inner in nested.items()]
            yield TitledTable(table=_records(records), title=title)
            return
        if plain:
            yield TitledTable(table=_named(plain), title=title)
        for key, inner in list(nested.items())[:_MOST_ROWS]:
            yield from value_tables(inner, key.replace("_", " "))
    elif isinstance(value, list) and value and all(_is_plain(entry) for entry in value):
        yield TitledTable(table=_records(value), title=title)
    else:
        yield TitledTable(table=_named(flatten(value)), title=title)


def metrics_table(record: RunRecord) -> Table:
    """The last rows of metrics.csv."""
    names = [name for name in record.columns if any(name in row for row in record.rows)]
    rows = [
        tuple(readable(row[name]) if name in row else "" for name in names) for row in record.rows[-_LAST_ROWS:]
    ]
    return Table(heads=tuple(names), rows=tuple(rows))


def _title(entry: Mapping[str, object]) -> str:
    """The name of a measure, and an arrow towards its better figures."""
    sign = SIGNS.get(str(entry.get("better")), "")
    return f"{entry.get('title') or entry['key']}\N{NO-BREAK SPACE}{sign}".rstrip()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _is_judged(row: object) -> bool:
    return isinstance(row, Mapping) and isinstance(row.get("figures"), Mapping)


def _figure(figure: object) -> str | Cell:
    if not isinstance(figure, Mapping):
        return _words(figure)
    value, spread = _words(figure.get("value")), figure.get("spread")
    return value if spread is None else Cell(text=value, note=f"± {_words(spread)}")


def _is_plain(value: object) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(inner, Mapping | list) for inner in value.values())


def _records(records: Sequence[Mapping[str, object]]) -> Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = [tuple(_words(record.get(name, "")) for name in names) for record in records[:_MOST_ROWS]]
    return Table(heads=tuple(map(str, names)), rows=tuple(rows))


def _named(values: Mapping[str, object]) -> Table:
    rows = [(name, _words(value)) for name, value in list(flatten(values).items())[:_MOST_ROWS]]
    return Table(rows=tuple(rows), text=True)


def _words(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash, as tables show what is not there
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return readable(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    return {"inf": "∞", "-inf": "-∞"}.get(str(value), str(value))  # JSON has no infinity: files say "inf"
