"""Every YAML file that people read is written alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from yamllint import linter
from yamllint.config import YamlLintConfig

from tests.deploy.manifests import DEPLOY

RULES = YamlLintConfig(
    "{extends: default, rules: {document-start: disable, line-length: {max: 120},"
    " comments: {min-spaces-from-content: 1}}}"
)
FILES = [path for path in DEPLOY.rglob("*.yaml") if path.parent.name != "templates"]


def test_there_are_files() -> None:
    assert len(FILES) >= 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_yamllint_finds_nothing(path: Path) -> None:
    assert [str(problem) for problem in linter.run(path.read_text(), RULES, str(path))] == []
