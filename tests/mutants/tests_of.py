"""Which test files look at a source file: those whose imports lead to it by the fewest steps."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Imports"]


class Imports:
    """The imports between the files of a tree.

    Args:
        root: the tree.
        sources: for every import package its folder, relative to `root`.
        tests: the folder of tests, relative to `root`.
    """

    def __init__(self, root: Path, sources: Mapping[str, Path], tests: Path) -> None:
        folders = {**sources, tests.name: tests}
        self._names = {
            _module(path, root / folder): path.relative_to(root)
            for folder in folders.values()
            for path in sorted((root / folder).rglob("*.py"))
        }
        self._of = {path: self._imported(root / path) for path in self._names.values()}
        found = [path for path in self._of if path.is_relative_to(tests) and path.name.startswith("test_")]
        self._steps = {path: self._reached(path) for path in found}

    def tests_of(self, source: Path, most: int) -> list[Path]:
        """At most `most` test files, nearest first; of equally near ones first those that import little."""
        near = [path for path, steps in self._steps.items() if source in steps]
        named = source.stem.strip("_")

        def rank(path: Path) -> tuple[bool, int, int]:
            return named not in path.stem, self._steps[path][source], len(self._steps[path])

        return sorted(near, key=rank)[:most]

    def _reached(self, start: Path) -> dict[Path, int]:
        """Files that `start` leads to, and the number of imports between them."""
        steps, waiting = {start: 0}, deque([start])
        while waiting:
            path = waiting.popleft()
            for following in self._of[path] - steps.keys():
                steps[following] = steps[path] + 1
                waiting.append(following)
        return steps

    def _imported(self, path: Path) -> set[Path]:
        """Files that a file imports anywhere in it."""
        return {
            self._names[name]
            for name in _imports(ast.parse(path.read_text(encoding="utf-8")))
            if name in self._names
        }


def _module(path: Path, folder: Path) -> str:
    parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.AST) -> Iterator[str]:
    """Names of modules, and names in them, which may be modules too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
