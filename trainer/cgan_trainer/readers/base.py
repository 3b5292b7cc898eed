"""What a reader is, what the user may choose for it, and how a state dict becomes a generator.

A reader knows one layout. It looks at keys and shapes alone and makes a `Plan`: our own network without data,
and for each of its tensors the key it has in the file. `build` checks the plan against the file to the last
tensor before anything is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from cgan_runtime.errors import BadInputError, UsageError
from torch import Tensor

from cgan_trainer.generator import Generator
from cgan_trainer.part_names import direction_of

__all__ = ["Choices", "Entry", "Filter", "Notes", "Plan", "Reader", "State", "build", "difference", "mismatches"]

State = Mapping[str, Tensor]
Filter = Literal["bicubic", "bilinear", "box", "nearest"]
Rounding = Literal["nearest", "truncate"]

# Kept by batch norm beside its statistics, and used nowhere here.
IGNORED = re.compile(r"(^|\.)num_batches_tracked$")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user says about a file that does not say it. None: the source's own default, noted as assumed.

    Attributes:
        direction: which way the data went; it names the two sides, the weights stay as they are.
        source: what the condition shows.
        target: what the image shows.
        size: (h, w) of the condition.
        dropout: live or not.
        eps: of every norm.
        variant: a named deviation of a layout, see the reader.
        rounding: how a value becomes an 8-bit pixel.
        filter: how a condition of another size is resampled.
        statistics: what batch norm goes by; the exporter applies it, the reader only need not assume it.
        graph: which graph of a checkpoint of ours (None: its first), or which generator of a file with several.
        palette: RGB 0..255 of each class, where the condition is a label map of one channel per class.
    """

    direction: Literal["AtoB", "BtoA"] | None = None
    source: str | None = None
    target: str | None = None
    size: tuple[int, int] | None = None
    dropout: bool | None = None
    eps: float | None = None
    variant: str | None = None
    rounding: Rounding | None = None
    filter: Filter | None = None
    statistics: Literal["per_sample", "running", "none"] | None = None
    graph: str | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None

    def given(self) -> tuple[str, ...]:
        """Names of what the user said about a file from other code; statistics may be chosen for any."""
        return tuple(name for name, value in vars(self).items() if value is not None and name != "statistics")


@dataclass(kw_only=True)
class Notes:
    """What a reader found in the file and what it had to assume, in words, as it goes along.

    `part` is the name of the part of the file that is read, "" where it is the whole.
    """

    label: str
    file_name: str
    choices: Choices
    part: str = ""
    inferred: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    @property
    def direction(self) -> Literal["AtoB", "BtoA"] | None:
        """Which way the net goes, if the name of the part or of the file says it."""
        return direction_of(self.part) or direction_of(self.file_name.partition(".")[0])

    def found(self, *facts: str) -> None:
        """Note what keys and shapes say."""
        self.inferred.extend(facts)

    def choose(self, name: str, default: Any, words: str, flag: str) -> Any:
        """The user's choice, else `default`, which is then noted as `words` with the flag that changes it."""
        self.used.add(name)
        given = getattr(self.choices, name)
        if given is not None:
            return given
        self.assumed.append(f"{words} ({flag})" if flag else words)
        return default


@dataclass(frozen=True)
class Entry:
    """Where one tensor of our network lies in the file, and how it is turned (None: as it is)."""

    key: str
    turn: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network without data, and where its tensors are.

    Attributes:
        make: the generator, called under the meta device.
        prefix: of its keys before the ones in `entries` ("net.").
        entries: our key to the file's.
        options: plain values that describe the network, for the bundle.
        unused: keys of the file that this layout has and the network does not need.
        constants: tensors of the generator that no file holds, by their whole key.
    """

    make: Callable[[], Generator]
    entries: Mapping[str, Entry]
    options: Mapping[str, Any]
    prefix: str = "net."
    unused: frozenset[str] = frozenset()
    constants: Mapping[str, Tensor] = field(default_factory=dict)


class Reader(Protocol):
    """One layout of state dicts. It exists so that a new source is one file and one line in the table."""

    @property
    def name(self) -> str:
        """The family's name in a bundle."""

    @property
    def title(self) -> str:
        """The source in words."""

    @property
    def keys(self) -> re.Pattern[str]:
        """Matches every key of the layout."""

    def recognises(self, state: State) -> bool:
        """Whether these are weights of this layout, complete or not."""

    def plan(self, state: State, notes: Notes) -> Plan:
        """The network. Raises KeyError where an expected key is missing, ValueError where shapes contradict."""


