"""dataset.json: what it may say, and what is refused before it reaches a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.description import read_description


@pytest.mark.parametrize(
    "told",
    [
        '{"name": "a\\u001b[31mb"}',
        '{"name": "a\\ud800"}',
        '{"name": "a\\nb"}',
        '{"name": ["a"]}',
        f'{{"name": "{"a" * 201}"}}',
        '{"name": "a", "classes": ["cat", "dog\\u0007"]}',
        '{"name": "a", "domains": {"A": "map", "B": "\\udfff"}}',
        '{"name": "a", "palettes": {"A": {"names": ["\\u0000"], "colors": [[1, 2, 3]]}}}',
        '{"name": "a", "palettes": {"A": {"names": ["sea"], "colors": [[1e999, 0, 0]]}}}',
        '{"name": "a", "palettes": {"A": {"names": ["sea"], "colors": [[NaN, 0, 0]]}}}',
        '{"name": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"name": "a"}' + " " * (16 << 20),
    ],
)
def test_a_description_that_says_no_names_and_colours_is_refused_in_one_line(tmp_path: Path, told: str) -> None:
    """Names go into checkpoints and bundles, which take text only: better before a training than after it."""
    (tmp_path / "dataset.json").write_text(told)
    with pytest.raises(BadInputError, match=r"dataset\.json cannot be read \(.+\): repair or remove it") as refused:
        read_description(tmp_path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_names_in_any_script_stay_as_they_are(tmp_path: Path) -> None:
    names = ["Füße", "猫\u3000犬", "a\u00a0b", "👩‍🚀", "7"]
    (tmp_path / "dataset.json").write_text(json.dumps({"name": names[0], "classes": names}), encoding="utf-8")
    assert read_description(tmp_path).classes == tuple(names)
