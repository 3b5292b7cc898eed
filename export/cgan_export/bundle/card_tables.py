"""The tables of the model card, in Markdown: the contract, the fidelity of each artifact, where it comes from.

What a checkpoint says of itself may hold anything: it is shown as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cgan_runtime.contract import (
    Condition,
    Contract,
    HeatmapEncoding,
    ImageEncoding,
    LabelEncoding,
    NoiseInput,
    Output,
    ScoreEncoding,
    Tensor,
    image_size,
)
from cgan_runtime.manifest import Artifact, Figure, Provenance
from cgan_runtime.pages import readable

from cgan_export.fidelity.labels import label_of, value_of

__all__ = ["contract_table", "fidelity_table", "kind_of", "origin_table", "plain"]

MOST_ITEMS: Final = 12
_MARKUP: Final = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#&~"} | dict.fromkeys("\r\n\t", " "))


def contract_table(contract: Contract) -> str:
    """A row for each tensor in the order of the call: what is given, what the seed fills, what comes back."""
    rows = [
        *(("condition", f"`{c.name}`", _described(c), _tensor(c)) for c in contract.conditions),
        *(("noise", f"`{n.name}`", _noise(n), _tensor(n)) for n in contract.noise),
        *(("output", f"`{o.name}`", _described(o), _tensor(o)) for o in contract.outputs),
    ]
    return _table(("", "name", "what it is", "tensor"), rows)


def fidelity_table(artifacts: Sequence[Artifact]) -> str:
    """A row for each check, a column for each artifact that was measured: the figure and its limit in brackets."""
    artifacts = [one for one in artifacts if one.fidelity]
    labels = {key: label_of(key, figure) for one in artifacts for key, figure in one.fidelity.items()}
    heads = ("check", *(f"`{one.label}`" for one in artifacts))
    return _table(heads, [(plain(label), *_figures(artifacts, key)) for key, label in labels.items()])


def origin_table(origin: Provenance) -> str:
    """The checkpoint, what it says of its training and of the network, and the export."""
    graph = f", graph `{origin.graph}`" if origin.graph != "main" else ""
    rows = [
        ("checkpoint", plain(origin.checkpoint) + graph),
        ("its SHA-256", f"`{origin.checkpoint_sha256}`"),
        *_rows("training", origin.training),
        *_rows("network", origin.options),
        ("exported", plain(origin.created.replace("T", " ").replace("+00:00", " UTC"))),
        ("command", f"`{origin.command.replace('`', ' ').replace('|', ' ')}`"),
        ("with", _value(origin.versions)),
    ]
    return _table(rows[0], rows[1:])


def kind_of(tensor: Condition | Output) -> str:
    """What a tensor is: "RGB image", "class"."""
    match tensor.encoding:
        case ImageEncoding(color=color):
            return "grey image" if color == "L" else f"{color} image"
        case LabelEncoding():
            return "class"
        case None:
            return "tensor"
        case encoding:
            return encoding.kind


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return text.translate(_MARKUP)


def _described(tensor: Condition | Output) -> str:
    """The kind, with what is known of it: "RGB image of 256 x 256 pixels: map"."""
    encoding, words = tensor.encoding, kind_of(tensor)
    if isinstance(encoding, ImageEncoding | HeatmapEncoding):
        size = image_size(tensor)
        words += f" of {size[1]} x {size[0]} pixels" if size else " of free size"
    elif isinstance(encoding, LabelEncoding):
        words += f", by number or name: {_value(encoding.names)}" if encoding.names else ", by number"
    elif isinstance(encoding, ScoreEncoding) and encoding.threshold is not None:
        words += f", {plain(encoding.positive) or 'positive'} from {encoding.threshold:g} on"
    return f"{words}: {plain(tensor.meaning)}" if tensor.meaning else words


def _noise(tensor: NoiseInput) -> str:
    parameters = "".join(f", {name} = {value:g}" for name, value in tensor.parameters.items())
    site = f", at {plain(tensor.site)}" if tensor.site else ""
    return f"`{tensor.distribution}`{parameters}{site}"


def _tensor(tensor: Tensor) -> str:
    shape = f"[{', '.join(map(str, tensor.shape))}]"
    limits = tensor.range if isinstance(tensor, Condition | Output) else None
    return f"{tensor.dtype} {shape}" + (f", {limits[0]:g} to {limits[1]:g}" if limits else "")


def _figures(artifacts: Iterable[Artifact], key: str) -> Iterable[str]:
    for one in artifacts:
        yield _figure(one.fidelity[key]) if key in one.fidelity else ""


def _figure(figure: Figure) -> str:
    return f"{value_of(figure)} ({'≤' if figure.rule == '<=' else '≥'} {figure.limit:.4g})"


def _rows(title: str, values: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """A row for each value that is there, those of inner dictionaries too: "training: dataset: name"."""
    for key, value in values.items():
        named = f"{title}: {plain(key.replace('_', ' '))}"
        if isinstance(value, Mapping):
            yield from _rows(named, value)
        elif value is not None:
            yield named, _value(value)


def _value(value: object) -> str:
    """A value of a checkpoint in words: lists with commas, a long one cut, a dictionary as "key value" pairs."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case float():
            return readable(value)
        case Mapping():
            return ", ".join(f"{plain(str(key))} {_value(one)}" for key, one in value.items() if one is not None)
        case list() | tuple():
            more = f" and {len(value) - MOST_ITEMS} more" if len(value) > MOST_ITEMS else ""
            return ", ".join(_value(one) for one in value[:MOST_ITEMS]) + more
        case _:
            return plain(str(value))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))
