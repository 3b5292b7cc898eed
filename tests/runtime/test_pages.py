"""The pages: text stays text, nothing is loaded, and what is written can be read in light and dark."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import jinja2
import numpy as np
import pytest
from cgan_runtime import __version__
from cgan_runtime.pages import CaptionedImage, Cell, Exhibit, Table, data_uri, readable, render, write_page
from markupsafe import Markup
from PIL import Image

from tests.pages import HOSTILE, STYLE, check_page

PAGE = """{% extends "base.html.j2" %}
{% import "parts.html.j2" as parts %}
{% block status %}{{ parts.status(status, "ok") }}{% endblock %}
{% block lead %}{{ parts.keys(figures) }}{% endblock %}
{% block content %}
{% call parts.section("one", title, lead) %}
{{ parts.table(table) }}{{ parts.exhibits(rows) }}{{ parts.command(words) }}{{ parts.notes(notes) }}
{% endcall %}
{% endblock %}
"""
PIXEL = data_uri(Image.new("RGB", (2, 2), (10, 20, 30)), "png")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "some.html.j2"
    path.write_text(PAGE)
    return path


def values(text: str) -> dict[str, object]:
    """Everything that the macros show, made of one text."""
    return {
        "title": text,
        "kicker": text,
        "status": text,
        "lead": text,
        "figures": [(text, text, text), (text, "1", "")],
        "table": Table(heads=(text, text), rows=((text, Cell(text=text, mark="best", note=text)), (text, "2"))),
        "rows": [Exhibit(images=(CaptionedImage(uri=PIXEL, heading=text, alt=text),), caption=(text, text))],
        "words": [text, text],
        "notes": [text],
    }


def test_text_stays_text_in_every_macro(template: Path) -> None:
    page = render(template, **values(HOSTILE))
    elements = check_page(page)
    assert elements.text.count(HOSTILE) == page.count("&lt;img src=http") - 1  # one is the alt of the image
    assert elements.text.count(HOSTILE) >= 18
    assert elements.all("img") == [{"src": PIXEL, "alt": HOSTILE}]


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Run `a <b>` or `c`.", "Run <code>a &lt;b&gt;</code> or <code>c</code>."),
        ("Of `one` pair and a ` no word is code.", "Of `one` pair and a ` no word is code."),
        ("No code.", "No code."),
    ],
)
def test_words_between_backticks_are_code(template: Path, sentence: str, shown: str) -> None:
    page = render(template, **{**values("x"), "lead": sentence, "notes": [sentence]})
    check_page(page)
    assert f'<p class="quiet">{shown}</p>' in page
    assert f"<li>{shown}</li>" in page


def test_what_was_rendered_can_stand_in_another_template(tmp_path: Path, template: Path) -> None:
    (tmp_path / "inner.html.j2").write_text("<b>{{ text }}</b>")
    inner = render(tmp_path / "inner.html.j2", text="<i>")
    assert inner == "<b>&lt;i&gt;</b>"
    assert "<b>&lt;i&gt;</b>" in render(template, **{**values("x"), "lead": inner})
    assert "&lt;b&gt;" in render(template, **{**values("x"), "lead": str(inner)})
    assert isinstance(inner, Markup)


@pytest.mark.parametrize("name", list(values("x")))
def test_a_missing_value_is_an_error_and_not_a_hole(template: Path, name: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match=f"'{name}' is undefined"):
        render(template, **{key: value for key, value in values("x").items() if key != name})


def test_templates_of_two_folders_do_not_meet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.html.j2").write_text(name)
    assert [render(tmp_path / name / "t.html.j2") for name in ("a", "b", "a")] == ["a", "b", "a"]
    with pytest.raises(jinja2.TemplateNotFound):
        render(tmp_path / "nothing.html.j2")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, template: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, template, **values("a\udcff \N{SNOWMAN}"))
    assert "a? \N{SNOWMAN}" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(jinja2.UndefinedError):
        write_page(path, template)
    assert path.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["page.html", "some.html.j2"]


def test_marks_and_kinds_of_rows_have_a_look(template: Path) -> None:
    rows = (
        ("a", Cell(text="1", mark="bad")),
        ("b", Cell(text="2", mark="ok")),
        ("c", Cell(text="3", mark="quiet")),
    )
    table = Table(rows=rows, text=True, quiet=frozenset({1}), strong=frozenset({2}))
    page = render(template, **{**values("x"), "table": table})
    check_page(page)  # every class is one of page.css
    assert re.findall(r"<tr(.*?)>", page) == ["", ' class="quiet"', ' class="strong"']
    assert "<thead>" not in page


def test_the_version_is_on_every_page(template: Path) -> None:
    assert f"Written by cgan-deploy {__version__}." in check_page(render(template, **values("x"))).text


def test_the_style_loads_nothing_and_knows_dark_and_narrow_screens() -> None:
    assert not re.search(r"url\(|@import|//|\\|</", STYLE)
    assert "color-scheme: light dark" in STYLE
    narrow = re.search(r"@media \(max-width: (\d+)px\)", STYLE)
    assert narrow is not None
    assert int(narrow[1]) >= 430  # the widest phones
    assert ".scroll { margin: 12px 0; overflow-x: auto;" in STYLE
    light, dark = palettes()
    assert set(light) == set(dark)
    assert all(light[name] != dark[name] for name in light)


def palettes() -> tuple[dict[str, str], dict[str, str]]:
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", text)) for text in re.findall(r":root \{([^}]*)\}", STYLE)
    )
    return light, dark


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a: str, b: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_published_examples() -> None:
    """#777 on white is the example that just misses 4.5."""
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_everything_can_be_read(scheme: int) -> None:
    """4.5 for text and 3 for lines of charts: level AA of WCAG 2.2."""
    colors = palettes()[scheme]
    for paper in ("paper", "card"):
        for ink in ("ink", "quiet", "accent", "ok", "bad", "open"):
            assert contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)
        for line in ("c0", "c1", "c2", "c3"):
            assert contrast(colors[line], colors[paper]) >= 3, (line, paper)
    for mark in ("ok", "open", "bad"):
        assert contrast(colors[mark], colors[f"{mark}-paper"]) >= 4.5, mark
    for ink in ("ink", "quiet", "bad"):  # a row to look at first
        assert contrast(colors[ink], colors["bad-paper"]) >= 4.5, ink


def test_data_uris_hold_the_image() -> None:
    image = Image.effect_noise((40, 32), 80).convert("RGB")
    errors: dict[Literal["png", "webp", "jpeg"], int] = {"png": 0, "webp": 40, "jpeg": 40}
    for kind, error in errors.items():
        uri = data_uri(image, kind, quality=95)
        start = f"data:image/{kind};base64,"
        assert uri.startswith(start)
        back = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(start))))
        assert back.format == kind.upper()
        assert np.abs(np.asarray(back.convert("RGB"), dtype=float) - np.asarray(image)).mean() <= error
    assert len(data_uri(image, quality=10)) < len(data_uri(image, quality=90))


def test_infinite_figures_are_written_with_their_sign() -> None:
    assert [readable(float(text)) for text in ("inf", "-inf", "nan")] == ["∞", "-∞", "nan"]


def test_the_templates_are_loaded_only_where_a_page_is_written() -> None:
    code = (
        "import sys, cgan_runtime.pages\n"
        "print(sorted({'jinja2', 'PIL', 'numpy', 'pydantic', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
