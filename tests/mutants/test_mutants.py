"""The tool that judges the tests, on a tree of two functions: one is tested, the other only called."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.mutants.__main__ import ELSEWHERE, PACKAGES, Judge, sources_of
from tests.mutants.breaks import Break, breaks_of, draw
from tests.mutants.running import Copy
from tests.mutants.tests_of import Imports

SOURCE = """
def more(a, b):
    return a + b

def held(a):
    while a > 3:
        a -= 1
    return a

def unseen(a):
    return a * 2

def named(a):
    return a - 1
"""
TESTS = """
import pytest
from tiny.sums import held, more, named, unseen

def test_more():
    assert more(2, 3) == 5

@pytest.mark.slow
def test_held():
    assert held(5) == 3

def test_unseen():
    unseen(1)

@pytest.mark.parametrize("found", [named(3)])
def test_named(found):
    assert found == 2

def test_that_always_fails():
    assert more(1, 1) == 3
"""
SETTINGS = """
[tool.pytest.ini_options]
addopts = "--import-mode=importlib"
markers = ["slow: slow", "server: server"]
"""


def written(root: Path, tests: str) -> Path:
    for name, text in {"src/tiny/__init__.py": "", "src/tiny/sums.py": SOURCE, "pyproject.toml": SETTINGS}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tests").mkdir()
    (root / "tests" / "test_sums.py").write_text(tests)
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.syspath_prepend(str(REPOSITORY))  # the other process imports the tool by its name
    root = written(tmp_path / "root", TESTS)
    tree = tmp_path / "copy" / "tree"
    tree.mkdir(parents=True)
    copy = Copy(root, tree, packages=[Path("src")], heavy=())
    imports = Imports(tree, {"tiny": Path("src/tiny")}, Path("tests"))
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in root.rglob("*") if path.is_file()}
    yield Judge(copy, imports, files=3, limit_s=20)
    for path, digest in digests.items():
        assert hashlib.sha256(path.read_bytes()).digest() == digest, "the tree itself was changed"
    assert (tree / "src/tiny/sums.py").read_text() == SOURCE, "the copy stayed broken"


def planted(old: str, new: str) -> Break:
    begin = SOURCE.index(old)
    return Break(
        Path("src/tiny/sums.py"), SOURCE[:begin].count("\n") + 1, begin, begin + len(old), new=new, old=old
    )


@pytest.mark.slow
def test_planted_breaks_are_told_from_planted_survivors(judge: Judge) -> None:
    """A test that fails without the break as well catches nothing; one that no longer ends does."""
    kill = judge.verdict(planted("a + b", "a - b"))
    assert (kill.caught, kill.by) == (True, "tests/test_sums.py::test_more")
    assert "caught by tests/test_sums.py::test_more" in str(kill)
    slow = judge.verdict(planted("a > 3", "a > 4"))
    assert (slow.caught, slow.by) == (True, "tests/test_sums.py::test_held"), "the slow tests are asked too"
    shown = judge.verdict(planted("a - 1", "a - 2"))
    assert (shown.caught, shown.by) == (True, "tests/test_sums.py::test_named[1]"), "on sound code it is called [2]"
    survivor = judge.verdict(planted("a * 2", "a / 2"))
    assert (survivor.caught, survivor.by) == (False, "(test_sums.py)")
    assert "sums.py:11 | a * 2 -> a / 2 | SURVIVED" in str(survivor)


def test_every_kind_of_break_is_found_and_each_is_valid_code() -> None:
    source = (
        "def f(x, y: int = 3, *, z=0.5):\n"
        "    if x < y and not z:\n"
        "        return g(x, y, k=True)\n"
        "    for _ in range(10): x = -x\n"
        "    return [x + 1 for i in y if i is not None]\n"
    )
    found = breaks_of(Path("f.py"), source)
    changes = {str(one) for one in found}
    assert changes >= {
        "3 -> 4",
        "0.5 -> 0.75",
        "True -> False",
        "x < y -> (x <= y)",
        "x < y and not z -> ((x < y) or (not z))",
        "not z -> z",
        "x < y and not z -> (not (x < y and (not z)))",
        "g(x, y, k=True) -> None",
        "g(x, y, k=True) -> g(x, y)",
        "g(x, y, k=True) -> g(y, x, k=True)",
        "-x -> x",
        "x + 1 -> (x - 1)",
        "i is not None -> (i is None)",
    }
    for one in found:
        broken = one.apply(source.encode()).decode()
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""1 + 1"""',
        "__all__ = ['a', *b(1)]",
        "def f(x: C[1]) -> D[2]: ...",
        "if TYPE_CHECKING:\n    x = 1",
        "Kind = Literal[1, 2]",
        "raise ValueError(f'{1 + 1} is {x}')",
        "@mark(slow=True)\ndef f(): ...",
    ],
)
def test_what_has_no_effect_is_left_alone(source: str) -> None:
    assert breaks_of(Path("f.py"), source) == []


def test_a_draw_follows_from_its_seed_and_serves_every_package() -> None:
    sources = sources_of(REPOSITORY)
    first, again, other = (draw(40, seed, sources) for seed in (1, 1, 2))
    assert first == again != other
    assert draw(80, 1, sources)[:40] == first, "a longer draw begins with the shorter one"
    for package in sources:
        assert sum(package in one.file.parts for one in first) == 10
    assert len(set(first)) == 40


def test_what_no_test_imports_is_asked_of_tests_that_reach_it_in_another_process() -> None:
    """Every such file but those that hold no code; of a server's, some tests need the server."""
    imports = Imports(REPOSITORY, PACKAGES, Path("tests"))
    unseen = {
        file.relative_to(REPOSITORY)
        for package in PACKAGES.values()
        for file in (REPOSITORY / package).rglob("*.py")
        if not file.name.startswith("__") and not imports.tests_of(file.relative_to(REPOSITORY), 1)
    }
    assert unseen <= ELSEWHERE.keys()
    for file, tests in ELSEWHERE.items():
        assert (REPOSITORY / file).is_file()
        texts = [(REPOSITORY / path).read_text() for path in tests]
        assert all("def test_" in text for text in texts), tests
        assert "serving" not in file.parts or any("server: TritonServer" in text for text in texts), tests


def test_the_nearest_tests_come_first() -> None:
    imports = Imports(REPOSITORY, {"cgan_runtime": Path("runtime/cgan_runtime")}, Path("tests"))
    noise = imports.tests_of(Path("runtime/cgan_runtime/noise.py"), 2)
    assert noise == [Path("tests/runtime/test_noise.py"), Path("tests/runtime/test_noise_tensors.py")]
    assert imports.tests_of(Path("runtime/cgan_runtime/nowhere.py"), 2) == []
