"""What a caller gives for the conditions of a contract, by name, as tensors of one sample."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from cgan_runtime.contract import Condition, Contract, LabelEncoding
from cgan_runtime.encodings import Given, encoder_of
from cgan_runtime.errors import UsageError
from cgan_runtime.runners.base import Array

__all__ = ["encode_conditions", "label_condition", "require_all"]


def encode_conditions(name: str, contract: Contract, given: Mapping[str, Given]) -> dict[str, Array]:
    """The tensor (no batch axis) of every condition that is given.

    Args:
        name: of the generator, for messages.
        contract: of the generator.
        given: condition -> what each encoding takes: a number, a name, a path, a list.

    Raises:
        UsageError: the generator has no such condition, or what is given does not fit it.
        BadInputError: a file that cannot be used.
    """
    known = {condition.name: condition for condition in contract.conditions}
    encoded: dict[str, Array] = {}
    for key, value in given.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; it takes {', '.join(known) or 'none'}."
            raise UsageError(f"{name} has no condition {key}{hint}")
        encoded[key] = encoder_of(known[key]).encode(value, known[key], sides=contract.sides)
    return encoded


def require_all(name: str, contract: Contract, given: Mapping[str, object]) -> None:
    """Stop where a condition is missing.

    Raises:
        UsageError: names the condition, its option and what may be given.
    """
    for condition in contract.conditions:
        if condition.name not in given:
            raise UsageError(
                f"{name} needs {condition.name}: give --{condition.name.replace('_', '-')} "
                f"{encoder_of(condition).choices(condition)}."
            )


def label_condition(name: str, contract: Contract) -> Condition:
    """The condition that --label means: the one of that name, else the only label.

    Raises:
        UsageError: there is none, or there are several.
    """
    labels = [c for c in contract.conditions if isinstance(c.encoding, LabelEncoding)]
    named = [c for c in contract.conditions if c.name == "label"] or labels
    if len(named) == 1:
        return named[0]
    takes = ", ".join(c.name for c in (labels or contract.conditions)) or "no condition"
    raise UsageError(f"{name} has {'several labels' if labels else 'no label'}; it takes {takes}.")
