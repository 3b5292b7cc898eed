"""What the name of a part says: an average of the weights, a discriminator, one direction of a pair."""

from __future__ import annotations

import re
from typing import Final, Literal

__all__ = ["direction_of", "is_average", "is_rival", "kin"]

_WORD: Final = re.compile(
    r"[A-Z]2[A-Z]|[a-z]2[a-z](?![a-z])"  # A2B, a2b
    r"|[A-Z](?=[A-Z][a-z])|[A-Z]+(?![a-z])"  # G of GModel, G, AB
    r"|[A-Z]?[a-z]+?(?=[a-z]2[a-z](?![a-z]))|[A-Z]?[a-z]+"  # gen of gena2b, Generator, net
    r"|\d+"
)
_AVERAGES: Final = frozenset({"ema", "averaged", "average", "shadow"})
# Words for a generator, and for the wrapper around one.
_GENERIC: Final = frozenset(
    {"g", "gen", "generator", "generators", "net", "nets", "network", "networks", "model", "models", "module"}
    | {"state", "dict", "params", "parameters", "weights", "state_dict", "translator", "my"}
)
_NETS: Final = frozenset({"g", "gen", "generator", "net"})
_RIVALS: Final = frozenset({"d", "dis", "disc", "discriminator", "discriminators", "critic"})
_TO_B: Final = frozenset({"a", "ab", "a2b", "atob"})
_TO_A: Final = frozenset({"b", "ba", "b2a", "btoa"})


def is_average(path: str) -> bool:
    """Whether a part is named as an average of the weights: g_ema, params_ema, ema_generator."""
    return not _AVERAGES.isdisjoint(_words(path))


def is_rival(path: str) -> bool:
    """Whether a part is named as a discriminator: netD, D_A, disc."""
    return not _RIVALS.isdisjoint(_words(path))


def kin(path: str) -> str:
    """What is left of a name without the words for generator, wrapper and average: "" for netG, "a" for netG_A."""
    return " ".join(word for word in _words(path) if word not in _AVERAGES | _GENERIC)


def direction_of(path: str) -> Literal["AtoB", "BtoA"] | None:
    """AtoB for G_A, netG_A2B, genA2B, G_AB and latest_net_G_A; None where the name is not of a pair."""
    words = _words(path)
    for word in reversed(words):
        if word in _TO_B or word in _TO_A:
            # Beside a word for a net only: G_A is one of a pair, photo_a is not.
            named = not _NETS.isdisjoint(words)
            return ("AtoB" if word in _TO_B else "BtoA") if named else None
    return None


def _words(path: str) -> list[str]:
    """The words of a name in lower case: netG_A2B is net, g, a2b; genA2B is gen, a2b."""
    return [word.lower() for word in _WORD.findall(path.replace("AtoB", "A2B").replace("BtoA", "B2A"))]
