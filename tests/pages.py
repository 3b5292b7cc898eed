"""What every HTML page of ours must be, whatever it shows: `check_page` holds a page to it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shlex
from html.parser import HTMLParser

from cgan_runtime.pages.render import SHARED

__all__ = ["HOSTILE", "Elements", "check_page"]

VOID = {"meta", "img", "input"}
HOSTILE = "\"><script>alert(1)</script>&'<img src=http://x.example/>"


class Elements(HTMLParser):
    """Refuses tags that do not pair; keeps every element with its attributes, and what a reader sees as text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        page = str(page)  # not Markup, which would escape what it is compared with
        self.page = page
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]

    def commands(self) -> list[list[str]]:
        codes = re.findall(r"<code>(.*?)</code>", self.page, re.DOTALL)
        return [shlex.split(html.unescape(re.sub(r"<[^>]*>", "", code))) for code in codes]


def check_page(page: str) -> Elements:
    """One valid page in the common look, that loads nothing and runs nothing but its own script."""
    elements = Elements(page)
    assert page.startswith("<!doctype html>\n<html")
    for name, attributes in elements.found:
        assert name not in ("link", "iframe", "object", "embed", "base", "form"), name
        assert not any(key.startswith("on") or key == "style" for key in attributes), attributes
        assert (attributes.get("src") or "data:image/").startswith("data:image/")
        assert "srcset" not in attributes
        assert name != "img" or "alt" in attributes, "an image that a blind reader does not know of"
        assert name != "svg" or attributes.get("aria-label")
        for word in (attributes.get("class") or "").split():
            assert re.search(rf"\.{re.escape(word)}\b", STYLE) or word == "dot", f"page.css has no .{word}"
    assert [page.count(f"<{tag}>") for tag in ("style", "script", "h1", "footer")] == [1, 1, 1, 1]
    policy = next(a["content"] or "" for a in elements.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag, text in (("style", STYLE), ("script", SCRIPT)):
        assert page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0] == text
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] or "" for a in elements.all("a")]
    assert all(not re.match(r"[a-z]+:|//", target) for target in targets)
    assert all(target[1:] in ids for target in targets if target.startswith("#"))
    return elements


STYLE = (SHARED / "page.css").read_text(encoding="utf-8")
SCRIPT = (SHARED / "page.js").read_text(encoding="utf-8")