def build(reader: Reader, state: State, notes: Notes) -> tuple[Generator, dict[str, Any]]:
    """The generator with the file's weights, in `eval()`, and its options.

    Raises:
        BadInputError: the weights are not those of one network of this layout.
        UsageError: a choice that this network does not have.
    """
    try:
        plan = reader.plan(state, notes)
        with torch.device("meta"):
            generator = plan.make()
    except KeyError as error:
        raise difference(notes.label, reader.title, [f"{error.args[0]} is missing"]) from error
    except UsageError:  # a choice of the user's that does not fit: it says so itself
        raise
    except (ValueError, IndexError, RuntimeError, TypeError, OverflowError) as error:
        text = " ".join(str(error).split())[:150]
        raise BadInputError(
            f"{notes.label} has the keys of {reader.title} but no such network can be built ({text}): "
            "export from an undamaged file."
        ) from error
    superfluous = sorted(set(notes.choices.given()) - notes.used - {"graph"})
    if superfluous:
        raise UsageError(f"--{superfluous[0]} means nothing for {reader.title}: leave it out.")
    wrong = mismatches(plan, generator, state)
    if wrong:
        raise difference(notes.label, reader.title, wrong)
    weights = {f"{plan.prefix}{ours}": _turned(state[entry.key], entry) for ours, entry in plan.entries.items()}
    weights |= plan.constants
    weights |= {name: torch.zeros((), dtype=torch.int64) for name in generator.state_dict() if IGNORED.search(name)}
    generator.load_state_dict(weights, strict=True, assign=True)
    return generator.eval().requires_grad_(requires_grad=False), dict(plan.options)


def mismatches(plan: Plan, generator: Generator, state: State) -> list[str]:
    """How the file differs from what the network needs, one phrase per key, missing keys first."""
    wanted = {name: value.shape for name, value in generator.state_dict().items() if not IGNORED.search(name)}
    ours = {f"{plan.prefix}{name}": entry for name, entry in plan.entries.items()}
    mine = ours.keys() | plan.constants.keys()
    assert wanted.keys() == mine, sorted(wanted.keys() ^ mine)  # noqa: S101 - a reader's own slip
    missing = [f"{entry.key} is missing" for entry in ours.values() if entry.key not in state]
    known = {entry.key for entry in ours.values()} | plan.unused
    extra = [f"{key} is not expected" for key in state if key not in known and not IGNORED.search(key)]
    shaped = []
    for name, entry in ours.items():
        if entry.key in state and _turned_shape(state[entry.key], entry) != tuple(wanted[name]):
            shaped.append(f"{entry.key} has the shape {list(state[entry.key].shape)}")
    return missing + shaped + extra


def difference(label: str, title: str, wrong: list[str]) -> BadInputError:
    """The refusal that names the nearest layout and the first three differences."""
    count = f"{len(wrong)} key{'s' if len(wrong) > 1 else ''}"
    return BadInputError(
        f"{label} is nearest to {title} but differs in {count}: {', '.join(wrong[:3])}; export a generator of a "
        "known layout (docs/checkpoints.md)."
    )


def _turned(value: Tensor, entry: Entry) -> Tensor:
    turned = value if entry.turn is None else entry.turn(value)
    return turned.to(torch.float32).contiguous()


def _turned_shape(value: Tensor, entry: Entry) -> tuple[int, ...] | None:
    try:
        return tuple(value.shape if entry.turn is None else entry.turn(value.to("meta")).shape)
    except RuntimeError:  # a turn of a tensor with another number of axes
        return None
