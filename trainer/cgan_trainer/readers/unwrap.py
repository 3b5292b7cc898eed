"""Finds the generator's state dict inside whatever a training script saved around it.

Every dict of tensors in the file, and every group of keys with a common beginning, is shown to the readers: what
one of them recognises is a generator, whatever it is called. Names are asked only where there are several.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from cgan_runtime.errors import BadInputError, UsageError
from torch import Tensor

from cgan_trainer.part_names import direction_of, is_average, is_rival, kin
from cgan_trainer.readers.rejections import is_discriminator, is_munit
from cgan_trainer.readers.reparametrization import plain_key

__all__ = ["Part", "Unwrapped", "generators_in", "state_from"]

State = dict[str, Tensor]
Recognised = Callable[[Mapping[str, Tensor]], bool]
Direction = Literal["AtoB", "BtoA"]

_PREFIXES: Final = ("module.", "_orig_mod.")
MAX_DEPTH: Final = 6
MOST_NAMED: Final = 8


@dataclass(frozen=True, kw_only=True)
class Part:
    """One network of a file.

    Attributes:
        path: the keys that lead to it, joined by dots; "" for the file itself.
        state: its tensors by key, without the path.
        steps: which prefixes were taken off, in words.
    """

    path: str
    state: State
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Unwrapped:
    """The part that was taken, what was taken off it in words, and what the parts of the file are called.

    Attributes:
        part: as it lies in the file.
        steps: in words, for the user.
        name: of the part, "" where the file holds one network only.
        names: of all generators in the file.
    """

    part: Part
    steps: list[str]
    name: str = ""
    names: tuple[str, ...] = ()


def generators_in(content: Any, label: str, recognised: Recognised) -> tuple[list[Part], tuple[str, ...]]:
    """Every generator in a file, and what each is called; none where the file has no layout that is known.

    Args:
        content: what the file holds.
        label: the file, for messages.
        recognised: whether these are the weights of a layout some reader knows.

    Raises:
        BadInputError: no weights can be in it.
    """
    if not isinstance(content, Mapping):
        raise BadInputError(
            f"{label} holds a {type(content).__name__}, not a state dict: save generator.state_dict()."
        )
    found = [part for path, state in _states(content, ()) for part in _known_parts(path, state, recognised)]
    found = _without_rivals(found)
    found = _without_doubles(found) if len(found) > 1 else found
    return found, _names(found)


def state_from(
    content: Any,
    label: str,
    recognised: Recognised,
    *,
    direction: Direction | None = None,
    graph: str | None = None,
) -> Unwrapped:
    """The state dict of the generator, tensors only.

    Args:
        content: as for `generators_in`, like the next two.
        label: the file.
        recognised: whether a layout is known.
        direction: which of two generators to take, where their names say it.
        graph: the name of the one to take.

    Raises:
        BadInputError: no state dict of a generator is in it, or several are and none was chosen.
        UsageError: no generator has the name that was chosen.
    """
    found, names = generators_in(content, label, recognised)
    if not found:
        return _of_unknown_layout(content, list(_states(content, ())), label)
    chosen = _chosen(found, names, label, direction, graph)
    part = found[chosen]
    several = len(found) > 1
    note = ", the averaged weights" if is_average(part.path) else ""
    steps = [f"taken from {part.path!r}{note}"] if part.path else []
    return Unwrapped(
        part=part,
        steps=[*steps, *part.steps],
        name=names[chosen] if several else "",
        names=names if several else (),
    )


def _states(content: Mapping[Any, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], State]]:
    """Every dict that holds tensors, with the keys that lead to it; optimisers are left out."""
    if "param_groups" in content:
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    if len(path) < MAX_DEPTH:
        for key, value in content.items():
            if isinstance(value, Mapping):
                yield from _states(value, (*path, str(key)))


def _known_parts(path: tuple[str, ...], state: State, recognised: Recognised) -> list[Part]:
    """The state dict, or those groups of its keys, that a reader recognises."""
    steps = []
    for _ in range(MAX_DEPTH):
        shared = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if shared is None:
            break
        steps.append(f"prefix {shared!r} removed")
        state = {key.removeprefix(shared): value for key, value in state.items()}
    if recognised({plain_key(key): value for key, value in state.items()}):
        return [Part(path=".".join(path), state=state, steps=tuple(steps))]
    if len(path) >= MAX_DEPTH:
        return []
    groups: dict[str, State] = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        if rest:
            groups.setdefault(head, {})[rest] = value
    return [part for head, group in groups.items() for part in _known_parts((*path, head), group, recognised)]


def _without_rivals(parts: list[Part]) -> list[Part]:
    """Without discriminators by name, and without weights of which the file also has the average."""
    parts = [part for part in parts if not is_rival(part.path)] or parts
    averaged = {kin(part.path) for part in parts if is_average(part.path)}
    return [part for part in parts if is_average(part.path) or kin(part.path) not in averaged]


def _without_doubles(parts: list[Part]) -> list[Part]:
    """Without parts that are equal to one before them, as where a script saves a net under two names."""
    kept: dict[str, Part] = {}
    for part in parts:
        kept.setdefault(_digest(part.state), part)
    return list(kept.values())


def _digest(state: State) -> str:
    """Of keys, types, shapes and bytes. Each part is read once, where comparing all with all has no such bound."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(f"{key!r} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _names(parts: list[Part]) -> tuple[str, ...]:
    """What each part is called: its last key, or the whole path where two have the same."""
    last = [
        next((key for key in reversed(part.path.split(".")) if f"{key}." not in _PREFIXES), "") for part in parts
    ]
    times = Counter(last)
    return tuple(
        name if name and times[name] == 1 else part.path or "main" for name, part in zip(last, parts, strict=True)
    )


