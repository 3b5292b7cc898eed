from __future__ import annotations

import json
import math

import pytest
from cgan_trainer.evaluation import Column, Figure, Row
from cgan_trainer.evaluation.result import Evaluation, as_text, columns_of
from cgan_trainer.evaluation.table import joint_rows, print_table


def column(key: str, title: str = "", decimals: int = 2) -> Column:
    return Column(
        key=key, title=title or key, unit="u", better="lower", decimals=decimals, source=f"paper of {key}"
    )


def evaluation(run: str, *names: str, keys: tuple[str, ...] = ("cycle",), sha256: str = "x") -> Evaluation:
    figures = {key: Figure(value=1.5, spread=0.25, each=(1.0, 2.0)) for key in keys}
    return Evaluation(
        run=run,
        weights="last.pt",
        weights_sha256="0" * 64,
        images=7,
        dataset="data",
        data="folder",
        split="test",
        files=("A/0.png", "B/0.png"),
        available=2,
        images_sha256=sha256,
        direction=None,
        size=8,
        seed=0,
        seeds=8,
        rows=(
            *(Row(name=name, figures=figures, role="generator") for name in names),
            Row(name="unchanged", figures=figures, role="baseline"),
            Row(name="truth", figures={}, role="truth"),
        ),
        columns=(*map(column, keys), column("never")),
        notes=("A note.",),
        each={"cycle": (1.0, math.inf)},
    )


def test_the_json_of_another_kind_adds_and_renames_nothing() -> None:
    plain = json.loads(json.dumps(evaluation("run", "AtoB", "BtoA").to_json(), allow_nan=False))
    assert list(plain) == [
        *("format", "version", "run", "weights", "data", "seed", "seeds", "measures", "rows", "pictures", "notes")
    ]
    assert (plain["format"], plain["version"]) == ("cgan-deploy-evaluation", 1)
    assert list(plain["data"]) == ["name", "folder", "split", "pictures", "available", "sha256", "size"]
    assert plain["measures"][0] == {
        "key": "cycle",
        "title": "cycle",
        "unit": "u",
        "better": "lower",
        "source": "paper of cycle",
    }
    assert [row["role"] for row in plain["rows"]] == ["generator", "generator", "baseline", "truth"]
    assert plain["rows"][0]["figures"] == {"cycle": {"value": 1.5, "spread": 0.25}}
    assert plain["pictures"] == [{"file": "A/0.png", "cycle": 1.0}, {"file": "B/0.png", "cycle": "inf"}]


def test_columns_are_those_with_a_figure_in_the_order_of_the_first() -> None:
    first, second = evaluation("one", "G", keys=("a", "b")), evaluation("two", "G", keys=("c", "a"))
    assert [found.key for found in columns_of([first, second])] == ["a", "b", "c"]


def test_every_generator_of_a_run_has_a_row_and_equal_references_stand_once() -> None:
    both, one = evaluation("both", "AtoB", "BtoA"), evaluation("one", "generator")
    assert [row.name for row in joint_rows([both, one])] == ["both AtoB", "both BtoA", "one", "unchanged", "truth"]
    other = evaluation("one", "generator", sha256="y")
    assert [row.name for row in joint_rows([one, other])] == [
        "one #1",
        "one #2",
        "unchanged",
        "truth",
        "unchanged (one #2)",
        "truth (one #2)",
    ]


def test_the_table_prints_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([evaluation("run", "AtoB", "BtoA")])
    out = capsys.readouterr().out
    assert all(name in out for name in ("AtoB", "BtoA", "unchanged", "truth", "1.50 ± 0.25"))
    assert "never" not in out


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (Figure(value=math.inf), "∞"),
        (Figure(value=-math.inf), "-∞"),
        (Figure(value=1.005, spread=2.0), "1.0 ± 2.0"),
    ],
)
def test_a_figure_as_text(figure: Figure, text: str) -> None:
    assert as_text(column("a", decimals=1), figure) == text
    assert as_text(column("a"), None) == "–"  # noqa: RUF001 - the sign that stands in tables
