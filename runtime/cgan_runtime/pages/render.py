"""Templates to pages: text is escaped, a value that is missing is an error, style and script are part of the page.

A template lies in the folder of the package that uses it (`run.html.j2`, `report.html.j2`) and extends
`base.html.j2` of this folder. The page's own policy forbids the browser to load anything and to run any script but
`page.js`, which it knows by its hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cgan_runtime import __version__
from cgan_runtime.atomic import write_atomic

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["render", "write_page"]

SHARED: Final = Path(__file__).parent


def render(template: Path, /, **values: object) -> Markup:
    """A template filled with values; what comes back can stand in another template as it is.

    Args:
        template: the file. It may extend, include and import templates of its own folder and of this one.
        values: by the names that the template uses; strings are escaped, `Markup` is not.

    Raises:
        jinja2.UndefinedError: the template uses a name that has no value.
        jinja2.TemplateNotFound: there is no such file.
    """
    from markupsafe import Markup

    return Markup(_environment(template.parent).get_template(template.name).render(values))  # noqa: S704 - escaped


def write_page(path: Path, template: Path, /, **values: object) -> None:
    """Render a whole page into a file, complete or not at all.

    A name may hold what no encoding has (half of a surrogate pair): it is written as a question mark.
    """
    write_atomic(path, render(template, **values).encode(errors="replace"))


@functools.cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(_globals())
    return environment


@functools.cache
def _globals() -> dict[str, object]:
    """What `base.html.j2` puts into every page."""
    from markupsafe import Markup

    style, script = ((SHARED / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    rules = (
        "default-src 'none'",
        "img-src data:",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return {
        "style": Markup(style),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "policy": "; ".join(rules),
        "version": __version__,
    }


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
