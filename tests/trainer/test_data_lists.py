"""A list names the same files however an editor or a spreadsheet saved it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cgan_runtime.errors import BadInputError
from cgan_trainer.data.layouts import find_labelled, find_layout
from cgan_trainer.data.layouts.recognise import look_at
from PIL import Image

NAMES = ("süß, 1.png", "plain.png")
ROWS = [("a", "b", "split"), *((name, f"right/{name}", "train") for name in NAMES)]


def write_images(root: Path) -> None:
    (root / "right").mkdir()
    for name in NAMES:
        for path in (root / name, root / "right" / name):
            Image.new("RGB", (8, 8)).save(path)


def table(separator: str, newline: str = "\n") -> str:
    return newline.join(separator.join(f'"{value}"' for value in row) for row in ROWS) + newline


def names_of(path: Path) -> list[tuple[str, bool, bool]]:
    listing = find_layout(path).listing("train")
    assert not listing.orphans
    return [(pair.name, pair.a.is_file(), pair.b is not None and pair.b.is_file()) for pair in listing.pairs]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_a_table_in_any_dress_lists_the_same_pairs(
    tmp_path: Path, separator: str, newline: str, encoding: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path)
    path = tmp_path / ("pairs.tsv" if separator == "\t" else "pairs.csv")
    path.write_bytes(table(separator, newline).encode(encoding))
    assert names_of(path) == [("plain.png", True, True), ("süß, 1.png", True, True)]
    seen = look_at(path)
    assert seen is not None
    assert seen.kind == "paired"
    said = capsys.readouterr().err
    assert ("is not UTF-8: read as Windows-1252" in said) == (encoding == "latin-1")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_lines_of_objects_are_read_in_the_same_encodings(tmp_path: Path, encoding: str) -> None:
    write_images(tmp_path)
    lines = [json.dumps(dict(zip(ROWS[0], row, strict=True)), ensure_ascii=False) for row in ROWS[1:]]
    (tmp_path / "pairs.jsonl").write_bytes("\r\n".join(lines).encode(encoding))
    assert len(names_of(tmp_path / "pairs.jsonl")) == 2


def test_a_name_may_hold_what_python_takes_for_the_end_of_a_line(tmp_path: Path) -> None:
    name = "one\u2028two\x85.png"
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "pairs.csv").write_text(f"a,b,split\n{name},{name},train\n", encoding="utf-8")
    assert names_of(tmp_path / "pairs.csv") == [(name, True, True)]


def test_headers_in_capitals_empty_last_columns_and_windows_paths_are_what_they_mean(tmp_path: Path) -> None:
    write_images(tmp_path)
    text = "A; B ;Split;;\nplain.png;right\\plain.png;train;;\n;;;;\n"
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    assert names_of(tmp_path / "pairs.csv") == [("plain.png", True, True)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_labels_are_read_from_the_same_tables(tmp_path: Path, separator: str) -> None:
    write_images(tmp_path)
    rows = [("file", "label", "split"), *((name, str(at), "train") for at, name in enumerate(NAMES))]
    text = "\n".join(separator.join(row) for row in rows)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-16")
    listing = find_labelled(tmp_path / "labels.csv").listing("train")
    assert (listing.names, listing.labels) == (("plain.png", "süß, 1.png"), (1, 0))


def test_a_list_with_a_line_that_never_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(BadInputError, match=r"line 1 is no JSON"):
        find_layout(tmp_path / "pairs.jsonl").listing("train")


@pytest.mark.parametrize(
    ("sign", "called"), [(",", "a comma"), (";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")]
)
def test_a_row_of_too_many_values_names_the_separator_in_words(tmp_path: Path, sign: str, called: str) -> None:
    """A tab itself would be a blank in the message."""
    (tmp_path / "pairs.csv").write_text(f"a{sign}b\nx{sign}y{sign}z\n")
    with pytest.raises(BadInputError, match=f"put a name that has {called} in it in quotes") as refused:
        find_layout(tmp_path / "pairs.csv").listing("train")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a/" * 3000 + "b.png", "b\\" + "a" * 300 + ".png"])
def test_a_name_longer_than_any_may_be_names_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "pairs.csv").write_text(f"a,b,split\n{name},x.png,train\n")
    (tmp_path / "labels.csv").write_text(f"file,label,split\n{name},x,train\n")
    for find, listed in ((find_layout, "pairs.csv"), (find_labelled, "labels.csv")):
        with pytest.raises(BadInputError, match="does not exist"):
            find(tmp_path / listed).listing("train")
