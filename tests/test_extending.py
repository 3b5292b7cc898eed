"""What docs/extending.md shows is what happens: each of its examples runs, in an empty folder of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cgan_export.fidelity.gates import GATES
from cgan_export.fidelity.labels import MEANINGS
from cgan_runtime.runners import RUNNERS
from cgan_trainer.configs import CONFIGS
from cgan_trainer.families import FAMILIES
from cgan_trainer.readers import READERS

from tests.helpers import REPOSITORY

PAGE = REPOSITORY / "docs" / "extending.md"
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS = {title: BLOCK.findall(text) for title, text in SECTION.findall(PAGE.read_text())}
TITLES = ("A family", "A reader", "A runner", "A measure", "A gate", "A dataset", "A kind of data")


@pytest.fixture
def _tables_as_they_were() -> Iterator[None]:
    """An example adds to the tables of the packages; the next test must not see it."""
    tables: list[dict[str, object]] = [CONFIGS, FAMILIES, RUNNERS, GATES, MEANINGS]  # type: ignore[list-item]  # any values
    before, readers = [dict(table) for table in tables], list(READERS)
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
    READERS[:] = readers


def test_every_extension_point_has_one_example() -> None:
    assert {title: len(blocks) for title, blocks in SECTIONS.items()} == dict.fromkeys(TITLES, 1)


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.usefixtures("_tables_as_they_were")
def test_the_example_works(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = SECTIONS[title]
    assert re.search(r"^(assert |\w+\.testing\.)", code, re.MULTILINE), "an example ends by showing that it works"
    # A module of its own, under a name that imports: dataclasses and RUNNERS look modules up by it.
    module = ModuleType("example_" + title.lower().replace(" ", "_"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"{PAGE.name}, {title}", "exec"), module.__dict__)  # our own page
