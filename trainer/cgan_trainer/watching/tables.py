"""Options, evaluation results and metrics as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cgan_trainer.watching.formatting import readable
from cgan_trainer.watching.html import Markup, element, join
from cgan_trainer.watching.run_data import RunRecord

__all__ = ["evaluation_table", "flatten", "metrics_table", "options_tables", "values_table"]

_MOST_ROWS = 200
_LAST_ROWS = 12


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


def options_tables(config: Mapping[str, object], defaults: Mapping[str, object]) -> Markup:
    """What differs from the defaults, then everything on request."""
    flat, usual = flatten(config), flatten(defaults)
    differing = [
        (name, value, usual[name]) for name, value in flat.items() if name in usual and value != usual[name]
    ]
    parts = []
    if differing:
        rows = [(name, _words(value), _words(default)) for name, value, default in differing]
        parts.append(_table(("option", "this run", "default"), rows))
    elif usual:
        parts.append(element("p", "Every option at its default.", class_="quiet"))
    everything = _table(("option", "value"), [(name, _words(value)) for name, value in flat.items()])
    parts.append(element("details", element("summary", f"All {len(flat)} options"), everything))
    return join(*parts)


def evaluation_table(value: object) -> Markup:
    """What was judged, a row each, of an evaluation.json that has `rows`; of any other all there is."""
    rows = value.get("rows") if isinstance(value, Mapping) else None
    if not (isinstance(value, Mapping) and isinstance(rows, list) and rows and all(map(_is_judged, rows))):
        return values_table(value)
    measures = value.get("measures")
    titles = {
        str(entry["key"]): _title(entry)
        for entry in (measures if isinstance(measures, list) else [])
        if isinstance(entry, Mapping) and "key" in entry
    }
    records = [
        {"": row.get("name", ""), **{titles.get(key, key): _figure(inner) for key, inner in row["figures"].items()}}
        for row in rows
    ]
    notes = value.get("notes")
    sentences = [element("p", str(note), class_="quiet") for note in notes] if isinstance(notes, list) else []
    return join(_records(records), *sentences)


def values_table(value: object) -> Markup:
    """Any JSON value: a table of records where it is one, and names with values otherwise."""
    if isinstance(value, Mapping):
        plain = {str(key): inner for key, inner in value.items() if not isinstance(inner, Mapping | list)}
        nested = {str(key): inner for key, inner in value.items() if isinstance(inner, Mapping | list) and inner}
        parts = [_named(plain)] if plain else []
        if nested and not plain and all(_is_plain(inner) for inner in nested.values()):
            return _records([{"": key, **flatten(inner)} for key, inner in nested.items()])
        parts += [
            join(element("h3", key.replace("_", " ")), values_table(inner))
            for key, inner in list(nested.items())[:_MOST_ROWS]
        ]
        return join(*parts)
    if isinstance(value, list) and value and all(_is_plain(entry) for entry in value):
        return _records(value)
    return _named(flatten(value))


def metrics_table(record: RunRecord) -> Markup:
    """The last rows of metrics.csv."""
    names = [name for name in record.columns if any(name in row for row in record.rows)]
    rows = [[readable(row[name]) if name in row else "" for name in names] for row in record.rows[-_LAST_ROWS:]]
    return _table(names, rows)


def _is_judged(row: object) -> bool:
    return isinstance(row, Mapping) and isinstance(row.get("figures"), Mapping)


def _title(measure: Mapping[str, object]) -> str:
    title, unit = str(measure.get("title") or measure["key"]), measure.get("unit")
    return f"{title}, {unit}" if unit else title


def _figure(figure: object) -> str:
    if not isinstance(figure, Mapping):
        return _words(figure)
    spread = figure.get("spread")
    return _words(figure.get("value")) + (
        f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{_words(spread)}" if spread is not None else ""
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(inner, Mapping | list) for inner in value.values())


def _records(records: Sequence[Mapping[str, object]]) -> Markup:
    names = list(dict.fromkeys(name for record in records for name in record))
    return _table(names, [[_words(record.get(name, "")) for name in names] for record in records[:_MOST_ROWS]])


def _named(values: Mapping[str, object]) -> Markup:
    rows = [(name, _words(value)) for name, value in list(flatten(values).items())[:_MOST_ROWS]]
    return _table((), rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = (
        [element("thead", element("tr", *(element("th", str(name), scope="col") for name in names)))]
        if names
        else []
    )
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
        if row
    ]
    table = element("table", *head, element("tbody", *body))
    return element("div", table, class_="scroll", tabindex=0)


def _words(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash, as tables show what is not there
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return readable(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    return str(value)