def _chosen(
    parts: list[Part], names: tuple[str, ...], label: str, direction: Direction | None, graph: str | None
) -> int:
    """Which of the parts is meant."""
    if graph is not None:
        return _by_name(parts, names, label, graph)
    if len(parts) == 1:
        return 0
    ways = [direction_of(part.path) for part in parts]
    if direction is not None and ways.count(direction) == 1:
        return ways.index(direction)
    flags = " or ".join(f"--graph {name}" for name in names[:2])
    if ways.count("AtoB") == ways.count("BtoA") == 1:
        flags = f"--direction AtoB ({names[ways.index('AtoB')]}) or --direction BtoA, or --graph NAME"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    raise BadInputError(
        f"{label} holds {len(names)} generators ({', '.join(names[:MOST_NAMED])}{more}): choose one with {flags}."
    )


def _by_name(parts: list[Part], names: tuple[str, ...], label: str, graph: str) -> int:
    for spelling in (names, tuple(part.path for part in parts)):
        if spelling.count(graph) == 1:
            return spelling.index(graph)
    if len(parts) == 1 and not parts[0].path:
        raise UsageError(f"--graph {graph} is for files with several networks; {label} holds one: leave it out.")
    by_case = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(graph.casefold(), by_case, n=1, cutoff=0.5)
    hint = f" Did you mean {by_case[near[0]]}?" if near else ""
    raise UsageError(f"--graph {graph} is not in {label}, which holds {', '.join(names[:MOST_NAMED])}.{hint}")


def _of_unknown_layout(
    content: Mapping[Any, Any], states: list[tuple[tuple[str, ...], State]], label: str
) -> Unwrapped:
    """The only state dict that is no discriminator, for the rejections to say what it is."""
    if not states:
        if "param_groups" in content:
            raise BadInputError(
                f"{label} is the state of an optimiser, without any network: export the generator, for example "
                "latest_net_G.pth."
            )
        raise BadInputError(
            f"{label} holds no weights ({', '.join(map(str, list(content)[:3])) or 'nothing'}): save "
            "generator.state_dict()."
        )
    parts = [Part(path=".".join(path), state=state) for path, state in states]
    nets = [part for part in parts if not (is_rival(part.path) or is_discriminator(part.state))]
    if len(nets) > 1 and not is_munit(nets[0].state):
        paths = [part.path or "the file itself" for part in nets]
        more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
        raise BadInputError(
            f"{label} holds several parts ({', '.join(paths[:MOST_NAMED])}{more}), and none has the keys of a "
            "generator known here: see docs/checkpoints.md for those that are."
        )
    part = (nets or parts)[0]
    return Unwrapped(part=part, steps=[f"taken from {part.path!r}"] if part.path else [])
