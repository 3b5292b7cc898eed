"""HTML put together from elements; text is escaped by the only function that can make an element."""

from __future__ import annotations

import html

__all__ = ["Markup", "element", "join"]

_VOID = {"img", "input", "meta"}


class Markup(str):
    """HTML that was made here. Everything else is text, whatever it looks like."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: object) -> Markup:
    """One element.

    Args:
        name: of the tag.
        children: `Markup` goes in as it is; any other text is escaped.
        attributes: `class_` for class, `aria_label` for aria-label; True for a bare one, None or False for none.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            attribute = key.rstrip("_").replace("_", "-")
            words.append(attribute if value is True else f'{attribute}="{html.escape(str(value))}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in _VOID else f"{start}{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Elements and escaped text, one after the other."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))
